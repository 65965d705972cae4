import { expect, test } from 'vitest';
import { figure, percentile, size, table } from './table.ts';

test('columns line up, and no line ends with blanks', () => {
  const rows = [
    { what: 'one', ours: '1 ms', baseline: '' },
    { what: 'another', ours: '1,000 ms', baseline: '2 ms' },
  ];
  expect(table(rows)).toBe(['one          1 ms', 'another  1,000 ms  2 ms'].join('\n'));
  expect(table([])).toBe('');
});

test.each([
  [0, '0'],
  [0.004, '0.004'],
  [1.234, '1.23'],
  [12.34, '12.3'],
  [1234.5, '1,235'],
  [Number.NaN, 'unknown'],
])('a figure has three digits: %d is %s', (value, text) => expect(figure(value)).toBe(text));

test('sizes', () => expect([500, 2048, 5 * 1024 ** 2].map(size)).toEqual(['500 B', '2 KiB', '5 MiB']));

test('percentiles', () => {
  expect(percentile([3, 1, 2], 0.5)).toBe(2);
  expect(percentile([1, 2], 1)).toBe(2);
  expect(percentile([], 0.5)).toBeNaN();
});
