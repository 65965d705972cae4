/** Whether the process is alive (its loops turn) and ready (it can take work), for the probes and for people. */
import type { Clock } from '../lib/clock.ts';

/** A reason for not being ready, with what to look at. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Longer than any call's deadline, so that only a loop that hangs for good is called dead. */
const LONGEST_SILENCE_MS = 90_000;

export class Health {
  readonly #clock: Clock;
  readonly #beats = new Map<string, number>();
  readonly #readiness: () => readonly Check[];

  constructor(clock: Clock, readiness: () => readonly Check[]) {
    this.#clock = clock;
    this.#readiness = readiness;
  }

  /** A loop turns. */
  beat(loop: string): void {
    this.#beats.set(loop, this.#clock.monotonic());
  }

  /** A loop has ended as it should. */
  end(loop: string): void {
    this.#beats.delete(loop);
  }

  /** One check a loop. */
  liveness(): readonly Check[] {
    const now = this.#clock.monotonic();
    return [...this.#beats].map(([name, at]) => ({
      name,
      ok: now - at < LONGEST_SILENCE_MS,
      detail: `last turn ${Math.round((now - at) / 1000)} s ago`,
    }));
  }

  readiness(): readonly Check[] {
    return this.#readiness();
  }
}
