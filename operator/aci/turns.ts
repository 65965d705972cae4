/**
 * Whose turn it is to have a group made: within Azure's limits, the oldest Job first. In memory alone; begun with what the Jobs tell, since
 * another operator may have asked for groups in the hour before.
 */
import type { Clock } from '../../lib/clock.ts';
import type { JobRecord } from '../jobs/records.ts';
import type { JobsView } from '../jobs/view.ts';
import { isOnAci, readAttempts } from './attempts.ts';
import { groupRates, RateLimit } from './rates.ts';
import type { AciTerms } from './terms.ts';

/** A Job that waits. */
export interface Waiting {
  /** Monotonic. */
  readonly since: number;
  readonly age: number;
  /** Whether the Job says so. */
  told: boolean;
}

/** What it works with. */
export interface TurnsParts {
  readonly clock: Clock;
  readonly view: JobsView;
  readonly terms: () => AciTerms | undefined;
  /** Groups that are there or may be. */
  readonly groups: () => number;
}

const NO_TERMS_AGAIN_MS = 30_000;
const LOOK_SOON_MS = 1000;
/** The service's own, where the configuration has none any more. */
const DEFAULT = { per5Minutes: 100, perHour: 300 };

export class Turns {
  readonly #parts: TurnsParts;
  #limits: { readonly creates: RateLimit; readonly deletes: RateLimit } | undefined;
  readonly #waiting = new Map<string, Waiting>();
  /** No PUT for this Job before that moment (monotonic). */
  readonly #notBefore = new Map<string, number>();
  /** No group is made at all before that moment: the region, or the subscription, has no room. */
  #noRoomUntil = 0;

  constructor(parts: TurnsParts) {
    this.#parts = parts;
  }

  /** Jobs that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  waitingOf(name: string): Waiting | undefined {
    return this.#waiting.get(name);
  }

  /** Another operator may have made groups meanwhile. */
  startOver(): void {
    this.#limits = undefined;
  }

  /** The Job does not wait any more. */
  done(name: string): void {
    this.#waiting.delete(name);
  }

  forget(name: string): void {
    this.#waiting.delete(name);
    this.#notBefore.delete(name);
  }

  /** The Job's group was refused: no other try for so long. */
  refuse(name: string, forMs: number): void {
    this.#notBefore.set(name, this.#parts.clock.monotonic() + forMs);
  }

  /** There is no room for any group. */
  close(forMs: number): void {
    this.#noRoomUntil = this.#parts.clock.monotonic() + forMs;
  }

  get creates(): RateLimit {
    return this.#current().creates;
  }

  get deletes(): RateLimit {
    return this.#current().deletes;
  }

  /** Milliseconds until it is this Job's turn to have a group made; 0 when it is. */
  waitMs({ name, createdAt }: JobRecord): number {
    const { clock, terms, groups } = this.#parts;
    const now = clock.monotonic();
    const limits = terms()?.limits;
    const { since = now, told = false } = this.#waiting.get(name) ?? {};
    this.#waiting.set(name, { since, age: createdAt, told });
    if (limits === undefined) return NO_TERMS_AGAIN_MS;
    const blockedMs = Math.max(this.#noRoomUntil, this.#notBefore.get(name) ?? 0) - now;
    if (blockedMs > 0) return blockedMs;
    const { creates } = this;
    const room = Math.min(creates.free(now), limits.groups - groups());
    if (room <= 0) return Math.max(creates.waitMs(now), LOOK_SOON_MS);
    const older = [...this.#waiting].filter(
      ([other, { age }]) =>
        (this.#notBefore.get(other) ?? 0) <= now && (age < createdAt || (age === createdAt && other < name)),
    );
    return older.length < room ? 0 : LOOK_SOON_MS;
  }

  /** When a group was deleted is not told by the Jobs; as late as it may have been. */
  #current(): { readonly creates: RateLimit; readonly deletes: RateLimit } {
    const { clock, terms, view } = this.#parts;
    const { per5Minutes, perHour } = terms()?.limits ?? DEFAULT;
    const rates = groupRates(per5Minutes, perHour);
    const mono = (moment: number) => Math.min(0, moment - clock.now()) + clock.monotonic();
    if (this.#limits === undefined) {
      const before = [...view.jobs()].filter(isOnAci).flatMap((job) => readAttempts(job) ?? []);
      const asked = before.map(({ lastPutAt, claimedAt }) => mono(lastPutAt ?? claimedAt));
      const gone = before.flatMap(({ end, gone: is }) => (is === true && end !== undefined ? [mono(end.at)] : []));
      this.#limits = { creates: new RateLimit(rates, asked), deletes: new RateLimit(rates, gone) };
    }
    this.#limits.creates.rates = rates;
    this.#limits.deletes.rates = rates;
    return this.#limits;
  }
}
