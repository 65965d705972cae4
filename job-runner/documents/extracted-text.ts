import { PermanentError } from '../errors.ts';

/** A document's text. */
export interface ExtractedText {
  /** One part a page for paged documents, else one part. */
  readonly parts: readonly TextPart[];
  /** What may be missing, for people. */
  readonly warnings: readonly string[];
  /** It has no text at all, and its pages are images. */
  readonly isScan: boolean;
}

/** Text of one page (counted from 1), or of a document without pages. */
export interface TextPart {
  readonly page: number | null;
  readonly text: string;
}

/**
 * What a parser that gives up says about the document. It has the whole document in memory, so another attempt would end the same way.
 *
 * @param what the document's kind, as in "a PDF"
 */
export function unreadable(what: string, cause: unknown): PermanentError {
  // Deep nesting overflows the stack of recursive parsers.
  const reason = cause instanceof RangeError ? 'it is nested too deeply' : cause instanceof Error ? cause.message : '';
  const shown = reason === '' ? '' : ` (${reason.slice(0, 200).replace(/\s+/g, ' ')})`;
  return new PermanentError(`is damaged: it cannot be read as ${what}${shown}`, { cause });
}
