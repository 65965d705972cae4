/** A message that can never become a Job: poisoned, reported if its webhook_url can be read, deleted. */
import { type Category, diagnose } from '../contract/diagnosis.ts';
import type { FoundEncoding } from '../contract/message.ts';
import { webhookId, webhookIdBase } from '../contract/webhook.ts';
import { iso } from '../lib/clock.ts';
import type { Lease } from '../queue/lease.ts';
import type { ReceivedMessage } from '../queue/service.ts';
import { type ConcludeTools, type Conclusion, conclude, type Progress, tellOnPod } from './conclude.ts';
import type { SendWebhook } from './send-webhook.ts';

/** What rejecting works with. */
export interface RejectTools extends ConcludeTools {
  readonly account: string;
  readonly sendWebhook: SendWebhook;
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
export type RejectProgress = Progress;

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
  const { queue, message, category, reason, taskId } = rejection;
  const conclusion = conclusionOf(tools, rejection);
  let concluded = await conclude(tools, conclusion, lease, progress, signal);
  while (concluded.kind === 'again') {
    await tools.clock.sleep(concluded.inMs, signal);
    concluded = await conclude(tools, conclusion, lease, progress, signal);
  }
  const { webhook, removal } = concluded;
  tools.log.warn(
    { queue, messageId: message.id, taskId, category, reason, webhook, message: removal },
    'the message was poisoned',
  );
  const { hint } = diagnose(category, reason);
  await tellOnPod(tools, category, `A message in ${queue} was poisoned: ${reason}. ${hint}`);
}

function conclusionOf(tools: RejectTools, rejection: Rejection): Conclusion {
  const { queue, message, category, reason, webhookUrl: url } = rejection;
  const diagnosis = diagnose(category, reason);
  const now = iso(tools.clock.now());
  const body = JSON.stringify({
    task_id: rejection.taskId,
    task_type: rejection.taskType,
    client_id: rejection.client,
    status: 'failed',
    error: { code: category, message: diagnosis.message, hint: diagnosis.hint },
    started_at: null,
    finished_at: now,
    duration_ms: 0,
  });
  const id = webhookId(webhookIdBase({ account: tools.account, queue, messageId: message.id }), 'failed');
  return {
    subject: 'a poisoned message',
    category,
    copy: {
      slipway: 1,
      id: message.id,
      queue,
      reason: `${category}: ${reason}`,
      diagnosis,
      attempts: [],
      insertedOn: iso(message.insertedOn),
      poisonedOn: now,
      encoding: rejection.encoding,
      original: message.text,
    },
    send: url === undefined ? undefined : (signal) => tools.sendWebhook({ url, id, body }, signal),
  };
}
