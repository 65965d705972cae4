/** Puts faults into calls, as scripted, and counts what was called and what failed. One for a world: all its operators meet the same servers. */
import type { Clock } from '#/lib/clock.ts';
import { ServiceError } from '#/lib/errors.ts';
import { type Cell, cellName, type Failing, type Fault, type Step } from './faults.ts';

/** What the real clients grant a call. */
const DEADLINE_MS = 30_000;
/** How much later a request takes effect whose answer was lost. */
const LATE_MS = 5000;
/** More calls of one step than this without any time passing are a loop that would never end. */
const STORM = 300;
/** So many are let through at a moment once that is known, so that the test comes to its end. */
const AFTER_STORM = 3;

/** One call, for those who count. */
export interface Called {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly step: Step;
}

export class Injector {
  /** Every call that was made. */
  readonly calls: Called[] = [];
  /** Loops that called without end. */
  readonly storms: string[] = [];
  /** How often each cell was met, by its name. */
  readonly met = new Map<string, number>();
  readonly #clock: Clock;
  readonly #scripts = new Map<Step, Fault[]>();
  readonly #outages = new Map<Step, Fault>();
  #moment = { at: 0, calls: new Map<Step, number>() };
  readonly #stormy = new Set<Step>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next calls of the step meet the fault, so many times. */
  inject({ step, fault }: Cell, times = 1): void {
    const script = this.#scripts.get(step) ?? [];
    this.#scripts.set(step, [...script, ...Array.from({ length: times }, () => fault)]);
  }

  /** Every call of the step meets the fault until `clear`. */
  setOutage({ step, fault }: Cell): void {
    this.#outages.set(step, fault);
  }

  /** All is well from now on, for the steps given or for all. */
  clear(steps?: readonly Step[]): void {
    for (const step of steps ?? [...this.#scripts.keys(), ...this.#outages.keys()]) {
      this.#scripts.delete(step);
      this.#outages.delete(step);
    }
  }

  /** The fault that a call of the step meets now, if any; counted as met. */
  take(step: Step): Fault | undefined {
    this.#note(step);
    return this.meet(step);
  }

  /** As `take`, of what is no call: an event of a watch. */
  meet(step: Step): Fault | undefined {
    const fault = this.#scripts.get(step)?.shift() ?? this.#outages.get(step);
    if (fault !== undefined) {
      const name = cellName({ step, fault } as Cell);
      this.met.set(name, (this.met.get(name) ?? 0) + 1);
    }
    return fault;
  }

  /** Makes a call fail. `work` is what the call does when it takes effect. */
  async fail<T>(failing: Failing, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<never> {
    if (failing.effect === 'before') await work();
    if (failing.effect === 'later') void this.#clock.sleep(LATE_MS, NEVER).then(() => work().catch(() => undefined));
    if (failing.when === 'after the deadline') await this.#clock.sleep(DEADLINE_MS, signal ?? NEVER);
    throw failing.error;
  }

  /** A loop without end is written down and slowed, by an error that makes whoever calls wait. */
  #note(step: Step): void {
    const at = this.#clock.monotonic();
    this.calls.push({ at, step });
    if (at !== this.#moment.at) this.#moment = { at, calls: new Map() };
    const calls = (this.#moment.calls.get(step) ?? 0) + 1;
    this.#moment.calls.set(step, calls);
    if (calls <= (this.#stormy.has(step) ? AFTER_STORM : STORM)) return;
    if (!this.#stormy.has(step)) this.storms.push(`${step} is called ${STORM} times at one moment`);
    this.#stormy.add(step);
    throw new ServiceError('unavailable', 'Storm', `${step} is called too often`);
  }
}

const NEVER = new AbortController().signal;
