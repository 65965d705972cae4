/**
 * One message of the polling mode, from its receipt to its end. Nothing outlives a crash but the message itself, so it is deleted last:
 *
 *   task done ─▶ poison copy, if it failed for good ─▶ webhook ─▶ deleted
 *
 * A crash between any two repeats the task or the webhook, under the same id, and loses nothing.
 */
import { type Category, diagnose } from '../../contract/diagnosis.ts';
import { clientOf } from '../../contract/identity.ts';
import { decodeMessage } from '../../contract/message.ts';
import type { PoisonEnvelope } from '../../contract/poison.ts';
import { PERMANENT_EXITS } from '../../contract/runner-abi.ts';
import { webhookIdBase } from '../../contract/webhook.ts';
import { backoff } from '../../lib/backoff.ts';
import { type Clock, iso } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { Lease } from '../../queue/lease.ts';
import { bury } from '../../queue/poison.ts';
import type { QueueService, ReceivedMessage } from '../../queue/service.ts';
import { PermanentError } from '../errors.ts';
import { type Failure, failure } from '../execute.ts';
import { type PerformTools, performTask } from '../perform.ts';
import type { EndedTask, sendWebhook } from '../report.ts';
import { keepResult } from '../result-store.ts';
import type { PollingConfig } from '../settings.ts';
import { readTask } from '../task.ts';

/** What messages are worked off with. */
export interface MessageTools extends Omit<PerformTools, 'settings' | 'timeoutMs' | 'rate'> {
  readonly queues: QueueService;
  readonly account: string;
  readonly config: PollingConfig;
  readonly send: typeof sendWebhook;
}

/** Seconds that a message is hidden for at a time. */
export const LEASE_S = 60;
/** A failed task is tried again after that, doubling. */
const RETRY_FIRST_MS = 10_000;
const RETRY_LONGEST_MS = 600_000;
/** A webhook that nobody takes is tried for so long, and then given up. */
const WEBHOOK_WITHIN_MS = 900_000;
const WEBHOOK_FIRST_MS = 2000;
const WEBHOOK_LONGEST_MS = 60_000;
const CALL_AGAIN_MS = 5000;
/** Deliveries without an end, beyond the attempts: it may be what ends the worker. */
const CRASHES = 3;

/** Does the message's task, and sees to its end. Never throws. */
export async function workOff(queue: string, message: ReceivedMessage, tools: MessageTools): Promise<void> {
  const { clock, config, queues, stopping } = tools;
  const log = tools.log.child({ queue, messageId: message.id, delivery: message.dequeueCount });
  const lease = new Lease(
    queues,
    clock,
    { queue, id: message.id, expiresOn: message.expiresOn },
    { popReceipt: message.popReceipt, until: message.leaseUntil },
  );
  const lost = new AbortController();
  const over = new AbortController();
  const keeping = keepLease(lease, lost, over.signal, clock, log);
  // Whoever has the message now does its task and tells of it: the one that lost it ends, whatever it was at.
  const mine = { ...tools, log, stopping: AbortSignal.any([stopping, lost.signal]) };
  try {
    const ended = await attempt(queue, message, mine);
    if (lost.signal.aborted) return;
    if (ended === undefined) {
      await giveBack(lease, 0, log);
      return;
    }
    const isFinal =
      ended.ending.kind === 'completed' ||
      PERMANENT_EXITS.includes(ended.ending.exit) ||
      message.dequeueCount >= config.maxAttempts;
    if (!isFinal) {
      const waitMs = backoff(message.dequeueCount, RETRY_FIRST_MS, RETRY_LONGEST_MS, clock);
      log.info(
        { seconds: Math.round(waitMs / 1000), attemptsLeft: config.maxAttempts - message.dequeueCount },
        'the task is tried again later',
      );
      await giveBack(lease, Math.round(waitMs / 1000), log);
      return;
    }
    await conclude(queue, message, ended, lease, mine);
  } catch (error) {
    log.error({ err: error }, 'the message could not be brought to its end; it comes back by itself');
  } finally {
    over.abort();
    await keeping;
  }
}

/** The task of the message; undefined when it was stopped before its end. */
async function attempt(queue: string, message: ReceivedMessage, tools: MessageTools): Promise<EndedTask | undefined> {
  const { clock, config } = tools;
  const clientId = clientOf(queue) ?? config.clientId;
  const given = {
    reading: readTask(message.text, config.encoding, 'the message'),
    taskId: message.id,
    taskType: '',
    clientId,
  };
  const often = message.dequeueCount - config.maxAttempts;
  if (often >= CRASHES) {
    const { reading } = given;
    const now = clock.now();
    const said = `it was received ${message.dequeueCount} times without an end`;
    return {
      taskId: (reading.kind === 'valid' ? reading.task.taskId : reading.taskId) ?? message.id,
      taskType: reading.kind === 'valid' ? reading.task.taskType : '',
      clientId,
      webhookUrl: reading.kind === 'valid' ? reading.task.webhookUrl : reading.webhookUrl,
      ending: failure(new PermanentError(said, { code: 'RedeliveredTooOften' })),
      startedAt: now,
      finishedAt: now,
    };
  }
  const { settings, timeoutMs, rate } = config;
  return (await performTask(given, { ...tools, settings, timeoutMs, rate })).ended;
}

/** Poison, webhook, delete. */
async function conclude(
  queue: string,
  message: ReceivedMessage,
  ended: EndedTask,
  lease: Lease,
  tools: MessageTools,
): Promise<void> {
  const { clock, config, queues, log, stopping } = tools;
  // A copy and a delete have no end of time but the lease's: asked for until they are answered.
  const again = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (stopping.aborted || lease.condition !== 'held') throw error;
        log.warn({ reason: messageOf(error) }, `${what} is tried again`);
        await clock.sleep(CALL_AGAIN_MS, stopping);
      }
    }
  };
  if (ended.ending.kind === 'failed') {
    const copy = envelope(queue, message, ended.ending, iso(ended.finishedAt), config, clock.now());
    await again('the poison copy', () => bury(queues, copy, 'envelope'));
    log.warn({ category: copy.diagnosis.category }, 'the message was poisoned');
  }
  if (!(await tell(queue, message, ended, tools))) {
    await giveBack(lease, 0, log);
    return;
  }
  const removal = await again('the delete', () => lease.remove());
  log.info({ message: removal }, 'settled');
}

/** Sends the webhook until it is taken, refused or given up. False: the worker stops first, or has lost the message, which is for another one. */
async function tell(queue: string, message: ReceivedMessage, ended: EndedTask, tools: MessageTools): Promise<boolean> {
  const { clock, config, log, account, stopping } = tools;
  if (ended.webhookUrl === undefined) return true;
  const idBase = webhookIdBase({ account, queue, messageId: message.id });
  const from = clock.monotonic();
  for (let tries = 1; ; tries++) {
    const sent = await tools.send(ended, {
      webhook: { ...config.webhook, idBase },
      keepResult: (result, signal) => keepResult(config.settings, ended, result, clock, signal),
      clock,
      log,
      stopping,
    });
    if (sent !== 'owed') return true;
    if (stopping.aborted) return false;
    if (clock.monotonic() - from > WEBHOOK_WITHIN_MS) {
      log.error({ tries }, 'the webhook is given up: its receiver has not taken it');
      return true;
    }
    await clock.sleep(backoff(tries, WEBHOOK_FIRST_MS, WEBHOOK_LONGEST_MS, clock), stopping);
  }
}

function envelope(
  queue: string,
  message: ReceivedMessage,
  failed: Failure,
  finishedAt: string,
  { encoding }: PollingConfig,
  now: number,
): PoisonEnvelope {
  const code: Category = failed.code;
  const diagnosis = diagnose(code, failed.message);
  const decoded = decodeMessage(message.text, encoding);
  return {
    slipway: 1,
    id: message.id,
    queue,
    reason: `${code}: ${failed.message}`,
    diagnosis,
    attempts: [{ finishedAt, exitCode: failed.exit, reason: code }],
    insertedOn: iso(message.insertedOn),
    poisonedOn: iso(now),
    encoding: decoded.kind === 'undecodable' ? 'unknown' : decoded.encoding,
    original: message.text,
  };
}

/** Renews the lease at two thirds of it, until `over`. A lease that is lost ends the task, or the telling of it. */
async function keepLease(
  lease: Lease,
  lost: AbortController,
  over: AbortSignal,
  clock: Clock,
  log: Log,
): Promise<void> {
  const isLost = (why: string): void => {
    log.warn({}, `${why}: somebody else has the message now, and nothing more is told of this attempt`);
    lost.abort(new Error(why));
  };
  for (;;) {
    await clock.sleep(Math.max(0, lease.renewAt - clock.now()), over);
    if (over.aborted || lease.condition !== 'held') return;
    try {
      if (await lease.renew(LEASE_S)) continue;
      isLost('the lease was lost');
      return;
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'the lease could not be renewed; it is tried again');
      if (lease.state.until <= clock.now()) {
        isLost('the lease ran out');
        return;
      }
      await clock.sleep(CALL_AGAIN_MS / 5, over);
    }
  }
}

async function giveBack(lease: Lease, delaySeconds: number, log: Log): Promise<void> {
  try {
    await lease.release(delaySeconds);
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'the message could not be given back; it comes back by itself');
  }
}
