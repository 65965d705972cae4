/**
 * A message that can never become a Job: poisoned, reported if its webhook_url can be read, deleted. There is no Job that could keep a
 * record, so the message is the record: it is deleted last.
 */
import { type Category, diagnose } from '../contract/diagnosis.ts';
import type { FoundEncoding } from '../contract/message.ts';
import { webhookId, webhookIdBase } from '../contract/webhook.ts';
import { type Clock, iso } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Lease } from '../queue/lease.ts';
import { bury, type PoisonFormat } from '../queue/poison.ts';
import type { QueueService, ReceivedMessage } from '../queue/service.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Config } from './config.ts';
import type { JobStore } from './jobs/store.ts';
import type { Metrics } from './metrics.ts';
import type { SendWebhook } from './send-webhook.ts';

/** What rejecting works with. */
export interface RejectTools {
  readonly config: Pick<Config, 'podName'>;
  readonly store: Pick<JobStore, 'notify'>;
  readonly account: string;
  readonly queues: QueueService;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly sendWebhook: SendWebhook;
  readonly checkpoint: Checkpoint;
  readonly poisonFormat: PoisonFormat;
}

/** The message and why it is rejected. */
export interface Rejection {
  readonly queue: string;
  readonly client: string;
  readonly message: ReceivedMessage;
  readonly encoding: FoundEncoding | 'unknown';
  readonly category: Category;
  /** Names the field. */
  readonly reason: string;
  readonly taskId: string;
  readonly taskType: string;
  readonly webhookUrl: string | undefined;
}

/** What of a rejection is done. */
export interface RejectProgress {
  buried?: boolean;
  /** How the webhook ended. */
  webhook?: string;
}

/** Milliseconds before each try of the webhook. */
const TRIES_AFTER_MS = [0, 1000, 5000];
/** Seconds for which the message is kept when the tries outlast its first lease. */
const KEEP_S = 60;

/**
 * Rejects.
 *
 * @param progress what an earlier try of the same delivery did, and this one does
 * @throws ServiceError when poisoning or deleting failed: to be tried again, by this delivery or the next
 */
export async function reject(
  tools: RejectTools,
  rejection: Rejection,
  lease: Lease,
  signal: AbortSignal,
  progress: RejectProgress = {},
): Promise<void> {
  const { queue, message, category, reason } = rejection;
  const diagnosis = diagnose(category, reason);
  const envelope = {
    slipway: 1 as const,
    id: message.id,
    queue,
    reason: `${category}: ${reason}`,
    diagnosis,
    attempts: [],
    insertedOn: iso(message.insertedOn),
    poisonedOn: iso(tools.clock.now()),
    encoding: rejection.encoding,
    original: message.text,
  };
  if (!progress.buried) {
    if (await bury(tools.queues, envelope, tools.poisonFormat, signal)) tools.metrics.poisoned.inc({ queue, category });
    progress.buried = true;
    await tools.checkpoint('poisoned', message.id);
  }
  progress.webhook ??=
    rejection.webhookUrl === undefined ? 'none' : await report(tools, rejection, rejection.webhookUrl, lease, signal);
  const { webhook } = progress;
  await tools.checkpoint('webhook-sent', message.id);
  const removal = await lease.remove(signal);
  await tools.checkpoint('deleted', message.id);
  tools.log.warn(
    { queue, messageId: message.id, taskId: rejection.taskId, category, reason, webhook, message: removal },
    'the message was poisoned',
  );
  await tell(tools, category, `A message in ${queue} was poisoned: ${reason}. ${diagnosis.hint}`);
}

/** An Event about the operator's own pod, since there is no Job. It does not name the message: the same fault is one Event, not thousands. */
async function tell({ config, store }: RejectTools, reason: string, message: string): Promise<void> {
  if (config.podName === undefined) return;
  await store.notify({ reason, message, type: 'Warning', about: { kind: 'Pod', name: config.podName } });
}

async function report(
  tools: RejectTools,
  rejection: Rejection,
  url: string,
  lease: Lease,
  signal: AbortSignal,
): Promise<string> {
  const { message, queue } = rejection;
  const { category, message: text, hint } = diagnose(rejection.category, rejection.reason);
  const body = JSON.stringify({
    task_id: rejection.taskId,
    task_type: rejection.taskType,
    client_id: rejection.client,
    status: 'failed',
    error: { code: category, message: text, hint },
    started_at: null,
    finished_at: iso(tools.clock.now()),
    duration_ms: 0,
  });
  const id = webhookId(webhookIdBase({ account: tools.account, queue, messageId: message.id }), 'failed');
  let detail = 'not tried';
  for (const wait of TRIES_AFTER_MS) {
    await tools.clock.sleep(wait, signal);
    if (lease.renewAt <= tools.clock.now()) await lease.renew(KEEP_S, signal);
    const result = await tools.sendWebhook({ url, id, body }, signal);
    if (result.kind === 'delivered') return 'delivered';
    detail = result.detail;
    if (result.kind === 'refused') break;
  }
  tools.metrics.webhooks.inc({ result: 'given-up' });
  tools.log.error({ queue, messageId: message.id, detail }, 'the webhook of a poisoned message is given up');
  await tell(tools, 'WebhookGivenUp', `The webhook of a poisoned message in ${queue} was not delivered: ${detail}`);
  return `given-up: ${detail}`;
}
