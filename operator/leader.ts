/**
 * Which of several replicas works: the one that holds a Lease (docs/decisions/0027-leader-election.md).
 *
 * - A leader renews every 2 s, and calls itself one for 10 s from the moment before it sent the last write that was
 *   confirmed.
 * - Another candidate takes the Lease when it has seen it unchanged for 15 s: at least 5 s after the leader has
 *   stopped.
 * - Every write is bound to the version that was read, so that of two one is refused.
 *
 * Each counts by its own monotonic clock. Where that clock stops while the machine sleeps (Linux: a suspended laptop or
 * virtual machine), a leader that wakes up counts on the rest of its 10 s, although another has taken over: they
 * overlap for at most so long.
 */
import type { Clock } from '../lib/clock.ts';
import { isKind } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { decide, type Sighting, sight } from './leader-decision.ts';
import type { LeaseObject, LeaseStore } from './lease-object.ts';

/** How long a confirmed write makes a leader. */
const RENEW_DEADLINE_MS = 10_000;
/**
 * From the start of one try to the start of the next, and up to a fifth more, so that candidates do not stay in step.
 */
const RETRY_MS = 2000;
/** One call. Half of the renew deadline, so that a leader survives a call without an answer. */
const CALL_DEADLINE_MS = 5000;
/**
 * Refusals of a call until the right is called missing. An API server that has just started refuses for a moment what
 * it allows then, and at an uninstall the Role goes before the operator.
 */
const REFUSALS = 3;
/** A release that meets another write, or gets no answer, is tried again. */
const RELEASE_TRIES = 3;

/** The right that a call needs. */
type Verb = 'get' | 'create' | 'update';

/** What an election needs. */
export interface LeaderElectionOptions {
  readonly leases: LeaseStore;
  /** The Lease's name. */
  readonly name: string;
  /**
   * Of this candidate, and of nobody else who may live at the same time: a pod's name will do. One who is restarted
   * under the same identity goes on at once.
   */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called at each change, also when leadership just lapses. Must not throw. */
  readonly onChange?: (isLeading: boolean) => void;
}

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #released = new AbortController();
  #sighting: Sighting | undefined;
  /**
   * Whether the last sighting is the answer to our own write, after which there was no other: then nothing has to be
   * read.
   */
  #isWritten = false;
  /** Monotonic milliseconds. */
  #leadsUntil = Number.NEGATIVE_INFINITY;
  #told = false;
  #lapse = new AbortController();
  readonly #refusals = new Map<Verb, number>();
  #failures = 0;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
  }

  /** Whether this candidate leads at this moment. To be asked right before whatever only a leader may do. */
  get isLeading(): boolean {
    return this.#options.clock.monotonic() < this.#leadsUntil;
  }

  /** Who held the Lease when it was last seen; undefined for nobody, and before it was seen. */
  get holder(): string | undefined {
    return this.#sighting?.lease?.holder || undefined;
  }

  /**
   * Acquires and renews until `stopping` aborts. Whoever runs no longer does not lead; the Lease stays until
   * `release`. Never throws.
   */
  async run(stopping: AbortSignal): Promise<void> {
    const { clock, log, identity } = this.#options;
    const signal = AbortSignal.any([stopping, this.#released.signal]);
    while (!signal.aborted) {
      const started = clock.monotonic();
      let wait = Number.POSITIVE_INFINITY;
      try {
        wait = await this.#try(signal);
        this.#failures = 0;
      } catch (error) {
        if (isKind(error, 'conflict')) this.#stepDown('another has written the Lease');
        else if (!signal.aborted && !isKind(error, 'forbidden'))
          log[this.#failures++ === 0 ? 'warn' : 'debug'](
            { err: error, identity },
            'a call for the leader Lease failed',
          );
      }
      const pause = RETRY_MS * (1 + clock.random() / 5) - (clock.monotonic() - started);
      await clock.sleep(Math.max(0, Math.min(wait, pause)), signal);
    }
    this.#stepDown('it stops');
  }

  /** Gives the Lease up, if it is still ours, so that another takes it at its next try. Ends `run`. Never throws. */
  async release(signal: AbortSignal): Promise<void> {
    const { leases, name, identity, clock, log } = this.#options;
    this.#released.abort();
    this.#stepDown('it gives the Lease up');
    for (let tries = 1; tries <= RELEASE_TRIES && !signal.aborted; tries++) {
      try {
        const lease = await this.#call('get', signal, (within) => leases.read(name, within));
        if (lease?.holder !== identity) return;
        const terms = { ...lease, holder: '', durationSeconds: 1, renewedAt: clock.now() };
        await this.#call('update', signal, (within) => leases.replace(name, lease, terms, within));
        return;
      } catch (error) {
        log.debug({ err: error, identity }, 'the leader Lease could not be given up');
      }
    }
    log.warn({ identity }, 'the leader Lease was not given up: another replica takes it when it has run out');
  }

  /** One look and one write, where one is due; milliseconds after which another may be. */
  async #try(signal: AbortSignal): Promise<number> {
    const { clock, identity } = this.#options;
    const sighting = this.#isWritten && this.#sighting !== undefined ? this.#sighting : await this.#look(signal);
    const candidate = { identity, now: clock.now(), monotonic: clock.monotonic() };
    const decision = decide(sighting, candidate);
    if (decision.kind === 'wait') return decision.ms;
    const { name, leases } = this.#options;
    const { terms } = decision;
    const before = sighting.lease;
    this.#isWritten = false;
    const sent = clock.monotonic();
    const written =
      before === undefined
        ? await this.#call('create', signal, (within) => leases.create(name, terms, within))
        : await this.#call('update', signal, (within) => leases.replace(name, before, terms, within));
    if (signal.aborted) return 0;
    this.#isWritten = true;
    this.#see(written);
    this.#lead(sent + RENEW_DEADLINE_MS);
    return Number.POSITIVE_INFINITY;
  }

  async #look(signal: AbortSignal): Promise<Sighting> {
    const { leases, name, identity } = this.#options;
    const lease = await this.#call('get', signal, (within) => leases.read(name, within));
    if (lease?.holder !== identity) this.#stepDown(`the Lease is held by "${lease?.holder ?? ''}"`);
    return this.#see(lease);
  }

  #see(lease: LeaseObject | undefined): Sighting {
    this.#sighting = sight(this.#sighting, lease, this.#options.clock.monotonic());
    return this.#sighting;
  }

  /** A call within its deadline. A right that stays missing is told once, until it is there. */
  async #call<T>(verb: Verb, signal: AbortSignal, call: (within: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, log, identity, name } = this.#options;
    try {
      const answer = await call(clock.deadline(CALL_DEADLINE_MS, signal));
      this.#refusals.delete(verb);
      return answer;
    } catch (error) {
      if (isKind(error, 'forbidden')) {
        const refusals = (this.#refusals.get(verb) ?? 0) + 1;
        this.#refusals.set(verb, refusals);
        if (refusals === REFUSALS)
          log.error(
            { err: error, identity, lease: name },
            `no leader can be elected: the right to ${verb} leases in coordination.k8s.io is missing (get, create and update are needed)`,
          );
      }
      throw error;
    }
  }

  #lead(until: number): void {
    // Lapsed before this answer, and not told yet: then both are changes.
    this.#tell('its renewal came late');
    this.#leadsUntil = until;
    this.#tell();
    this.#lapse.abort();
    this.#lapse = new AbortController();
    void this.#noticeLapse(until, this.#lapse.signal);
  }

  /** Notices the end of a leadership that nothing renews, without any call being answered. */
  async #noticeLapse(until: number, renewed: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    // Timers ring up to a millisecond early.
    while (clock.monotonic() < until && !renewed.aborted) await clock.sleep(until - clock.monotonic(), renewed);
    this.#tell('its renewals were not confirmed');
  }

  #stepDown(why: string): void {
    this.#lapse.abort();
    this.#leadsUntil = Number.NEGATIVE_INFINITY;
    this.#tell(why);
  }

  #tell(why?: string): void {
    const { log, identity, onChange } = this.#options;
    const { isLeading } = this;
    if (isLeading === this.#told) return;
    this.#told = isLeading;
    if (isLeading) log.info({ identity }, 'this replica leads');
    else log.warn({ identity, why }, 'this replica leads no longer');
    onChange?.(isLeading);
  }
}
