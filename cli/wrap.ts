/** Long sentences in the width of a terminal. */
import { printable, width } from './text.ts';

/** No line is made narrower than this. */
const MIN_TEXT = 30;

/**
 * A text after a mark, its further lines indented to where it begins.
 *
 * @param mark what stands before it; may hold colours
 * @param columns the terminal's width; undefined: one line
 * @param markWidth columns that the mark takes, where it holds colours
 */
export function wrapped(mark: string, text: string, columns: number | undefined, markWidth = width(mark)): string {
  const room = columns === undefined ? Number.POSITIVE_INFINITY : Math.max(MIN_TEXT, columns - markWidth);
  return mark + lines(printable(text), room).join(`\n${' '.repeat(markWidth)}`);
}

/** Breaks at blanks; a word that is longer than a line stays whole. */
function lines(text: string, room: number): readonly string[] {
  const done: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && width(line) + 1 + width(word) > room) {
      done.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...done, line];
}
