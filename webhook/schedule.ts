/** When an owed webhook is tried again: the schedule of Standard Webhooks, ten tries within about 75 h 35 min. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Milliseconds before each try, counted from the one before it. */
const DELAYS_MS: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

/** A receiver may ask for patience, but not for more than the longest wait of the schedule. */
const LONGEST_MS = 24 * HOUR;

/** Tries after which a webhook is given up. */
export const MAX_TRIES = DELAYS_MS.length;

/**
 * Milliseconds from a failed try to the next one; undefined when there is none left and the webhook is given up.
 *
 * @param tries tries that have failed so far; 0 before the first, which is due at once
 * @param random a number in [0, 1): spreads the wait over 90 to 110 % of its length
 * @param retryAfterMs what the receiver asked for in `Retry-After`; the later moment wins, within 24 h
 */
export function nextTryAfter(tries: number, random: number, retryAfterMs = 0): number | undefined {
  const delay = DELAYS_MS[tries];
  if (delay === undefined) return undefined;
  return Math.max(delay * (0.9 + 0.2 * random), Math.min(retryAfterMs, LONGEST_MS));
}
