/**
 * The polling mode: the old worker's way, for the time of migration. Without TASK_DATA and with WORKER_QUEUES the runner receives messages
 * itself and does their tasks in this process, some at a time, with the same handlers, webhooks and poison queues.
 */
import { EXIT } from '../../contract/runner-abi.ts';
import { messageOf } from '../../lib/errors.ts';
import { Wakeup } from '../../lib/wakeup.ts';
import { LEASE_S, type MessageTools, workOff } from './message.ts';

/** The service gives no more in one answer. */
const MAX_BATCH = 32;
/** A failed call is tried again after that, or after the idle wait when that is longer. */
const ERROR_WAIT_MS = 10_000;

/** What polling works with. `stopping` aborts on SIGTERM. */
export type PollTools = Omit<MessageTools, 'crashed'> & {
  /** Settles with an error that nobody caught. */
  readonly crashed: Promise<unknown>;
};

/** Whose error it was that nobody caught, nobody knows: no task is blamed. */
const BLAMES_NOBODY: Promise<never> = new Promise(() => undefined);

/**
 * Polls until told to stop, then waits for what is under way, for as long as it may take. An error that nobody caught stops it too: what runs
 * may end, and whoever started the process starts another.
 *
 * @returns the exit code
 */
export async function poll(tools: PollTools): Promise<number> {
  const { clock, config, queues, log } = tools;
  const crash = new AbortController();
  void tools.crashed.then(() => crash.abort());
  const stopping = AbortSignal.any([tools.stopping, crash.signal]);
  const { concurrency, idle } = config;
  log.info({ queues: config.queues, concurrency, attempts: config.maxAttempts }, 'polling');
  const hurry = new AbortController();
  const running = new Set<Promise<void>>();
  const freed = new Wakeup();
  const workTools = { ...tools, stopping: hurry.signal, crashed: BLAMES_NOBODY };
  let empty = 0;
  let order = config.queues;
  while (!stopping.aborted) {
    if (running.size >= concurrency) {
      await freed.sleep(idle.longestMs, clock, stopping);
      continue;
    }
    let [found, hasFailed, next] = [0, false, order];
    for (const [index, queue] of order.entries()) {
      const count = Math.min(MAX_BATCH, concurrency - running.size);
      if (count <= 0 || stopping.aborted) break;
      try {
        const messages = await queues.receive(queue, count, LEASE_S, stopping);
        // The one that gave is asked last the next time: a flood in one queue holds no other up.
        if (messages.length > 0) next = [...order.slice(index + 1), ...order.slice(0, index + 1)];
        found += messages.length;
        for (const message of messages) {
          const work = workOff(queue, message, workTools).finally(() => {
            running.delete(work);
            freed.wake();
          });
          running.add(work);
        }
      } catch (error) {
        if (stopping.aborted) break;
        hasFailed = true;
        log.warn({ queue, reason: messageOf(error) }, 'nothing could be received');
      }
    }
    order = next;
    empty = found > 0 ? 0 : empty + 1;
    if (found > 0) continue;
    const waitMs = idleWaitMs(empty, idle, clock.random());
    await freed.sleep(hasFailed ? Math.max(waitMs, ERROR_WAIT_MS) : waitMs, clock, stopping);
  }
  const graceMs = config.stopWithinMs;
  log.info(
    { running: running.size, seconds: graceMs / 1000 },
    'told to stop: what is under way may end; its messages are given back after that',
  );
  const late = new AbortController();
  void clock.sleep(graceMs, late.signal).then(() => hurry.abort(new Error('the worker is to stop')));
  await Promise.all(running);
  late.abort();
  return crash.signal.aborted ? EXIT.failed : EXIT.done;
}

/** Milliseconds to wait after so many answers without a message in a row, 1 or more: doubling, within ±10 %. */
export function idleWaitMs(
  empty: number,
  { shortestMs, longestMs }: { readonly shortestMs: number; readonly longestMs: number },
  random: number,
): number {
  return Math.min(longestMs, shortestMs * 2 ** (empty - 1)) * (0.9 + 0.2 * random);
}
