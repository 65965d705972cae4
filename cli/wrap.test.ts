import { expect, test } from 'vitest';
import { duration } from './durations.ts';
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
