/** Text for the terminal: aligned columns, and colour where there is somebody to see it. */
import { styleText } from 'node:util';

/** What a text is about; each has its colour. */
export type Tone = 'plain' | 'heading' | 'quiet' | 'busy' | 'good' | 'refused' | 'bad';

/** A text with its tone; a bare string is plain. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

const FORMATS = {
  plain: [],
  heading: ['bold'],
  quiet: ['dim'],
  busy: ['cyan'],
  good: ['green'],
  refused: ['yellow'],
  bad: ['red', 'bold'],
} as const satisfies Record<Tone, Parameters<typeof styleText>[0]>;

/** Colours a text, if standard output is a terminal that takes colours. */
export function paint(text: string, tone: Tone): string {
  return FORMATS[tone].length === 0 ? text : styleText([...FORMATS[tone]], text, { stream: process.stdout });
}

/** Rows as lines of aligned columns, two spaces apart and indented by two; what passes `width` characters is cut off. */
export function columns(rows: readonly (readonly Cell[])[], width = Number.POSITIVE_INFINITY): string[] {
  const texts = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? cell : cell.text)));
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...texts.map((row) => lengthOf(row[at] ?? ''))));
  return rows.map((row, line) => {
    let left = width;
    const painted = row.map((cell, at) => {
      const text = texts[line]?.[at] ?? '';
      const gap = at === row.length - 1 ? 0 : (widths[at] ?? 0) - lengthOf(text);
      const shown = cut(`  ${text}${' '.repeat(gap)}`, left);
      left -= lengthOf(shown);
      return paint(shown, typeof cell === 'string' ? 'plain' : cell.tone);
    });
    return painted.join('').trimEnd();
  });
}

/** The first row is a heading. */
export function tableOf(heading: readonly string[], rows: readonly (readonly Cell[])[], width?: number): string[] {
  return columns([heading.map((text) => ({ text, tone: 'quiet' as const })), ...rows], width);
}

/** At most `length` characters, on one line. */
export function shorten(text: string, length: number): string {
  return cut(text.replace(/\s+/g, ' '), length);
}

function cut(text: string, length: number): string {
  if (lengthOf(text) <= length) return text;
  return length <= 0 ? '' : `${[...text].slice(0, length - 1).join('')}…`;
}

function lengthOf(text: string): number {
  return [...text].length;
}
