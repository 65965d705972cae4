/** Limits of Azure, kept by ourselves: a call that is refused counts too, and a refused group would only be tried again. */

/** At most so many in so many milliseconds. */
export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

/** Whose every window is kept: nowhere are there more than `count` within `perMs`. Times are monotonic milliseconds. */
export class RateLimit {
  #rates: readonly Rate[];
  #taken: readonly { readonly at: number }[];

  /** @param taken those of an earlier life, as far as they are known */
  constructor(rates: readonly Rate[], taken: readonly number[] = []) {
    this.#rates = rates;
    this.#taken = taken.toSorted((a, b) => a - b).map((at) => ({ at }));
  }

  /** The configuration has changed; what was taken counts on. */
  set rates(rates: readonly Rate[]) {
    this.#rates = rates;
  }

  /** How many may be taken now. */
  free(now: number): number {
    return Math.max(0, Math.min(...this.#rates.map(({ count, perMs }) => count - this.#since(now - perMs))));
  }

  /** Milliseconds until one may be taken; 0 when one may be now. */
  waitMs(now: number): number {
    const waits = this.#rates.map(({ count, perMs }) => {
      // That one must be out of the window before the next one is taken.
      const nth = this.#taken.at(-count);
      return nth === undefined ? 0 : nth.at + perMs - now;
    });
    return Math.max(0, ...waits);
  }

  /** Takes one; returns what gives it back, should the call not be made after all. */
  take(now: number): () => void {
    const one = { at: now };
    const longestMs = Math.max(...this.#rates.map(({ perMs }) => perMs));
    this.#taken = [...this.#taken.filter(({ at }) => at > now - longestMs), one];
    return () => {
      this.#taken = this.#taken.filter((other) => other !== one);
    };
  }

  #since(moment: number): number {
    return this.#taken.filter(({ at }) => at > moment).length;
  }
}

/** The service's limits on creates, and the same on deletes (resource and quota limits, 2025-11; soft, by region and subscription). */
export function groupRates(per5Minutes: number, perHour: number): readonly Rate[] {
  return [
    { count: per5Minutes, perMs: 300_000 },
    { count: perHour, perMs: 3_600_000 },
  ];
}

/** The most that is read of single groups: three fifths of what Azure Resource Manager lets one caller read. */
export const READ_RATES: readonly Rate[] = [{ count: 150, perMs: 10_000 }];

/** Groups that are read in a second, all together: two fifths of what Azure Resource Manager lets one caller read in the long run. */
const READS_PER_S = 10;
const [QUICKEST_MS, SLOWEST_MS] = [2000, 20_000];

/**
 * Milliseconds until a group is read again: often while it is young, for most tasks are short, and rarely when it is old or one of many.
 *
 * @param random in [0, 1): spreads the reads
 */
export function pollMs(sinceMs: number, groups: number, random: number): number {
  const ms = Math.min(SLOWEST_MS, Math.max(QUICKEST_MS, sinceMs / 10, (groups / READS_PER_S) * 1000));
  return ms * (0.9 + 0.2 * random);
}
