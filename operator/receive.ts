/** One queue's loop: takes what free slots allow, at once while messages come, slower and slower while none do. */
import { backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { isKind } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { QueueService, ReceivedMessage } from '../queue/service.ts';
import type { Slot, Slots } from './admission/slots.ts';
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
  /** False while something must be known first. */
  readonly ready: () => boolean;
  /** Takes a message on; must not throw. Receiving does not wait for it. */
  readonly handOn: (source: Source, message: ReceivedMessage, slot: Slot) => void;
  readonly beat: (loop: string) => void;
}

/** The most that the service gives in one answer. */
const MAX_BATCH = 32;
const NO_SLOT_NAP_MS = 1000;
/** A queue that is not there yet, or answers with errors, is asked at most this seldom. */
const LONGEST_ERROR_WAIT_MS = 30_000;

/** Milliseconds to wait after so many empty answers in a row (1 or more): doubling, within ±10 %. */
export function idleWaitMs(empty: number, polling: FileConfig['polling'], random: number): number {
  const full = Math.min(polling.maxIntervalSeconds, polling.minIntervalSeconds * 2 ** (empty - 1)) * 1000;
  return full * (0.9 + 0.2 * random);
}

/**
 * Receives from one queue until `signal` aborts.
 *
 * @param abort ends a call under way. Not `signal`: an answer that is thrown away would hide its messages for a whole lease.
 */
export async function receiveFrom(
  source: Source,
  tools: ReceiveTools,
  signal: AbortSignal,
  abort: AbortSignal,
): Promise<void> {
  const { clock, metrics, log, settings } = tools;
  const { queue } = source;
  let empty = 0;
  let failures = 0;
  while (!signal.aborted) {
    tools.beat(`receive ${queue}`);
    const slots = tools.ready() ? tools.slots.take(MAX_BATCH) : [];
    if (slots.length === 0) {
      await tools.slots.freed.sleep(NO_SLOT_NAP_MS, clock, signal);
      continue;
    }
    try {
      const messages = await tools.queues.receive(queue, slots.length, settings.lease.firstSeconds, abort);
      messages.forEach((message, at) => {
        const slot = slots[at];
        if (slot !== undefined) tools.handOn(source, message, slot);
      });
      for (const unused of slots.slice(messages.length)) unused.free();
      metrics.received.inc({ queue }, messages.length);
      metrics.lastReceive.set({ queue }, clock.now() / 1000);
      if (failures > 0) log.info({ queue, failures }, 'the queue answers again');
      failures = 0;
      empty = messages.length === 0 ? empty + 1 : 0;
      if (empty > 0) await clock.sleep(idleWaitMs(empty, settings.polling, clock.random()), signal);
    } catch (error) {
      for (const slot of slots) slot.free();
      if (signal.aborted) return;
      failures++;
      metrics.queueErrors.inc({ queue, kind: isKind(error, 'not-found') ? 'not-found' : 'error' });
      if (failures === 1)
        log.warn(
          { queue, err: error },
          isKind(error, 'not-found')
            ? 'the queue does not exist (yet)'
            : 'the queue does not answer; it is asked again, and this is logged once',
        );
      // A failure never shortens the wait that an idle queue would have.
      const idle = idleWaitMs(empty + 1, settings.polling, clock.random());
      await clock.sleep(Math.max(idle, backoff(failures, 1000, LONGEST_ERROR_WAIT_MS, clock)), signal);
    }
  }
}
