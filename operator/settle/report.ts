/** The operator's report of a finished task: what the runner still owes, and every failure whose attempts are used up. */
import { ANNOTATION } from '../../contract/identity.ts';
import { rawTaskId, rawTaskType } from '../../contract/message.ts';
import {
  formatWebhook,
  type WebhookBody,
  type WebhookStatus,
  webhookId,
  webhookIdBase,
} from '../../contract/webhook.ts';
import { fromIso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { Removal } from '../../queue/lease.ts';
import type { DeliveryResult } from '../../webhook/delivery.ts';
import { nextTryAfter } from '../../webhook/schedule.ts';
import type { Outcome } from '../jobs/outcome.ts';
import type { JobRecord } from '../jobs/records.ts';
import type { SettleTools } from './settle.ts';
import { type WebhookState, webhookState } from './webhook-state.ts';

/** Beside the outcome: how deleting the message ended, to be remembered while the webhook is owed; why it is not even tried. */
export interface ReportContext {
  readonly removal: Removal;
  readonly surplus: string | undefined;
}

/** Sends the webhook of a finished task, once. */
export async function report(
  tools: SettleTools,
  job: JobRecord,
  outcome: Outcome,
  { removal, surplus }: ReportContext,
  signal: AbortSignal,
): Promise<WebhookState> {
  const before = webhookState(job);
  if (surplus !== undefined)
    return giveUp(
      tools,
      job,
      before?.tries ?? 0,
      before?.kind === 'owed' ? `${surplus}; last: ${before.detail}` : surplus,
    );
  const full = await tools.store.get(job.name, signal);
  // Whose task it is stands on the Job alone; a report of nobody's task would only confuse its receiver.
  if (full === undefined) throw new Error(`Job ${job.name} is gone before its webhook was sent`);
  const tries = (before?.tries ?? 0) + 1;
  const result = await sendReport(tools, job, full.taskData, outcome, signal);
  if (result.kind === 'delivered') return { kind: 'delivered', tries };
  const wait = result.kind === 'retry' ? nextTryAfter(tries, tools.clock.random(), result.retryAfterMs) : undefined;
  const fields = { job: job.name, tries, detail: result.detail };
  if (wait !== undefined) {
    tools.log.warn(
      { ...fields, nextInSeconds: Math.round(wait / 1000) },
      'the webhook was not delivered and stays owed',
    );
    return { kind: 'owed', tries, nextAt: tools.clock.now() + wait, detail: result.detail, removal };
  }
  return giveUp(tools, job, tries, result.detail);
}

/** Tries to deliver a task's webhook once. `taskData` is the message's decoded text. */
export async function sendReport(
  tools: SettleTools,
  job: JobRecord,
  taskData: string,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<DeliveryResult> {
  const on = job.annotations;
  const ref = {
    account: on[ANNOTATION.account] ?? '',
    queue: on[ANNOTATION.queue] ?? '',
    messageId: on[ANNOTATION.messageId] ?? '',
  };
  const stored = await storedResult(tools, job, outcome, signal);
  if (stored.later !== undefined) return { kind: 'retry', detail: stored.later };
  const { format, sendCancelled } = tools.settings.webhook;
  const status = outcome.status === 'cancelled' && !sendCancelled ? 'failed' : outcome.status;
  const body = webhookBody(stored, status, on[ANNOTATION.client] ?? '', tryParseJson(taskData));
  return tools.sendWebhook(
    {
      url: on[ANNOTATION.webhookUrl] ?? '',
      id: webhookId(webhookIdBase(ref), body.status),
      body: formatWebhook(body, format),
    },
    signal,
  );
}

async function giveUp(tools: SettleTools, job: JobRecord, tries: number, detail: string): Promise<WebhookState> {
  tools.metrics.webhooks.inc({ result: 'given-up' });
  tools.log.error({ job: job.name, tries, detail }, 'the webhook is given up');
  await tools.store.notify({
    reason: 'WebhookGivenUp',
    message: `The webhook was not delivered in ${tries} tries: ${detail}`,
    type: 'Warning',
    about: { kind: 'Job', name: job.name, uid: job.uid },
  });
  return { kind: 'given-up', tries, detail };
}

/** The outcome with its result, wherever that lies; `later` when it could not be read this time. */
async function storedResult(
  tools: SettleTools,
  job: JobRecord,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<StoredOutcome> {
  if (outcome.resultUrl === undefined || outcome.result !== undefined) return { outcome };
  const stored = await tools.readResult(outcome.resultUrl, signal);
  if (stored.kind === 'found') return { outcome: { ...outcome, result: stored.value } };
  if (stored.kind === 'later') return { outcome, later: stored.detail };
  tools.log.warn(
    { job: job.name, detail: stored.detail },
    'the webhook is sent with a reference in place of its result',
  );
  return { outcome, reference: outcome.resultUrl };
}

/** An outcome whose result was looked up: it is in the outcome, or only its place is known, or it is to be tried again. */
interface StoredOutcome {
  readonly outcome: Outcome;
  readonly reference?: string;
  readonly later?: string;
}

function webhookBody(
  { outcome, reference }: StoredOutcome,
  status: WebhookStatus,
  client: string,
  task: unknown,
): WebhookBody {
  const { diagnosis, startedAt, finishedAt } = outcome;
  return {
    task_id: rawTaskId(task),
    task_type: rawTaskType(task),
    client_id: client,
    status,
    ...(outcome.result === undefined ? {} : { result: outcome.result }),
    ...(reference === undefined ? {} : { result_url: reference }),
    ...(status === 'completed'
      ? {}
      : { error: { code: diagnosis.category, message: diagnosis.message, hint: diagnosis.hint } }),
    started_at: startedAt,
    finished_at: finishedAt,
    duration_ms: Math.max(
      0,
      (fromIso(finishedAt) ?? 0) - (fromIso(startedAt ?? undefined) ?? fromIso(finishedAt) ?? 0),
    ),
    ...(outcome.usage === undefined ? {} : { usage: outcome.usage }),
  };
}
