/** Texts for people: a table that lines up, and nothing that steers a terminal. */

/** A text of somebody else with its control characters written out, so that it cannot move the cursor or colour the screen. */
export function printable(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (char) => ESCAPES[char] ?? unicodeEscape(char));
}

/** The same for a text of several lines, which stay. */
export function printableLines(text: string): string {
  return text.split(/\r?\n/).map(printable).join('\n');
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function unicodeEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
const WIDE =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;

/** Columns that a text takes on a terminal. */
export function width(text: string): number {
  let columns = 0;
  for (const { segment } of graphemes.segment(text)) columns += WIDE.test(segment) ? 2 : 1;
  return columns;
}

/** A text in at most `columns` columns; what is cut ends with an ellipsis. */
export function shorten(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    used += width(segment);
    if (used > columns - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** The last column is not cut to less than this. */
const MIN_LAST = 20;

/**
 * Lines of a table whose columns line up.
 *
 * @param columns the terminal's width, to which the last column is cut; undefined: nothing is cut
 */
export function table(head: readonly string[], rows: readonly (readonly string[])[], columns?: number): string[] {
  const cells = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, at) => Math.max(...cells.map((row) => width(row[at] ?? ''))));
  const before = widths.slice(0, -1).reduce((sum, one) => sum + one + 2, 0);
  const lastWidth = columns === undefined ? Number.POSITIVE_INFINITY : Math.max(MIN_LAST, columns - before);
  return cells.map((row) =>
    row
      .map((cell, at) =>
        at === row.length - 1 ? shorten(cell, lastWidth) : cell + ' '.repeat((widths[at] ?? 0) - width(cell)),
      )
      .join('  ')
      .trimEnd(),
  );
}
