import type { Clock } from './clock.ts';

/**
 * Milliseconds to wait before try `failures + 1`: doubling from `firstMs` to `maxMs`, of which the last half is random, so that what
 * failed together does not return together.
 *
 * @param failures failures in a row so far, 1 or more
 */
export function backoff(failures: number, firstMs: number, maxMs: number, clock: Pick<Clock, 'random'>): number {
  const full = Math.min(maxMs, firstMs * 2 ** (failures - 1));
  return full / 2 + (full / 2) * clock.random();
}
