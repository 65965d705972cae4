/**
 * Keys to be looked at, each at its time, each by one worker at once. A key that changes while it is worked on is looked at again; one
 * whose work failed is tried again after a growing wait.
 */
import { backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { Wakeup } from '../lib/wakeup.ts';

/** Looks at a key. Returns milliseconds until it wants to look again, or undefined when a change will bring the key back. */
export type Work = (key: string, signal: AbortSignal) => Promise<number | undefined>;

const LONGEST_NAP_MS = 1000;

export class WorkQueue {
  readonly #clock: Clock;
  readonly #work: Work;
  readonly #onFailure: (key: string, error: unknown, failures: number) => void;
  /** Due now, oldest wish first. */
  readonly #ready = new Set<string>();
  /** Due later, at monotonic milliseconds. Looked through only when the earliest of them is due: there may be ten thousand. */
  readonly #later = new Map<string, number>();
  #nextLater = Number.POSITIVE_INFINITY;
  readonly #failures = new Map<string, number>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #wakeup = new Wakeup();
  readonly #mayStart: () => boolean;

  /** @param mayStart asked before each look; while it says no, wishes are kept */
  constructor(
    clock: Clock,
    work: Work,
    onFailure: (key: string, error: unknown, failures: number) => void,
    mayStart: () => boolean = () => true,
  ) {
    this.#clock = clock;
    this.#work = work;
    this.#onFailure = onFailure;
    this.#mayStart = mayStart;
  }

  /** Wants the key looked at, at once or after `inMs`; of two wishes the earlier one counts. */
  add(key: string, inMs = 0): void {
    if (this.#ready.has(key)) return;
    if (inMs <= 0) {
      this.#later.delete(key);
      this.#ready.add(key);
      this.#wakeup.wake();
      return;
    }
    const at = Math.min(this.#clock.monotonic() + inMs, this.#later.get(key) ?? Number.POSITIVE_INFINITY);
    this.#later.set(key, at);
    this.#nextLater = Math.min(this.#nextLater, at);
  }

  /**
   * Starts work until `stopping` aborts, then waits for what has begun; `abort` ends that too. `beat` is called at every turn of the loop.
   */
  async run(concurrency: number, stopping: AbortSignal, abort: AbortSignal, beat: () => void): Promise<void> {
    while (!stopping.aborted) {
      beat();
      this.#promote(this.#clock.monotonic());
      for (const key of this.#ready) {
        if (this.#active.size >= concurrency || !this.#mayStart()) break;
        if (!this.#active.has(key)) this.#start(key, abort);
      }
      const nap = Math.min(LONGEST_NAP_MS, this.#nextLater - this.#clock.monotonic());
      await this.#wakeup.sleep(nap, this.#clock, stopping);
    }
    await Promise.all(this.#active.values());
  }

  #promote(now: number): void {
    if (now < this.#nextLater) return;
    this.#nextLater = Number.POSITIVE_INFINITY;
    for (const [key, at] of this.#later) {
      if (at > now) {
        this.#nextLater = Math.min(this.#nextLater, at);
      } else {
        this.#later.delete(key);
        this.#ready.add(key);
      }
    }
  }

  #start(key: string, signal: AbortSignal): void {
    this.#ready.delete(key);
    this.#active.set(key, this.#lookAt(key, signal));
  }

  async #lookAt(key: string, signal: AbortSignal): Promise<void> {
    try {
      const again = await this.#work(key, signal);
      this.#failures.delete(key);
      if (again !== undefined) this.add(key, again);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      this.#onFailure(key, error, failures);
      this.add(key, backoff(failures, 500, 30_000, this.#clock));
    } finally {
      this.#active.delete(key);
      this.#wakeup.wake();
    }
  }
}
