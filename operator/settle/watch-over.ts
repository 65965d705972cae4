/** What to do about a Job that has not ended: keep its message's lease, see to its start, end it where that is due. Pure. */
import { ANNOTATION } from '../../contract/identity.ts';
import { fromIso } from '../../lib/clock.ts';
import { cancellation, isBeingEnded, noteOn } from '../jobs/notes.ts';
import { hasEnded, type PodRecord } from '../jobs/records.ts';
import { judgeStart, type StartTrouble, startLimits } from '../jobs/start-trouble.ts';
import type { Decision, Picture } from './decide.ts';

/** How long a started Job may have no pod before Kubernetes' Events are asked why. */
const NO_POD_MS = 30_000;
/** A note about a start that has passed stays at least so long. */
const NOTE_STANDS_MS = 30_000;
/** Kubernetes waits no longer between two attempts. */
const LONGEST_BACKOFF_MS = 600_000;

/** Decides about an unfinished Job. The lease first: what is noted or ended a moment later is still true. */
export function watchOver(picture: Picture): Decision {
  const { job, pods, viewKnown } = picture;
  const upkeep = keepLease(picture);
  // Nothing is ended, and no pod is taken away, on hearsay.
  if (upkeep.kind !== 'leave' || !viewKnown || isBeingEnded(job)) return upkeep;
  const cancelled = cancellation(job);
  if (cancelled !== undefined) return { kind: 'end', diagnosis: cancelled };
  if (job.suspended || job.startedAt === undefined) return upkeep;
  const pod = pods.at(-1);
  const start = pod === undefined || hasEnded(pod) ? withoutPod(picture, job.startedAt, pod) : withPod(picture, pod);
  return start.kind === 'leave' ? leave(sooner(upkeep.lookAgainMs, start.lookAgainMs)) : start;
}

/** What the message's lease needs now. Renewing goes before writing a receipt down: the API server may be out for longer than a lease. */
export function keepLease(picture: Picture): Decision {
  const { job, lease, now } = picture;
  const expiresOn = fromIso(job.annotations[ANNOTATION.expiresOn]);
  if (isLostUnnoted(picture)) return { kind: 'note-lost-lease' };
  if (lease.condition !== 'held' || (expiresOn !== undefined && expiresOn <= now)) return leave();
  if (lease.renewAt <= now) return { kind: 'renew' };
  if (!lease.isWritten && job.annotations[ANNOTATION.popReceipt] !== lease.popReceipt) return { kind: 'write-receipt' };
  return leave(lease.renewAt - now);
}

/** True when the lease is lost and the Job does not say so yet: the write may have failed. */
export function isLostUnnoted({ job, lease }: Picture): boolean {
  return lease.condition === 'lost' && job.annotations[ANNOTATION.leaseLost] === undefined;
}

function withPod({ job, now }: Picture, pod: PodRecord): Decision {
  const note = noteOn(job);
  const { trouble, ...fine } = judgeStart(pod, startLimits(job), now);
  if (trouble === undefined) {
    // Not at once: two operators that see it differently would write against each other without end.
    const heldMs = note === undefined ? 0 : note.since + NOTE_STANDS_MS - now;
    if (note !== undefined && pod.begun) return heldMs <= 0 ? { kind: 'note', diagnosis: undefined } : leave(heldMs);
    const overAt = stageOverAt(job, pod);
    if (overAt !== undefined) return overAt <= now ? { kind: 'expire', pod } : leave(overAt - now);
    const lookAt = 'lookAt' in fine ? fine.lookAt : undefined;
    return leave(lookAt === undefined ? undefined : lookAt - now);
  }
  const { diagnosis, remedy, dueAt } = trouble;
  if (dueAt <= now) return remedied(trouble, pod);
  if (note?.diagnosis.category !== diagnosis.category || note.noPod) return { kind: 'note', diagnosis };
  return leave(remedy === 'wait' ? undefined : dueAt - now);
}

/**
 * When a CI task has cloned and built, or tested, for as long as it may; undefined while it does neither. The pod's own deadline, which holds
 * without an operator too, has to leave room for all of it.
 */
function stageOverAt({ annotations }: Picture['job'], { task, ci, deletedBy }: PodRecord): number | undefined {
  if (deletedBy !== undefined) return undefined;
  const isTesting = task?.kind === 'running';
  const since = isTesting ? task.startedAt : ci?.build === undefined ? ci?.begunAt : undefined;
  const limit = Number(annotations[isTesting ? ANNOTATION.testTimeout : ANNOTATION.buildTimeout]);
  return since !== undefined && limit > 0 ? since + limit * 1000 : undefined;
}

function remedied({ diagnosis, remedy }: StartTrouble, pod: PodRecord): Decision {
  switch (remedy) {
    case 'fail':
      return { kind: 'end', diagnosis, pod };
    case 'use-attempt':
    case 'retry':
      return { kind: remedy, diagnosis, pod };
    case 'wait':
      return leave();
  }
}

/** A Job without a live pod is between two attempts, or Kubernetes may not make one: then only an Event says so. */
function withoutPod({ job, now }: Picture, startedAt: number, last: PodRecord | undefined): Decision {
  if (job.parallelism === 0) return leave();
  const quietSince = last === undefined ? startedAt : endOf(last) + LONGEST_BACKOFF_MS;
  if (now < quietSince + NO_POD_MS) return leave(quietSince + NO_POD_MS - now);
  const note = noteOn(job);
  if (!note?.noPod) return { kind: 'inquire' };
  const dueAt = note.since + startLimits(job).unschedulableTimeoutSeconds * 1000;
  return dueAt <= now ? { kind: 'end', diagnosis: note.diagnosis } : leave(dueAt - now);
}

function endOf({ task, ci, createdAt }: PodRecord): number {
  const ends = [ci?.clone, ci?.build, task?.kind === 'terminated' ? task : undefined];
  return ends.findLast((end) => end?.finishedAt !== undefined)?.finishedAt ?? createdAt;
}

function sooner(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}

function leave(lookAgainMs?: number): Extract<Decision, { kind: 'leave' }> {
  return { kind: 'leave', lookAgainMs };
}
