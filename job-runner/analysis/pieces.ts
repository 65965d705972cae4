/** A document's text in pieces that a model can take at once. Pure. */
import type { TextPart } from '../documents/extracted-text.ts';

/** A piece, and the pages that it is from; null for a document without pages. */
export interface Piece {
  readonly text: string;
  readonly pages: { readonly first: number; readonly last: number } | null;
}

/**
 * Tokens that a text takes at most, roughly: 3 bytes of UTF-8 make one. English has about 4 bytes a token, Chinese and Japanese about 3.
 * A tokenizer would be exact for one family of models, and takes megabytes.
 */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 3);
}

/** Whatever ends a paragraph, a line, a sentence or a word, the best place for a cut first. */
const CUTS = [/\n\s*\n/g, /\n/g, /[.!?。！？]\s*/g, /\s+/g];

/** Cuts a document between pages where it can, else between paragraphs, lines, sentences or words; no text is lost and none is twice. */
export function splitDocument(parts: readonly TextPart[], maxTokens: number): readonly Piece[] {
  const small = parts.flatMap(({ page, text }) =>
    splitText(text.toWellFormed(), maxTokens).map((one) => ({
      page,
      text: one,
      tokens: estimateTokens(one) + MARK_TOKENS,
    })),
  );
  const pieces: { texts: string[]; tokens: number; pages: Piece['pages'] }[] = [];
  for (const { page, text, tokens } of small) {
    if (text.trim() === '') continue;
    const marked = page === null ? text : `[page ${page}]\n${text}`;
    const last = pieces.at(-1);
    if (last !== undefined && last.tokens + tokens <= maxTokens + MARK_TOKENS) {
      last.texts.push(marked);
      last.tokens += tokens;
      if (last.pages !== null && page !== null) last.pages = { first: last.pages.first, last: page };
    } else pieces.push({ texts: [marked], tokens, pages: page === null ? null : { first: page, last: page } });
  }
  return pieces.map(({ texts, pages }) => ({ text: texts.join('\n'), pages }));
}

/** For the mark of a page. */
const MARK_TOKENS = 8;

function splitText(text: string, maxTokens: number): readonly string[] {
  const pieces: string[] = [];
  let rest = text;
  while (estimateTokens(rest) > maxTokens) {
    const at = cutBefore(rest, longestWithin(rest, maxTokens));
    pieces.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  return [...pieces, rest];
}

/** UTF-16 units of the longest beginning that fits, never half of a character. */
function longestWithin(text: string, maxTokens: number): number {
  let [bytes, at] = [0, 0];
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (Math.ceil(bytes / 3) > maxTokens) break;
    at += character.length;
  }
  // One character at least, or it would never end.
  return Math.max(at, (text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1);
}

/** The best place for a cut in the second half of what fits. */
function cutBefore(text: string, most: number): number {
  const from = Math.floor(most / 2);
  const window = text.slice(from, most);
  for (const cut of CUTS) {
    const found = [...window.matchAll(cut)].at(-1);
    if (found !== undefined) return from + found.index + found[0].length;
  }
  return most;
}
