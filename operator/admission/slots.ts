/**
 * How many tasks may be started. Always counted anew from what is observed, never kept as a counter: a counter that misses one event is
 * wrong for ever.
 */
import { Wakeup } from '../../lib/wakeup.ts';
import type { JobRecord } from '../jobs/records.ts';

/** What counting needs to see. */
export interface RunningJobs {
  readonly state: { readonly kind: 'known' | 'unknown' };
  job(name: string): JobRecord | undefined;
  jobs(): Iterable<JobRecord>;
}

/** The right to start one task. Ends by `free`, or when a Job of the name given by `use` is observed. */
export interface Slot {
  /** The task will be this Job. From here on its create may have happened, whatever answer came. */
  use(jobName: string): void;
  /** No Job came of it. */
  free(): void;
}

/** True for a Job that takes a slot: unfinished and not held back. */
export function takesSlot(job: JobRecord): boolean {
  return job.end === undefined && !job.suspended && job.parallelism > 0;
}

/** The global cap. */
export class Slots {
  readonly #view: RunningJobs;
  readonly #cap: number;
  readonly #pending = new Set<{ name: string | undefined }>();
  /** Wakes whoever waits for a slot. */
  readonly freed = new Wakeup();

  constructor(view: RunningJobs, cap: number) {
    this.#view = view;
    this.#cap = cap;
  }

  /** Slots that could be taken now; none while it is unknown what runs. */
  available(): number {
    if (this.#view.state.kind === 'unknown') return 0;
    let taken = 0;
    for (const job of this.#view.jobs()) if (takesSlot(job)) taken++;
    for (const slot of this.#pending) {
      if (slot.name !== undefined && this.#view.job(slot.name) !== undefined) this.#pending.delete(slot);
    }
    return Math.max(0, this.#cap - taken - this.#pending.size);
  }

  /** Takes up to `wanted` slots. */
  take(wanted: number): Slot[] {
    return Array.from({ length: Math.min(wanted, this.available()) }, () => {
      const slot: { name: string | undefined } = { name: undefined };
      this.#pending.add(slot);
      return {
        use: (jobName: string) => {
          slot.name = jobName;
        },
        free: () => {
          if (this.#pending.delete(slot)) this.freed.wake();
        },
      };
    });
  }
}
