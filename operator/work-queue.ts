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
  /** Monotonic milliseconds at which each key is due. */
  readonly #due = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #wakeup = new Wakeup();

  constructor(clock: Clock, work: Work, onFailure: (key: string, error: unknown, failures: number) => void) {
    this.#clock = clock;
    this.#work = work;
    this.#onFailure = onFailure;
  }

  /** Wants the key looked at, at once or after `inMs`; of two wishes the earlier one counts. */
  add(key: string, inMs = 0): void {
    const at = this.#clock.monotonic() + inMs;
    this.#due.set(key, Math.min(at, this.#due.get(key) ?? at));
    if (inMs === 0) this.#wakeup.wake();
  }

  /**
   * Starts work until `stopping` aborts, then waits for what has begun; `abort` ends that too. `beat` is called at every turn of the loop.
   */
  async run(concurrency: number, stopping: AbortSignal, abort: AbortSignal, beat: () => void): Promise<void> {
    while (!stopping.aborted) {
      beat();
      const now = this.#clock.monotonic();
      let next = now + LONGEST_NAP_MS;
      for (const [key, at] of this.#due) {
        if (this.#active.has(key) || this.#active.size >= concurrency) continue;
        if (at > now) next = Math.min(next, at);
        else this.#start(key, abort);
      }
      await this.#wakeup.sleep(next - now, this.#clock, stopping);
    }
    await Promise.all(this.#active.values());
  }

  #start(key: string, signal: AbortSignal): void {
    this.#due.delete(key);
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
