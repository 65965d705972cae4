/**
 * Who gets the free slots: queues with work take turns, so that one that is flooded delays no other by more than a round. Deficit round
 * robin (Shreedhar and Varghese, 1995) in which every task costs one.
 */
import type { HeldJob, Room } from './slots.ts';

/** A queue that has work. */
export interface Claim {
  readonly queue: string;
  readonly client: string;
  /** Slots that one turn is worth; 1 or more. */
  readonly weight: number;
  /** Its Jobs that are held back, oldest first; they go before messages. */
  readonly held: readonly HeldJob[];
  /** Messages that it may be asked for now. */
  readonly wants: number;
}

/** What came of a division. */
export interface Share {
  /** Held Jobs to start, in this order. */
  readonly starts: readonly { readonly queue: string; readonly job: HeldJob }[];
  /** Slots for messages, by queue. */
  readonly messages: ReadonlyMap<string, number>;
  /** What is left over. */
  readonly room: Room;
}

export class Rounds {
  /** Queues with work, the one whose turn it is first. */
  readonly #ring: string[] = [];
  /** What is left of the turn of the first. */
  #credit = 0;

  /** Divides free slots. Who has no work any more leaves the round; who comes anew waits for one round at most. */
  share(claims: readonly Claim[], free: Room): Share {
    const byQueue = new Map(claims.map((claim) => [claim.queue, new Taker(claim)]));
    this.#update(byQueue);
    const room = new RoomLeft(free);
    const starts: { queue: string; job: HeldJob }[] = [];
    const messages = new Map<string, number>();
    for (let skipped = 0; room.total > 0 && skipped < this.#ring.length; ) {
      const queue = this.#ring[0] ?? '';
      const taker = byQueue.get(queue);
      if (this.#credit === 0) this.#credit = taker?.weight ?? 0;
      const taken = taker?.takeOne(room);
      if (taken === 'message') messages.set(queue, (messages.get(queue) ?? 0) + 1);
      else if (taken !== undefined) starts.push({ queue, job: taken });
      skipped = taken === undefined ? skipped + 1 : 0;
      this.#credit = taken === undefined ? 0 : this.#credit - 1;
      if (this.#credit === 0) this.#ring.push(...this.#ring.splice(0, 1));
    }
    return { starts, messages, room };
  }

  #update(byQueue: ReadonlyMap<string, unknown>): void {
    const [first] = this.#ring;
    const stay = this.#ring.filter((queue) => byQueue.has(queue));
    const known = new Set(stay);
    this.#ring.splice(0, this.#ring.length, ...stay, ...[...byQueue.keys()].filter((queue) => !known.has(queue)));
    if (this.#ring[0] !== first) this.#credit = 0;
  }
}

/** A claim while it is served. */
class Taker {
  readonly weight: number;
  readonly #client: string;
  readonly #held: HeldJob[];
  #wants: number;

  constructor({ client, weight, held, wants }: Claim) {
    this.weight = weight;
    this.#client = client;
    this.#held = [...held];
    this.#wants = wants;
  }

  /** Takes one slot, for its oldest held Job whose type has room, else for a message. */
  takeOne(room: RoomLeft): HeldJob | 'message' | undefined {
    const at = this.#held.findIndex(({ client, type }) => room.ofClient(client) > 0 && room.ofType(type) > 0);
    const [job] = at < 0 ? [] : this.#held.splice(at, 1);
    if (job !== undefined) {
      room.take(job.client, job.type);
      return job;
    }
    if (this.#wants <= 0 || room.ofClient(this.#client) <= 0) return undefined;
    this.#wants--;
    room.take(this.#client, undefined);
    return 'message';
  }
}

class RoomLeft implements Room {
  readonly #free: Room;
  readonly #takenOfClient = new Map<string, number>();
  readonly #takenOfType = new Map<string, number>();
  total: number;

  constructor(free: Room) {
    this.#free = free;
    this.total = free.total;
  }

  ofClient(client: string): number {
    return this.#free.ofClient(client) - (this.#takenOfClient.get(client) ?? 0);
  }

  ofType(type: string | undefined): number {
    return this.#free.ofType(type) - (type === undefined ? 0 : (this.#takenOfType.get(type) ?? 0));
  }

  take(client: string, type: string | undefined): void {
    this.total--;
    this.#takenOfClient.set(client, (this.#takenOfClient.get(client) ?? 0) + 1);
    if (type !== undefined) this.#takenOfType.set(type, (this.#takenOfType.get(type) ?? 0) + 1);
  }
}
