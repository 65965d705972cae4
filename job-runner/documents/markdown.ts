import { marked } from 'marked';
import { decodeText } from './decode-text.ts';
import { type ExtractedText, unreadable } from './extracted-text.ts';
import { fromHtml } from './html.ts';

/**
 * The text of a Markdown document, without its marks.
 *
 * @throws PermanentError when it is no text
 */
export function markdownText(bytes: Buffer): ExtractedText {
  const source = decodeText(bytes);
  let html: string;
  try {
    html = marked.parse(source, { async: false });
  } catch (error) {
    throw unreadable('Markdown', error);
  }
  return fromHtml(html, 'Markdown');
}
