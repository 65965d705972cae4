/**
 * How many tasks may be started: in all, of a client, of a task type. Always counted anew from what is observed, never kept as a counter: a
 * counter that misses one event is wrong for ever.
 */
import { ANNOTATION, SUSPENDED_BY } from '../../contract/identity.ts';
import { Wakeup } from '../../lib/wakeup.ts';
import type { JobRecord } from '../jobs/records.ts';

/** What counting needs to see. */
export interface RunningJobs {
  readonly state: { readonly kind: 'known' | 'unknown' };
  job(name: string): JobRecord | undefined;
  jobs(): Iterable<JobRecord>;
}

/** The caps as they are configured now; infinite where there is none. */
export interface Caps {
  readonly total: number;
  ofClient(client: string): number;
  ofType(type: string): number;
  /** Suspended Jobs that wait for room, of one queue. */
  readonly heldPerQueue: number;
  /** The configured task type that a Job counts for; undefined when it is configured no more. */
  typeOf(job: JobRecord): string | undefined;
}

/** Whose message a slot is for. */
export interface SlotOwner {
  readonly queue: string;
  readonly client: string;
}

/** The right to start one task. Ends by `free`, or when a Job of the name given by `use` is observed. */
export interface Slot {
  /**
   * Tells the task's type, now that it is known. `hold`: the type has no room, or an earlier task of the queue waits for it, so the task
   * becomes a Job that is held back; the slot is then one among those held, and no longer among those running. Asked again, it decides anew.
   */
  admit(type: string): 'start' | 'hold';
  /** The task will be this Job. From here on its create may have happened, whatever answer came. */
  use(jobName: string): void;
  /** No Job came of it. */
  free(): void;
}

/** A picture of who takes what, at one moment. */
export interface Census {
  /** Slots that are free; never below 0. */
  readonly room: Room;
  /** Jobs that Slipway holds back, by queue, oldest first. */
  readonly held: ReadonlyMap<string, readonly HeldJob[]>;
  /** How many more may be held of that queue, should all be held that were received and not admitted yet. */
  roomToHold(queue: string): number;
}

/** Slots that are free. */
export interface Room {
  readonly total: number;
  ofClient(client: string): number;
  ofType(type: string | undefined): number;
}

/** A Job that was made suspended because its type had no room. */
export interface HeldJob {
  readonly name: string;
  readonly client: string;
  readonly type: string | undefined;
}

interface Pending extends SlotOwner {
  type?: string;
  name?: string;
  held: boolean;
  /** The Job is there, suspended, and is being started. */
  readonly starts: boolean;
}

/** True for a Job that takes a slot: unfinished and not held back. */
export function takesSlot(job: JobRecord): boolean {
  return job.end === undefined && !job.suspended && job.parallelism > 0;
}

/** True for a Job that Slipway itself holds back, and that nobody wants cancelled. Jobs that others suspended are theirs to resume. */
export function isHeld(job: JobRecord): boolean {
  const on = job.annotations;
  return (
    job.end === undefined &&
    job.suspended &&
    !job.deleting &&
    on[ANNOTATION.suspendedBy] === SUSPENDED_BY &&
    on[ANNOTATION.cancel] === undefined
  );
}

export class Slots {
  readonly #view: RunningJobs;
  readonly #caps: () => Caps;
  readonly #pending = new Set<Pending>();
  /** Wakes whoever waits for a slot. */
  readonly freed = new Wakeup();

  constructor(view: RunningJobs, caps: () => Caps) {
    this.#view = view;
    this.#caps = caps;
  }

  /** Counts; undefined while it is unknown what runs. */
  census(): Census | undefined {
    if (this.#view.state.kind === 'unknown') return undefined;
    return count(this.#view, this.#stillPending(), this.#caps());
  }

  /** Takes a slot for a message of that queue; the caller has seen in a census that there is one. */
  take(owner: SlotOwner): Slot {
    const slot: Pending = { ...owner, held: false, starts: false };
    this.#pending.add(slot);
    return {
      admit: (type) => {
        slot.type = type;
        slot.held = !this.#hasRoom(slot, type);
        return slot.held ? 'hold' : 'start';
      },
      use: (jobName) => {
        slot.name = jobName;
      },
      free: () => this.#free(slot),
    };
  }

  /** Takes a slot for a held Job that is to start; ends by `free`, or when the Job is observed as started. */
  takeForHeld(queue: string, { name, client, type }: HeldJob): Pick<Slot, 'free'> {
    const slot: Pending = { queue, client, name, held: false, starts: true, ...(type === undefined ? {} : { type }) };
    this.#pending.add(slot);
    return { free: () => this.#free(slot) };
  }

  #free(slot: Pending): void {
    if (this.#pending.delete(slot)) this.freed.wake();
  }

  #hasRoom(slot: Pending, type: string): boolean {
    const caps = this.#caps();
    if (caps.ofType(type) === Number.POSITIVE_INFINITY) return true;
    const others = this.#stillPending().filter((one) => one !== slot);
    const { room, held } = count(this.#view, others, caps);
    return room.ofType(type) > 0 && !held.get(slot.queue)?.some((job) => job.type === type);
  }

  #stillPending(): readonly Pending[] {
    for (const slot of this.#pending) {
      const job = slot.name === undefined ? undefined : this.#view.job(slot.name);
      // A Job that is being started is seen suspended until it is.
      if (job !== undefined && (!slot.starts || !job.suspended || job.end !== undefined)) this.#pending.delete(slot);
    }
    return [...this.#pending];
  }
}

function count(view: RunningJobs, pending: readonly Pending[], caps: Caps): Census {
  const ofClient = new Tally();
  const ofType = new Tally();
  const heldOf = new Tally();
  let total = 0;
  const run = (client: string, type: string | undefined) => {
    total++;
    ofClient.add(client);
    if (type !== undefined) ofType.add(type);
  };
  const held = new Map<string, (HeldJob & { readonly createdAt: number })[]>();
  const starting = new Set(pending.filter(({ starts }) => starts).map(({ name }) => name));
  for (const slot of pending) {
    // Of what type a message is turns out only now: it may come to be held.
    if (slot.held || (slot.type === undefined && !slot.starts)) heldOf.add(slot.queue);
    if (!slot.held) run(slot.client, slot.type);
  }
  for (const job of view.jobs()) {
    const client = job.annotations[ANNOTATION.client] ?? '';
    if (takesSlot(job)) run(client, caps.typeOf(job));
    else if (isHeld(job) && !starting.has(job.name)) {
      const queue = job.annotations[ANNOTATION.queue] ?? '';
      heldOf.add(queue);
      const { name, createdAt } = job;
      const all = held.get(queue) ?? [];
      held.set(queue, all);
      all.push({ name, client, type: caps.typeOf(job), createdAt });
    }
  }
  for (const jobs of held.values()) jobs.sort((a, b) => a.createdAt - b.createdAt || (a.name < b.name ? -1 : 1));
  return {
    room: {
      total: Math.max(0, caps.total - total),
      ofClient: (client) => Math.max(0, caps.ofClient(client) - ofClient.of(client)),
      ofType: (type) =>
        type === undefined ? Number.POSITIVE_INFINITY : Math.max(0, caps.ofType(type) - ofType.of(type)),
    },
    held,
    roomToHold: (queue) => Math.max(0, caps.heldPerQueue - heldOf.of(queue)),
  };
}

class Tally {
  readonly #counts = new Map<string, number>();

  add(key: string): void {
    this.#counts.set(key, this.of(key) + 1);
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }
}
