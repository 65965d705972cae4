/** A clock that tests move. Nothing passes by itself: a minute of the operator's life takes as long as its work does. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '#/lib/clock.ts';

interface Alarm {
  readonly at: number;
  readonly ring: () => void;
  /** Whether somebody waits for it; a deadline is only watched. */
  readonly sleeper: boolean;
}

/** 2026-01-01: the moment that recorded pod statuses carry (pod-status.ts). */
export const EPOCH = Date.UTC(2026, 0, 1);

export class VirtualClock implements Clock {
  readonly #alarms = new Set<Alarm>();
  #elapsed = 0;
  #wallOffset = EPOCH;
  /** What `random` gives: 0.5 is the middle of every jitter. */
  nextRandom: () => number = () => 0.5;

  now(): number {
    return this.#wallOffset + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  random(): number {
    return this.nextRandom();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        this.#alarms.delete(alarm);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const alarm = { at: this.#elapsed + ms, ring: end, sleeper: true };
      this.#alarms.add(alarm);
      signal.addEventListener('abort', end, { once: true });
    });
  }

  deadline(ms: number, parent?: AbortSignal): AbortSignal {
    const controller = new AbortController();
    const alarm = {
      at: this.#elapsed + ms,
      ring: () => {
        this.#alarms.delete(alarm);
        controller.abort(new DOMException('the deadline has passed', 'TimeoutError'));
      },
      sleeper: false,
    };
    this.#alarms.add(alarm);
    return parent === undefined ? controller.signal : AbortSignal.any([controller.signal, parent]);
  }

  /** How many wait in `sleep` now. */
  get sleepers(): number {
    return [...this.#alarms].filter((alarm) => alarm.sleeper).length;
  }

  /** Lets `ms` milliseconds pass: everybody who sleeps is woken at their moment, in order, and what they then do is awaited. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settled();
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#elapsed = Math.max(this.#elapsed, next.at);
      next.ring();
      await settled();
    }
    this.#elapsed = end;
    await settled();
  }

  /** Lets time pass until the condition holds, at most `limitMs`. */
  async advanceUntil(condition: () => boolean, limitMs: number): Promise<void> {
    const end = this.#elapsed + limitMs;
    await settled();
    while (!condition()) {
      const next = this.#next();
      if (next === undefined || next.at > end) throw new Error(`nothing came of it within ${limitMs} ms`);
      await this.advance(Math.max(0, next.at - this.#elapsed));
    }
  }

  /** Sets the wall clock forward or back, as NTP or a person does. Sleepers and deadlines do not notice. */
  jump(ms: number): void {
    this.#wallOffset += ms;
  }

  #next(): Alarm | undefined {
    let first: Alarm | undefined;
    for (const alarm of this.#alarms) if (first === undefined || alarm.at < first.at) first = alarm;
    return first;
  }
}

/** The clock of a machine that is off by `skewMs`. Its timers and deadlines are everybody's. */
export class SkewedClock implements Clock {
  readonly #true: VirtualClock;
  skewMs = 0;

  constructor(trueClock: VirtualClock) {
    this.#true = trueClock;
  }

  now(): number {
    return this.#true.now() + this.skewMs;
  }

  monotonic(): number {
    return this.#true.monotonic();
  }

  random(): number {
    return this.#true.random();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.#true.sleep(ms, signal);
  }

  deadline(ms: number, parent?: AbortSignal): AbortSignal {
    return this.#true.deadline(ms, parent);
  }
}

/** Resolves when every promise that can go on by itself has done so. */
export async function settled(): Promise<void> {
  await setImmediate();
}
