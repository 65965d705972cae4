import { expect, test } from 'vitest';
import { duration, parseDuration, shortDuration } from './durations.ts';
import { wrapped } from './wrap.ts';

test('a sentence is broken at blanks and indented to where it began', () => {
  expect(wrapped('- ', 'one two three four five six seven eight', 32)).toBe(
    '- one two three four five six\n  seven eight',
  );
  expect(wrapped('- ', 'one two', undefined)).toBe('- one two');
  expect(wrapped('', `a ${'x'.repeat(50)} b`, 40)).toBe(`a\n${'x'.repeat(50)}\nb`);
});

test.each([
  [0, '0s'],
  [45, '45s'],
  [1800, '30m'],
  [5400, '1h30m'],
  [86_400, '1d'],
  [90_061, '1d1h1m1s'],
])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text));

test.each([
  ['90s', 90_000],
  ['1h30m', 5_400_000],
  ['2d', 172_800_000],
  ['', undefined],
  ['90', undefined],
  ['30m1h', undefined],
  ['-1s', undefined],
])('%j is %j ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  [-1, '0s'],
  [119_999, '119s'],
  [120_000, '2m'],
  [3_725_000, '1h2m'],
  [90_000_000, '1d1h'],
])('%d ms are %s, in two units at most', (ms, text) => expect(shortDuration(ms)).toBe(text));
