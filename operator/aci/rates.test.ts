import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { groupRates, pollMs, RateLimit } from './rates.ts';

const RATES = groupRates(3, 5);
const [FIVE_MINUTES_MS, HOUR_MS] = [300_000, 3_600_000];

describe('a rate limit', () => {
  test('keeps every window, wherever it begins', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 60 }), (pauses) => {
        const limit = new RateLimit(RATES);
        const taken: number[] = [];
        let now = 0;
        for (const pause of pauses) {
          now += pause;
          expect(limit.waitMs(now) === 0).toBe(limit.free(now) > 0);
          if (limit.waitMs(now) > 0) continue;
          limit.take(now);
          taken.push(now);
        }
        for (const from of taken) {
          const within = (ms: number) => taken.filter((at) => at >= from && at < from + ms).length;
          expect(within(FIVE_MINUTES_MS)).toBeLessThanOrEqual(3);
          expect(within(HOUR_MS)).toBeLessThanOrEqual(5);
        }
      }),
    );
  });

  test('says how long to wait, and no longer', () => {
    const limit = new RateLimit(RATES, [0, 1000, 2000]);
    expect(limit.free(2000)).toBe(0);
    const wait = limit.waitMs(2000);
    expect(limit.waitMs(2000 + wait)).toBe(0);
    expect(limit.waitMs(2000 + wait - 1)).toBe(1);
  });

  test('takes back what was not used', () => {
    const limit = new RateLimit(RATES);
    const giveBack = [limit.take(0), limit.take(0), limit.take(0)];
    expect(limit.free(0)).toBe(0);
    giveBack[1]?.();
    giveBack[1]?.();
    expect(limit.free(0)).toBe(1);
  });

  test('goes by new rates with what was taken before', () => {
    const limit = new RateLimit(RATES, [0, 0, 0]);
    limit.rates = groupRates(10, 20);
    expect(limit.free(0)).toBe(7);
  });
});

test('a group is read often while it is young, and seldom when it is old or one of many', () => {
  expect(pollMs(0, 1, 0.5)).toBe(2000);
  expect(pollMs(60_000, 1, 0.5)).toBe(6000);
  expect(pollMs(HOUR_MS, 1, 0.5)).toBe(20_000);
  expect(pollMs(0, 100, 0.5)).toBe(10_000);
});
