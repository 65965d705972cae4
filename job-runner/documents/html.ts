import { convert, type HtmlToTextOptions } from 'html-to-text';
import { decodeText } from './decode-text.ts';
import { type ExtractedText, unreadable } from './extracted-text.ts';

const HEADINGS = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'];

const OPTIONS: HtmlToTextOptions = {
  wordwrap: false,
  // The default cuts the document off without an error.
  limits: { maxInputLength: Number.MAX_SAFE_INTEGER },
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    // By default the cells of a table run together into one word.
    { selector: 'table', format: 'dataTable', options: { uppercaseHeaderCells: false, maxColumnWidth: 1000 } },
    ...HEADINGS.map((selector) => ({ selector, options: { uppercase: false } })),
  ],
};

/**
 * The text of an HTML document, without scripts, styles, images and link targets. Its encoding is that of its byte order mark, of its meta
 * element, or UTF-8.
 *
 * @throws PermanentError when it is no text
 */
export function htmlText(bytes: Buffer): ExtractedText {
  const declared = /<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)/i.exec(bytes.subarray(0, 1024).toString('latin1'))?.[1];
  return fromHtml(decodeText(bytes, declared), 'HTML');
}

/**
 * The text of HTML source.
 *
 * @param what the document's kind, for messages
 * @throws PermanentError when it is nested too deeply
 */
export function fromHtml(html: string, what: string): ExtractedText {
  try {
    return { parts: [{ page: null, text: convert(html, OPTIONS) }], warnings: [], isScan: false };
  } catch (error) {
    throw unreadable(what, error);
  }
}
