import type { Clock } from '../../lib/clock.ts';
import { assertNever } from '../../lib/errors.ts';
import { decodeText } from './decode-text.ts';
import type { DocumentType } from './document-type.ts';
import type { ExtractedText } from './extracted-text.ts';

/**
 * Takes the text out of a document. The library for its type is loaded when it is needed.
 *
 * @throws PermanentError when the document is encrypted or damaged; the signal's reason when it aborts
 */
export async function extractText(
  type: DocumentType,
  bytes: Buffer,
  clock: Clock,
  signal: AbortSignal,
): Promise<ExtractedText> {
  switch (type) {
    case 'pdf':
      return (await import('./pdf.ts')).pdfText(bytes, clock, signal);
    case 'docx':
      return (await import('./docx.ts')).docxText(bytes);
    case 'html':
      return (await import('./html.ts')).htmlText(bytes);
    case 'markdown':
      return (await import('./markdown.ts')).markdownText(bytes);
    case 'text':
      return { parts: [{ page: null, text: decodeText(bytes) }], warnings: [], isScan: false };
    default:
      return assertNever(type);
  }
}
