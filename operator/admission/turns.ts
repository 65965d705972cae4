/**
 * Bounds how many Jobs are being begun at one moment. Whatever is under way when an operator dies may take effect later, unseen by its
 * successor's list: so much, and no more, may pass a cap.
 */

import type { Clock } from '../../lib/clock.ts';
import { Wakeup } from '../../lib/wakeup.ts';

/** As many as one answer of the queue service brings. */
const MOST_BEGUN_AT_ONCE = 32;
const NAP_MS = 1000;

export class Turns {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #freed = new Wakeup();
  #taken = 0;

  constructor(clock: Clock, most = MOST_BEGUN_AT_ONCE) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Waits for a turn; undefined when `signal` aborts first. What is returned gives it back. */
  async take(signal: AbortSignal): Promise<Disposable | undefined> {
    while (this.#taken >= this.#most && !signal.aborted) await this.#freed.sleep(NAP_MS, this.#clock, signal);
    if (signal.aborted) return undefined;
    this.#taken++;
    return {
      [Symbol.dispose]: () => {
        this.#taken--;
        this.#freed.wake();
      },
    };
  }
}
