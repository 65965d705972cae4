/**
 * Receiving: one loop that shares free slots between the queues. A queue with work takes part in the rounds. One that was empty is asked
 * more and more seldom, with a slot if some are left over; else it is only looked into, which hides no message and needs no slot.
 */
import { backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { isKind } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { QueueService, ReceivedMessage } from '../queue/service.ts';
import { Rounds } from './admission/rounds.ts';
import type { Census, HeldJob, Room, Slot, Slots } from './admission/slots.ts';
import type { Source } from './config.ts';
import type { FileConfig } from './config-schema.ts';
import type { Metrics } from './metrics.ts';

/** What receiving works with. */
export interface ReceiveTools {
  readonly queues: QueueService;
  readonly slots: Slots;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly settings: Pick<FileConfig, 'polling' | 'lease'>;
  /** The queues there are now. */
  readonly sources: () => readonly Source[];
  /** Whether the source's queue is received from, and its share of freed slots. */
  readonly terms: (source: Source) => { readonly receiving: boolean; readonly weight: number };
  /** False while something must be known first, or somebody else leads. Asked before each batch. */
  readonly ready: () => boolean;
  /** Whether Jobs of the type may be started. */
  readonly mayStart: (type: string | undefined) => boolean;
  /** Takes a message on; must not throw. Receiving does not wait for it. */
  readonly handOn: (source: Source, message: ReceivedMessage, slot: Slot) => void;
  /** Starts a Job that is held back; must not throw. Frees the slot if it is not started. */
  readonly startHeld: (job: HeldJob, slot: Pick<Slot, 'free'>) => void;
  /** A loop, or a call, turns; and has ended as it should. */
  readonly beat: (loop: string) => void;
  readonly end: (loop: string) => void;
}

/** The most that the service gives in one answer. */
const MAX_BATCH = 32;
/** Calls under way side by side. */
const MAX_CALLS = 64;
const NAP_MS = 1000;
/** A queue that is not there yet, or answers with errors, is asked at most this seldom. */
const LONGEST_ERROR_WAIT_MS = 30_000;
/** Idle queues are asked so often in all, and each at least twice a minute: with some hundred queues, more seldom than `maxIntervalSeconds`. */
const IDLE_CALLS_PER_SECOND = 40;
const LONGEST_IDLE_S = 30;

/**
 * Milliseconds to wait after so many empty answers in a row (1 or more): doubling, within ±10 %.
 *
 * @param queues how many queues there are
 */
export function idleWaitMs(empty: number, polling: FileConfig['polling'], random: number, queues = 1): number {
  const crowded = Math.min(LONGEST_IDLE_S, queues / IDLE_CALLS_PER_SECOND);
  const longest = Math.max(polling.maxIntervalSeconds, crowded);
  const full = Math.min(longest, polling.minIntervalSeconds * 2 ** (empty - 1)) * 1000;
  return full * (0.9 + 0.2 * random);
}

/** What is known of a queue. */
interface Line {
  source: Source;
  /** Its last answer had messages: it takes part in the rounds. */
  hasWork: boolean;
  /** Answers without messages in a row. */
  empty: number;
  failures: number;
  /** Monotonic milliseconds before which it is not asked. */
  nextAt: number;
  call: Promise<void> | undefined;
}

export class Receiver {
  readonly #tools: ReceiveTools;
  readonly #rounds = new Rounds();
  readonly #lines = new Map<string, Line>();
  /** What a call ended with that is no answer of the service. */
  #bug: { readonly error: unknown } | undefined;

  constructor(tools: ReceiveTools) {
    this.#tools = tools;
  }

  /**
   * Receives until `stopping` aborts, then waits for the calls under way.
   *
   * @param abort ends those. Not `stopping`: an answer that is thrown away would hide its messages for a whole lease.
   */
  async run(stopping: AbortSignal, abort: AbortSignal): Promise<void> {
    const { clock, slots, beat } = this.#tools;
    while (!stopping.aborted && this.#bug === undefined) {
      beat('receive');
      this.#turn(stopping, abort);
      await slots.freed.sleep(this.#napMs(), clock, stopping);
    }
    await Promise.all([...this.#lines.values()].map(({ call }) => call));
    if (this.#bug !== undefined) throw this.#bug.error;
  }

  /** True when every queue that is received from has answered that it is empty, or not at all, or has no room. */
  get isQuiet(): boolean {
    const { sources, terms } = this.#tools;
    return sources().every((source) => {
      if (!terms(source).receiving) return true;
      const line = this.#lines.get(source.queue);
      if (line === undefined || line.call !== undefined) return false;
      return line.hasWork ? this.#tools.slots.census()?.room.total === 0 : line.empty + line.failures > 0;
    });
  }

  #turn(stopping: AbortSignal, abort: AbortSignal): void {
    const { slots, ready, clock } = this.#tools;
    this.#update();
    const census = ready() ? slots.census() : undefined;
    if (census === undefined) return;
    const now = clock.monotonic();
    const open = [...this.#lines.values()].filter(
      (line) =>
        line.call === undefined && this.#tools.terms(line.source).receiving && census.roomToHold(line.source.queue) > 0,
    );
    const room = this.#shareOut(census, open, stopping, abort);
    this.#askIdle(
      open.filter((line) => line.call === undefined && !line.hasWork && line.nextAt <= now),
      census,
      room,
      stopping,
      abort,
    );
  }

  /** Gives free slots to queues with work. */
  #shareOut(census: Census, open: readonly Line[], stopping: AbortSignal, abort: AbortSignal): Room {
    const working = new Map(open.filter(({ hasWork }) => hasWork).map((line) => [line.source.queue, line]));
    const claims = [...new Set([...working.keys(), ...census.held.keys()])].map((queue) => {
      const held = (census.held.get(queue) ?? []).filter(({ type }) => this.#tools.mayStart(type));
      const source = this.#lines.get(queue)?.source;
      return {
        queue,
        client: source?.client ?? '',
        weight: source === undefined ? 1 : this.#tools.terms(source).weight,
        held,
        wants: working.has(queue) ? Math.min(MAX_BATCH, census.roomToHold(queue)) : 0,
      };
    });
    const share = this.#rounds.share(claims, census.room);
    for (const { queue, job } of share.starts) {
      this.#tools.startHeld(job, this.#tools.slots.takeForHeld(queue, job));
    }
    for (const [queue, count] of share.messages) {
      const line = working.get(queue);
      if (line !== undefined) this.#call(line, () => this.#receive(line, count, stopping, abort));
    }
    return share.room;
  }

  /** Asks idle queues whose time has come: with slots, as far as some are left over, those first that wait for the longest. */
  #askIdle(due: readonly Line[], census: Census, room: Room, stopping: AbortSignal, abort: AbortSignal): void {
    let left = room.total;
    const leftOf = new Map<string, number>();
    const inOrder = due.toSorted((a, b) => a.nextAt - b.nextAt);
    inOrder.forEach((line, at) => {
      if (this.#callsUnderWay() >= MAX_CALLS) return;
      const { queue, client } = line.source;
      const ofClient = leftOf.get(client) ?? room.ofClient(client);
      if (ofClient <= 0) return;
      const fair = Math.max(1, Math.floor(left / (inOrder.length - at)));
      const count = Math.min(left, fair, ofClient, MAX_BATCH, census.roomToHold(queue));
      left -= count;
      leftOf.set(client, ofClient - count);
      this.#call(line, () =>
        count > 0 ? this.#receive(line, count, stopping, abort) : this.#look(line, stopping, abort),
      );
    });
  }

  #callsUnderWay(): number {
    return [...this.#lines.values()].filter(({ call }) => call !== undefined).length;
  }

  /** Brings the lines up to date with the sources. What is under way for a source that is gone ends by itself. */
  #update(): void {
    const sources = new Map(this.#tools.sources().map((source) => [source.queue, source]));
    for (const [queue, line] of this.#lines) {
      if (!sources.has(queue) && line.call === undefined) this.#lines.delete(queue);
    }
    for (const [queue, source] of sources) {
      const line = this.#lines.get(queue);
      if (line !== undefined) line.source = source;
      else this.#lines.set(queue, { source, hasWork: false, empty: 0, failures: 0, nextAt: 0, call: undefined });
    }
  }

  #napMs(): number {
    const now = this.#tools.clock.monotonic();
    const waits = [...this.#lines.values()]
      .filter(({ call, hasWork, nextAt }) => call === undefined && !hasWork && nextAt > now)
      .map(({ nextAt }) => nextAt - now);
    return Math.min(NAP_MS, ...waits);
  }

  /** Carries out a call about one queue; it counts as a loop of its own, since it may hang. */
  #call(line: Line, work: () => Promise<void>): void {
    const { beat, end, slots } = this.#tools;
    const name = `receive ${line.source.queue}`;
    beat(name);
    line.call = work()
      .catch((error: unknown) => {
        this.#bug ??= { error };
      })
      .finally(() => {
        line.call = undefined;
        end(name);
        slots.freed.wake();
      });
  }

  async #receive(line: Line, count: number, stopping: AbortSignal, abort: AbortSignal): Promise<void> {
    const { queues, slots, metrics, settings, handOn } = this.#tools;
    const { source } = line;
    const { queue } = source;
    const taken = Array.from({ length: count }, () => slots.take(source));
    await this.#ask(line, stopping, async () => {
      try {
        const messages = await queues.receive(queue, count, settings.lease.firstSeconds, abort);
        messages.forEach((message, at) => {
          const slot = taken[at];
          if (slot !== undefined) handOn(source, message, slot);
        });
        taken.splice(0, messages.length);
        metrics.received.inc({ queue }, messages.length);
        return messages.length > 0;
      } finally {
        for (const unused of taken) unused.free();
      }
    });
  }

  async #look(line: Line, stopping: AbortSignal, abort: AbortSignal): Promise<void> {
    await this.#ask(line, stopping, () => this.#tools.queues.hasMessages(line.source.queue, abort));
  }

  /** Asks, and says by the answer when to ask next. */
  async #ask(line: Line, stopping: AbortSignal, ask: () => Promise<boolean>): Promise<void> {
    const { clock, metrics, log, settings } = this.#tools;
    const { queue } = line.source;
    const idleMs = (empty: number) => idleWaitMs(empty, settings.polling, clock.random(), this.#lines.size);
    try {
      line.hasWork = await ask();
      metrics.lastReceive.set({ queue }, clock.now() / 1000);
      if (line.failures > 0) log.info({ queue, failures: line.failures }, 'the queue answers again');
      line.failures = 0;
      line.empty = line.hasWork ? 0 : line.empty + 1;
      line.nextAt = clock.monotonic() + (line.hasWork ? 0 : idleMs(line.empty));
    } catch (error) {
      if (stopping.aborted) return;
      line.hasWork = false;
      line.failures++;
      const isGone = isKind(error, 'not-found');
      metrics.queueErrors.inc({ queue, kind: isGone ? 'not-found' : 'error' });
      const vanished = isGone && line.source.discovered === true;
      if (line.failures === 1 && !vanished)
        log.warn(
          { queue, err: error },
          isGone
            ? 'the queue does not exist (yet)'
            : 'the queue does not answer; it is asked again, and this is logged once',
        );
      // A failure never shortens the wait that an idle queue would have.
      const wait = Math.max(idleMs(line.empty + 1), backoff(line.failures, 1000, LONGEST_ERROR_WAIT_MS, clock));
      line.nextAt = clock.monotonic() + wait;
    }
  }
}
