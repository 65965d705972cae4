/** What a webhook says, whoever sends it: the runner or the operator. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { MessageRef } from './identity.ts';
import { usageSchema } from './usage.ts';

export const WEBHOOK_FORMATS = ['slipway', 'result'] as const;
/** `slipway`: the body below; `result`: the handler's result alone, as the old worker posted it. */
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number];

export const webhookBodySchema = z.object({
  task_id: z.string(),
  task_type: z.string(),
  client_id: z.string(),
  status: z.enum(['completed', 'failed', 'cancelled']),
  result: z.unknown().optional(),
  /** Where the result lies, in place of one that is too large to be sent. */
  result_url: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
  /** ISO 8601; null when the task never started. */
  started_at: z.string().nullable(),
  finished_at: z.string(),
  duration_ms: z.number().int().nonnegative(),
  /** What the task has taken and cost: all attempts, or that of the runner that reports. */
  usage: usageSchema.optional(),
});

/** The body of a webhook in format `slipway`. */
export type WebhookBody = z.infer<typeof webhookBodySchema>;
/** How a task ended, as a webhook tells it. */
export type WebhookStatus = WebhookBody['status'];

/** Bytes of JSON up to which a result is sent itself; of a larger one `result_url` says where it lies. */
export const MAX_RESULT_BYTES = 8 * 1024 * 1024;

/** The bytes to post. In format `result` a failure, and a task without a result, is told by the whole body: there is nothing else to tell. */
export function formatWebhook(body: WebhookBody, format: WebhookFormat): string {
  const isAlone = format === 'result' && body.status === 'completed' && body.result !== undefined;
  return JSON.stringify(isAlone ? body.result : body);
}

/** The part of a `webhook-id` that stands for the message: 32 hex characters of SHA-256 over account, queue and message id. */
export function webhookIdBase(ref: MessageRef): string {
  return createHash('sha256')
    .update(`webhook\n${ref.account}\n${ref.queue}\n${ref.messageId}`)
    .digest('hex')
    .slice(0, 32);
}

/**
 * The `webhook-id` header: the same for every repetition of one report, by whomever sent, and another for another status. It holds no
 * ".", which the signed content uses as its separator.
 */
export function webhookId(base: string, status: WebhookStatus): string {
  return `${base}_${status}`;
}
