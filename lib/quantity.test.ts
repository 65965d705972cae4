import { expect, test } from 'vitest';
import { quantity } from './quantity.ts';

test.each([
  ['500m', 0.5],
  ['1', 1],
  ['1.5', 1.5],
  ['2Gi', 2 * 2 ** 30],
  ['128974848', 128_974_848],
  ['1e3', 1000],
  ['1E', 1e18],
  ['3k', 3000],
  [4, 4],
])('%j is %d', (text, expected) => expect(quantity(text)).toBe(expected));

test.each([undefined, '', 'much', '1 Gi', '1gi'])('%j is no quantity', (text) =>
  expect(quantity(text)).toBeUndefined(),
);
