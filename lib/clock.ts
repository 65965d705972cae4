/** Time and randomness. This is the only file that reads them; everything else gets a `Clock`. */
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** A source of time that tests can replace. All durations are milliseconds. */
export interface Clock {
  /** Milliseconds since the epoch. May jump. */
  now(): number;
  /** Milliseconds since some fixed moment. Never goes back. */
  monotonic(): number;
  /** Waits. Ends early, without an error, when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** A signal that aborts after `ms` with a TimeoutError, or with `parent`. */
  deadline(ms: number, parent?: AbortSignal): AbortSignal;
  /** A number in [0, 1). */
  random(): number;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
  deadline: (ms, parent) =>
    parent === undefined ? AbortSignal.timeout(ms) : AbortSignal.any([AbortSignal.timeout(ms), parent]),
  random: () => Math.random(),
};

/** A moment as ISO 8601 in UTC. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Reads ISO 8601; undefined for no text or no date. Kubernetes writes a moment that has not come as `null`. */
export function fromIso(text: string | Date | null | undefined): number | undefined {
  if (text === undefined || text === null) return undefined;
  const ms = new Date(text).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}
