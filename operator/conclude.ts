/**
 * The end of a task that has no Job to keep a record: a message that can never become one, or one whose Job was deleted. The message itself
 * is the record, so it is deleted last: a poison copy if one is due → its webhook, a few times → the message. After a crash before that the
 * message comes back, and all of it is done again.
 */
import type { Category } from '../contract/diagnosis.ts';
import type { PoisonEnvelope } from '../contract/poison.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Lease, Removal } from '../queue/lease.ts';
import { bury, type PoisonFormat } from '../queue/poison.ts';
import type { QueueService } from '../queue/service.ts';
import type { DeliveryResult } from '../webhook/delivery.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Config } from './config.ts';
import type { JobStore } from './jobs/store.ts';
import type { Metrics } from './metrics.ts';

/** What concluding works with. */
export interface ConcludeTools {
  readonly config: Pick<Config, 'podName'>;
  readonly store: Pick<JobStore, 'notify'>;
  readonly queues: QueueService;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly checkpoint: Checkpoint;
  readonly poisonFormat: PoisonFormat;
}

/** What is due. */
export interface Conclusion {
  /** Whose webhook it is, as in "the webhook of …". */
  readonly subject: string;
  readonly category: Category;
  /** The poison copy, if one is due. */
  readonly copy: PoisonEnvelope | undefined;
  /** Tries to deliver the webhook once, if one is due. */
  readonly send: ((signal: AbortSignal) => Promise<DeliveryResult>) | undefined;
}

/** What of it is done; kept by whoever has to try again. */
export interface Progress {
  buried?: boolean;
  /** Failed tries of the webhook. */
  tries?: number;
  /** How the webhook ended. */
  webhook?: string;
}

/** How far it came: the webhook is to be tried again later, or all is done. */
export type Concluded =
  | { readonly kind: 'again'; readonly inMs: number }
  | { readonly kind: 'done'; readonly webhook: string; readonly removal: Removal };

/** Milliseconds after each failed try of the webhook but the last. */
const NEXT_TRY_MS = [1000, 5000];
/** Seconds for which the message is kept when the tries outlast its lease. */
const KEEP_S = 60;

/**
 * Takes the steps that are left, up to the next try of the webhook.
 *
 * @param progress what was done before, and is done now
 * @throws ServiceError when poisoning or deleting failed: to be tried again with the same progress
 */
export async function conclude(
  tools: ConcludeTools,
  { subject, category, copy, send }: Conclusion,
  lease: Lease,
  progress: Progress,
  signal: AbortSignal,
): Promise<Concluded> {
  const { queue, messageId } = lease;
  if (copy !== undefined && !progress.buried) {
    if (await bury(tools.queues, copy, tools.poisonFormat, signal)) tools.metrics.poisoned.inc({ queue, category });
    progress.buried = true;
    await tools.checkpoint('poisoned', messageId);
  }
  if (send === undefined) progress.webhook ??= 'none';
  else if (progress.webhook === undefined) {
    if (lease.renewAt <= tools.clock.now()) await lease.renew(KEEP_S, signal);
    const result = await send(signal);
    if (result.kind === 'delivered') {
      progress.webhook = 'delivered';
    } else {
      const inMs = result.kind === 'refused' ? undefined : NEXT_TRY_MS[progress.tries ?? 0];
      progress.tries = (progress.tries ?? 0) + 1;
      if (inMs !== undefined) return { kind: 'again', inMs };
      await giveUp(tools, subject, lease, result.detail);
      progress.webhook = `given-up: ${result.detail}`;
    }
  }
  const { webhook } = progress;
  await tools.checkpoint('webhook-sent', messageId);
  const removal = await lease.remove(signal);
  await tools.checkpoint('deleted', messageId);
  return { kind: 'done', webhook, removal };
}

async function giveUp(
  tools: ConcludeTools,
  subject: string,
  { queue, messageId }: Lease,
  detail: string,
): Promise<void> {
  tools.metrics.webhooks.inc({ result: 'given-up' });
  tools.log.error({ queue, messageId, detail }, `the webhook of ${subject} is given up`);
  await tellOnPod(tools, 'WebhookGivenUp', `The webhook of ${subject} in ${queue} was not delivered: ${detail}`);
}

/** An Event about the operator's own pod, since there is no Job. It does not name the message: the same fault is one Event, not thousands. */
export async function tellOnPod(
  { config, store }: Pick<ConcludeTools, 'config' | 'store'>,
  reason: string,
  message: string,
): Promise<void> {
  if (config.podName === undefined) return;
  await store.notify({ reason, message, type: 'Warning', about: { kind: 'Pod', name: config.podName } });
}
