/** A Job and its pods → where its task stands, for people. Pure. */
import { ciResultSchema } from '../contract/ci-result.ts';
import { ANNOTATION, LABEL, SUSPENDED_BY } from '../contract/identity.ts';
import { iso } from '../lib/clock.ts';
import { cancellation, isBeingEnded, noteOn, usedAttempts } from '../operator/jobs/notes.ts';
import { type Outcome, outcomeOf } from '../operator/jobs/outcome.ts';
import type { JobRecord, PodRecord } from '../operator/jobs/records.ts';
import { webhookState } from '../operator/settle/webhook-state.ts';
import type { Task } from './jobs.ts';

/**
 * Where a task stands.
 *
 * - `waiting`: held back because its type has no room, or suspended by others, or its pod has no node, or may not be made
 * - `starting`: its pod is being made; no container of it has run
 * - `running`
 * - `retrying`: an attempt has failed, and the next one is still to come
 * - `settling`: it has ended, and something is still due: its message, its poison copy, its webhook
 * - the rest: settled
 */
export const TASK_STATES = [
  'waiting',
  'starting',
  'running',
  'retrying',
  'settling',
  'completed',
  'failed',
  'cancelled',
] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** Where a task stands. */
export function taskState(task: Task): TaskState {
  const { job, pods } = task;
  if (job.end !== undefined) return job.settled ? outcomeOf(job, job.end, pods).status : 'settling';
  if (job.suspended) return 'waiting';
  const live = livePods(task);
  if (live.some((pod) => pod.phase === 'Running' || pod.begun)) return 'running';
  if (live.some((pod) => pod.unschedulable !== undefined)) return 'waiting';
  if (live.length > 0) return 'starting';
  if (isBeingEnded(job) || pods.some(({ phase }) => phase === 'Succeeded')) return 'settling';
  const ended = endedAttempts(task);
  if (ended >= job.attempts) return 'settling';
  if (ended > 0) return 'retrying';
  return noteOn(job)?.noPod === true ? 'waiting' : 'starting';
}

/** The attempt that it is at: 0 before the first one. What disruptions took away is not counted. */
export function attemptOf(task: Task): number {
  const { job } = task;
  const seen = endedAttempts(task) + (livePods(task).length > 0 ? 1 : 0);
  const recorded = outcome(task)?.attempts.filter(({ reason }) => reason !== 'Disrupted').length ?? 0;
  return Math.min(job.attempts, Math.max(seen, recorded, job.end?.kind === 'complete' ? 1 : 0));
}

/** How it ended; undefined while its Job has not. */
export function outcome({ job, pods }: Task): Outcome | undefined {
  return job.end === undefined ? undefined : outcomeOf(job, job.end, pods);
}

/** Who holds an unfinished Job back; undefined when it is not suspended. */
export function heldBackBy(job: JobRecord): 'slipway' | 'other' | undefined {
  if (!job.suspended || job.end !== undefined) return undefined;
  return job.annotations[ANNOTATION.suspendedBy] === SUSPENDED_BY ? 'slipway' : 'other';
}

/** From the start of its first container on, in milliseconds since the epoch. */
export function ranFrom(task: Task): number | undefined {
  const recorded = outcome(task)?.startedAt;
  if (recorded !== undefined && recorded !== null) return new Date(recorded).getTime();
  const starts = task.pods.flatMap(({ task: container }) =>
    container !== undefined && container.kind !== 'waiting' && (container.startedAt ?? 0) > 0
      ? [container.startedAt ?? 0]
      : [],
  );
  if (starts.length > 0) return Math.min(...starts);
  return task.job.end?.kind === 'complete' ? task.job.startedAt : undefined;
}

/** In a word or two why it is where it is; '' when there is nothing to say. */
export function shortWhy(task: Task): string {
  const { job } = task;
  const ended = outcome(task);
  const webhook = webhookState(job);
  if (ended !== undefined)
    return [
      ...(ended.status === 'completed' ? [] : [ended.diagnosis.category]),
      ...(ended.status === 'completed' && haveTestsFailed(ended.result) ? ['tests failed'] : []),
      ...(webhook?.kind === 'owed' && !job.settled ? ['webhook owed'] : []),
      ...(webhook?.kind === 'given-up' ? ['webhook given up'] : []),
    ].join(', ');
  if (isBeingEnded(job)) return noteOn(job)?.diagnosis.category ?? 'being ended';
  if (job.deleting) return 'its Job is being deleted';
  if (cancellation(job) !== undefined) return 'cancel asked for';
  const held = heldBackBy(job);
  if (held !== undefined) return held === 'slipway' ? 'its type has no room' : 'suspended';
  return noteOn(job)?.diagnosis.category ?? '';
}

function haveTestsFailed(result: unknown): boolean {
  return ciResultSchema.safeParse(result).data?.conclusion === 'failure';
}

/** A task as `--json` tells it. */
export function taskJson(task: Task) {
  const { job } = task;
  const ended = outcome(task);
  const from = ranFrom(task);
  return {
    task: job.labels[LABEL.taskId] ?? '',
    client: clientOf(job),
    type: job.labels[LABEL.taskType] ?? '',
    state: taskState(task),
    attempt: attemptOf(task),
    attempts: job.attempts,
    createdAt: iso(job.createdAt),
    startedAt: from === undefined ? null : iso(from),
    finishedAt: ended?.finishedAt ?? null,
    job: job.name,
    why: shortWhy(task) || null,
    diagnosis: ended === undefined ? (noteOn(job)?.diagnosis ?? null) : ended.diagnosis,
  };
}

/** The client's name as the queue has it; a label's value may be cut. */
export function clientOf(job: JobRecord): string {
  return job.annotations[ANNOTATION.client] ?? job.labels[LABEL.client] ?? '';
}

/** Pods that may still do something. */
export function livePods({ job, pods }: Task): readonly PodRecord[] {
  const removed = usedAttempts(job).map(({ pod }) => pod);
  return pods.filter(({ name, phase }) => phase !== 'Succeeded' && phase !== 'Failed' && !removed.includes(name));
}

function endedAttempts({ job, pods }: Task): number {
  const used = usedAttempts(job);
  const others = pods.filter(({ name }) => !used.some(({ pod }) => pod === name));
  return (
    used.length +
    others.filter(({ phase, disrupted }) => !disrupted && (phase === 'Succeeded' || phase === 'Failed')).length
  );
}
