import mammoth from 'mammoth';
import { type ExtractedText, unreadable } from './extracted-text.ts';

/**
 * The text of a DOCX, a blank line between paragraphs.
 *
 * @throws PermanentError when it is damaged
 */
export async function docxText(bytes: Buffer): Promise<ExtractedText> {
  try {
    const { value, messages } = await mammoth.extractRawText({ buffer: bytes });
    return {
      parts: [{ page: null, text: value.trim() }],
      warnings: messages.map(({ message }) => message).slice(0, 10),
      isScan: false,
    };
  } catch (error) {
    throw unreadable('a DOCX', error);
  }
}
