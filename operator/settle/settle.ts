/** Carries out the steps of settling that `decide` has found due. Effects only; what is due is decided there. */
import { ANNOTATION, LABEL, STATE } from '../../contract/identity.ts';
import { encodeMessage } from '../../contract/message.ts';
import type { PoisonEnvelope } from '../../contract/poison.ts';
import { type Clock, fromIso, iso } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Lease, Removal } from '../../queue/lease.ts';
import { bury } from '../../queue/poison.ts';
import type { QueueService } from '../../queue/service.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { FileConfig } from '../config-schema.ts';
import type { Outcome } from '../jobs/outcome.ts';
import type { JobRecord } from '../jobs/records.ts';
import type { JobStore } from '../jobs/store.ts';
import type { JobsView } from '../jobs/view.ts';
import type { Metrics } from '../metrics.ts';
import type { SendWebhook } from '../send-webhook.ts';
import type { TaskTypes } from '../task-types.ts';
import type { Decision } from './decide.ts';
import { report } from './report.ts';
import type { ReadResult } from './stored-result.ts';
import { type WebhookState, webhookState, webhookStateAnnotation } from './webhook-state.ts';

/** What settling works with. */
export interface SettleTools {
  readonly store: JobStore;
  readonly view: JobsView;
  readonly queues: QueueService;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly sendWebhook: SendWebhook;
  readonly readResult: ReadResult;
  readonly checkpoint: Checkpoint;
  /** Told how tasks end, since it may pause their types. */
  readonly types: Pick<TaskTypes, 'ended'>;
  readonly settings: Pick<FileConfig, 'ttl' | 'poison' | 'webhook'>;
}

/** No message stays invisible longer, so no redelivery comes later. */
const LONGEST_VISIBILITY_S = 604_800;

/**
 * Takes the steps in order. Ends early, without an error, when the webhook is owed: the Job then stays unsettled until its next try.
 *
 * @throws ServiceError when a step failed; the next decision finds it due again
 */
export async function settle(
  tools: SettleTools,
  job: JobRecord,
  lease: Lease,
  { outcome, steps, surplus }: Extract<Decision, { kind: 'settle' }>,
  signal: AbortSignal,
): Promise<void> {
  let current = job;
  let removal: Removal = removalBefore(job);
  let webhook: WebhookState | undefined;
  const patch = async (annotations: Record<string, string>, bound: { resourceVersion?: string } = {}) => {
    current = await tools.store.patch(job.name, { ...bound, annotations }, signal);
    tools.view.learn(current);
  };
  for (const step of steps) {
    // Another operator has taken all the steps between two of ours; closing its Job again would be a second outcome.
    if (current.settled) return;
    switch (step) {
      case 'record':
        await patch({ [ANNOTATION.outcome]: JSON.stringify(outcome) });
        await tools.checkpoint('recorded', job.name);
        await announce(tools, job, outcome);
        break;
      case 'poison':
        await poison(tools, current, outcome, signal);
        await tools.checkpoint('poisoned', job.name);
        await patch({ [ANNOTATION.poisoned]: iso(tools.clock.now()) });
        break;
      case 'delete':
        removal = await lease.remove(signal);
        // Gone, and nobody was watching over it at the end: somebody else may have done the task too.
        if (
          removal !== 'deleted' &&
          lease.state.until <= tools.clock.now() &&
          current.annotations[ANNOTATION.leaseLost] === undefined
        )
          await patch({ [ANNOTATION.leaseLost]: iso(tools.clock.now()) });
        await tools.checkpoint('deleted', job.name);
        break;
      case 'webhook':
        webhook = await report(tools, current, outcome, { removal, surplus }, signal);
        await tools.checkpoint('webhook-sent', job.name);
        // Bound to the version at hand: "owed" must not come to stand on a Job that another operator has closed meanwhile.
        if (webhook.kind === 'owed') {
          return patch(webhookStateAnnotation(webhook), { resourceVersion: current.resourceVersion });
        }
        break;
      case 'close':
        await close(tools, current, outcome, removal, webhook, signal);
        await tools.checkpoint('settled', job.name);
    }
  }
}

/** An Event about a task that did not complete. One about each that did would be a write a task, and nobody's news. */
export async function announce(
  tools: Pick<SettleTools, 'types' | 'store'>,
  job: JobRecord,
  { status, diagnosis }: Outcome,
): Promise<void> {
  if (status === 'completed') return;
  const { category, message, hint } = diagnosis;
  tools.types.ended(job, category);
  await tools.store.notify({
    reason: category,
    message: `The task ${status === 'cancelled' ? 'was cancelled' : 'failed'}: ${message}. ${hint}`,
    type: status === 'cancelled' ? 'Normal' : 'Warning',
    about: { kind: 'Job', name: job.name, uid: job.uid },
  });
}

async function poison(tools: SettleTools, job: JobRecord, outcome: Outcome, signal: AbortSignal): Promise<void> {
  const full = await tools.store.get(job.name, signal);
  if (full === undefined) throw new Error(`Job ${job.name} is gone before its message was poisoned`);
  const envelope = poisonCopy(job, full.taskData, outcome, tools.clock.now());
  const { queue } = envelope;
  const stored = await bury(tools.queues, envelope, tools.settings.poison.format, signal);
  if (stored) tools.metrics.poisoned.inc({ queue, category: outcome.diagnosis.category });
  else tools.log.warn({ job: job.name, queue }, 'the queue is gone: no poison copy was made');
}

/** The poison copy of a failed task. `taskData` is the message's decoded text. */
export function poisonCopy(job: JobRecord, taskData: string, outcome: Outcome, now: number): PoisonEnvelope {
  const on = job.annotations;
  const encoding = on[ANNOTATION.encoding] === 'base64' ? 'base64' : 'plain';
  const { diagnosis, attempts } = outcome;
  return {
    slipway: 1,
    id: on[ANNOTATION.messageId] ?? '',
    queue: on[ANNOTATION.queue] ?? '',
    reason: `${diagnosis.category}: ${diagnosis.message}`,
    diagnosis,
    attempts,
    insertedOn: on[ANNOTATION.insertedOn] ?? null,
    poisonedOn: iso(now),
    encoding,
    original: encodeMessage(taskData, encoding),
  };
}

/**
 * The last write: settled, and from here on Kubernetes may remove the record. Bound to the version that was decided on, so that of two
 * operators one closes the Job and the other finds it closed.
 */
async function close(
  tools: SettleTools,
  job: JobRecord,
  outcome: Outcome,
  removal: Removal,
  webhook: WebhookState | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { clock, settings } = tools;
  const now = clock.now();
  // Of a CI task that completed with failing tests the Job is Failed, and is looked at like any other.
  const isGood = outcome.status === 'completed' && job.end?.kind !== 'failed';
  const keepFor = isGood ? settings.ttl.completedSeconds : settings.ttl.failedSeconds;
  // "Gone or alive under another receipt" cannot be told apart: the record stays as long as the message might come back.
  const expiresOn = fromIso(job.annotations[ANNOTATION.expiresOn]) ?? Number.POSITIVE_INFINITY;
  const mayReturnFor =
    removal === 'unsure' ? Math.min(LONGEST_VISIBILITY_S, Math.max(0, Math.ceil((expiresOn - now) / 1000))) : 0;
  const sinceEnd = Math.max(0, Math.ceil((now - (job.end?.at ?? now)) / 1000));
  const closed = await tools.store.patch(
    job.name,
    {
      resourceVersion: job.resourceVersion,
      labels: { [LABEL.state]: STATE.settled },
      annotations: {
        [ANNOTATION.settled]: iso(now),
        ...(outcome.usage === undefined ? {} : { [ANNOTATION.usage]: JSON.stringify(outcome.usage) }),
        // Trouble of a start that led to nothing is no news any more.
        ...(outcome.status === 'completed' && ANNOTATION.diagnosis in job.annotations
          ? { [ANNOTATION.diagnosis]: null }
          : {}),
        ...(webhook === undefined ? {} : webhookStateAnnotation(webhook)),
      },
      ttlSeconds: sinceEnd + Math.max(keepFor, mayReturnFor),
    },
    signal,
  );
  tools.view.learn(closed);
  if (outcome.status === 'completed') tools.types.ended(job, outcome.diagnosis.category);
  const fields = count(tools, job, outcome);
  tools.log.info(
    { ...fields, message: removal, webhook: webhook?.kind ?? (outcome.webhookDue ? 'due' : 'not-due') },
    'settled',
  );
}

/** Counts a settled task; gives what is to be logged of it. */
export function count({ metrics }: Pick<SettleTools, 'metrics'>, job: JobRecord, outcome: Outcome) {
  const { category } = outcome.diagnosis;
  const labels = {
    client: job.annotations[ANNOTATION.client] ?? '',
    type: job.labels[LABEL.taskType] ?? '',
    status: outcome.status,
  };
  metrics.settled.inc({ ...labels, category });
  const { usage } = outcome;
  if (usage !== undefined) {
    const of = { client: labels.client, type: labels.type };
    metrics.vcpuSeconds.inc(of, usage.vcpu_seconds);
    metrics.gibSeconds.inc(of, usage.gib_seconds);
    if (usage.cost !== undefined) metrics.cost.inc(of, usage.cost);
  }
  if (outcome.startedAt !== null)
    metrics.taskDuration.observe(
      labels,
      ((fromIso(outcome.finishedAt) ?? 0) - (fromIso(outcome.startedAt) ?? 0)) / 1000,
    );
  return { job: job.name, ...labels, category };
}

/** How deleting the message ended in an earlier life of this settling, if it did. */
function removalBefore(job: JobRecord): Removal {
  const state = webhookState(job);
  return state?.kind === 'owed' ? state.removal : 'unsure';
}
