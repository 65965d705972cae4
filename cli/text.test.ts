import { expect, test } from 'vitest';
import { printable, printableLines, shorten, table, width } from './text.ts';

test.each([
  ['plain grüße 漢字', 'plain grüße 漢字'],
  ['two\nlines\t', 'two\\nlines\\t'],
  ['\u001b[31mred\u0007\u009b2J', '\\u001b[31mred\\u0007\\u009b2J'],
  ['\u202ereversed', '\\u202ereversed'],
])('%j steers no terminal', (text, expected) => expect(printable(text)).toBe(expected));

test('lines stay where lines are wanted', () => expect(printableLines('a\r\nb\u001b')).toBe('a\nb\\u001b'));

test.each([
  ['', 0],
  ['abc', 3],
  ['漢字', 4],
  ['🚢', 2],
  ['e\u0301', 1],
])('%j takes %d columns', (text, columns) => expect(width(text)).toBe(columns));

test('what does not fit ends with an ellipsis', () => {
  expect(shorten('abcdef', 6)).toBe('abcdef');
  expect(shorten('abcdef', 5)).toBe('abcd…');
  expect(shorten('漢字漢字', 6)).toBe('漢字…');
});

test('the columns line up, whatever the script', () => {
  expect(
    table(
      ['ID', 'TASK', 'REASON'],
      [
        ['1', '漢字', 'short'],
        ['22', 'a', 'x'.repeat(30)],
      ],
    ),
  ).toEqual(['ID  TASK  REASON', '1   漢字  short', `22  a     ${'x'.repeat(30)}`]);
});

test('on a terminal the last column is cut, but stays readable', () => {
  const lines = (columns: number) => table(['ID', 'REASON'], [['1', 'x'.repeat(60)]], columns);
  expect(lines(40)[1]).toHaveLength(40);
  expect(lines(10)[1]).toHaveLength(24);
});
