import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bestPattern, fitsPattern } from './name-pattern.ts';

describe('a pattern', () => {
  test.each([
    ['acme-tasks', 'acme-tasks', true],
    ['acme-tasks', 'acme-tasks-2', false],
    ['*-tasks', 'acme-tasks', true],
    ['*-tasks', '-tasks', true],
    ['*-tasks', 'acme-tasks-poison', false],
    ['acme*', 'acme', true],
    ['acme*', 'acm', false],
    ['*', '', true],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*bc*c', 'abc', false],
    ['*ab*ab', 'ab', false],
    ['a**b', 'ab', true],
    ['a.c', 'abc', false],
  ])('%s and %s: %s', (pattern, name, fits) => expect(fitsPattern(pattern, name)).toBe(fits));

  test('fits exactly what the same regular expression does', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '-'), maxLength: 12 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '-', '*'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (pattern, name) => {
        expect(fitsPattern(pattern, name)).toBe(new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('of several patterns', () => {
  test.each([
    [['*', 'acme', 'acme*'], 'acme', 'acme'],
    [['*', 'acme*'], 'acme-eu', 'acme*'],
    [['*-eu', 'acme*'], 'acme-eu', 'acme*'],
    [['a*', '*a'], 'aa', '*a'],
    [['b*'], 'acme', undefined],
    [[], 'acme', undefined],
  ])('%j, for %s: %s, whatever their order', (patterns, name, best) => {
    expect(bestPattern(patterns, name)).toBe(best);
    expect(bestPattern(patterns.toReversed(), name)).toBe(best);
  });
});
