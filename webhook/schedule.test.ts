import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_TRIES, nextTryAfter } from './schedule.ts';

test('ten tries, at the moments of Standard Webhooks, 75 h 35 min 5 s in all', () => {
  const delays = Array.from({ length: MAX_TRIES }, (_, tries) => nextTryAfter(tries, 0.5));
  expect(delays).toHaveLength(10);
  expect(delays.slice(0, 4)).toEqual([0, 5000, 300_000, 1_800_000]);
  expect(delays.reduce<number>((sum, delay) => sum + (delay ?? Number.NaN), 0)).toBe((75 * 3600 + 35 * 60 + 5) * 1000);
  expect(nextTryAfter(MAX_TRIES, 0.5)).toBeUndefined();
  expect(nextTryAfter(1000, 0.5)).toBeUndefined();
});

test('jitter stays within a tenth, and Retry-After within a day', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_TRIES - 1 }), random, fc.nat(), (tries, value, retryAfterMs) => {
      const plain = nextTryAfter(tries, 0.5) ?? Number.NaN;
      const jittered = nextTryAfter(tries, value) ?? Number.NaN;
      expect(Math.abs(jittered - plain)).toBeLessThanOrEqual(plain * 0.1 + 1e-6);
      expect(nextTryAfter(tries, value, retryAfterMs)).toBe(Math.max(jittered, Math.min(retryAfterMs, 86_400_000)));
    }),
  );
});
