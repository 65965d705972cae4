import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoff } from './backoff.ts';

const at = (random: number) => ({ random: () => random });

test('doubles from the first wait to the longest, of which the last half is random', () => {
  const waits = [1, 2, 3, 4, 5, 50, 5000].map((failures) => backoff(failures, 100, 1000, at(0)));
  expect(waits).toEqual([50, 100, 200, 400, 500, 500, 500]);
  expect(backoff(3, 100, 1000, at(0.5))).toBe(300);
});

test('never waits less than half, nor more than the whole', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), random, (failures, value) => {
      const full = Math.min(30_000, 500 * 2 ** (failures - 1));
      const wait = backoff(failures, 500, 30_000, at(value));
      expect(wait).toBeGreaterThanOrEqual(full / 2);
      expect(wait).toBeLessThanOrEqual(full);
    }),
  );
});
