import type { Clock } from './clock.ts';

/** Lets loops sleep until something happens. A wake-up with nobody asleep is kept for the next sleeper. */
export class Wakeup {
  #pending = false;
  readonly #sleepers = new Set<AbortController>();

  /** Wakes everybody who sleeps. */
  wake(): void {
    if (this.#sleepers.size === 0) this.#pending = true;
    for (const sleeper of this.#sleepers) sleeper.abort();
    this.#sleepers.clear();
  }

  /** Sleeps at most `ms` milliseconds, less when woken or when `signal` aborts. Never throws. */
  async sleep(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#pending || ms <= 0) {
      this.#pending = false;
      return;
    }
    const sleeper = new AbortController();
    const stop = () => sleeper.abort();
    this.#sleepers.add(sleeper);
    signal.addEventListener('abort', stop, { once: true });
    try {
      if (!signal.aborted) await clock.sleep(ms, sleeper.signal);
    } finally {
      signal.removeEventListener('abort', stop);
      this.#sleepers.delete(sleeper);
    }
  }
}
