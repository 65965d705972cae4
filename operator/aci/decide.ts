/**
 * What to do about a Job on Azure Container Instances now. Pure: the same picture gives the same decision, whatever happened before.
 *
 *   claim the attempt on the Job ─▶ PUT ─▶ seen ─▶ runs ─▶ its end is noted ─▶ (stop, delete) ─▶ gone ─▶ the next one, or the Job's end
 */
import { TAG } from '../../contract/identity.ts';
import { backoffMs } from '../jobs/failure-policy.ts';
import type { JobRecord, JobStatus } from '../jobs/records.ts';
import { type Attempt, type AttemptEnd, removalOf, SUSPENDED } from './attempts.ts';
import type { GroupRecord } from './groups.ts';
import { isHeldBack, isLate, statusDue, tally } from './status.ts';
import { troubleOf, usesUp } from './trouble.ts';

/** What is known of the group of the Job's name. */
export type Sight =
  | { readonly kind: 'unread' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'there'; readonly group: GroupRecord };

/** Everything a decision rests on. `now` in milliseconds since the epoch. */
export interface AciPicture {
  readonly job: JobRecord;
  readonly attempts: readonly Attempt[];
  readonly sight: Sight;
  readonly installation: string;
  readonly now: number;
}

/** What to do. */
export type AciDecision =
  /** Nothing; look again after that time, or when something changes. */
  | { readonly kind: 'rest'; readonly lookAgainMs: number | undefined }
  /** The same as `rest`, about a group: how often it is read depends on how many there are. */
  | { readonly kind: 'poll'; readonly sinceMs: number; readonly atMostMs: number }
  /** Read the group first. */
  | { readonly kind: 'read' }
  | { readonly kind: 'write-status'; readonly status: JobStatus }
  /** Write down what is known of the attempt. */
  | { readonly kind: 'note'; readonly attempt: Attempt }
  /** Its container has ended by itself: read its last words, and write both down. */
  | { readonly kind: 'hear'; readonly attempt: Attempt; readonly end: AttemptEnd }
  /** When it is its turn: see that no group is there, claim an attempt, and ask for its group; a new one, or that one again. */
  | { readonly kind: 'start'; readonly again: Attempt | undefined }
  /** End the group and have it deleted. */
  | { readonly kind: 'remove'; readonly group: GroupRecord }
  /** A group of this name is there that is not of this installation: hands off. */
  | { readonly kind: 'foreign'; readonly group: GroupRecord };

/**
 * How long a PUT without an answer may still take effect: its call's deadline, and a margin for the clocks of two machines and for what
 * lies on the way.
 */
export const PUT_HORIZON_MS = 90_000;
/** Exit codes by which the platform says that its maintenance ended the container. */
const MAINTENANCE = [7147, 7148];

/** Decides. */
export function decideAci(picture: AciPicture): AciDecision {
  const { job, attempts, sight, now } = picture;
  const status = statusDue(job, attempts, now);
  if (status !== undefined) return { kind: 'write-status', status };
  const last = attempts.at(-1);
  if (last !== undefined && last.gone !== true) return follow(picture, last);
  if (job.end !== undefined || job.settled || job.deleting || isHeldBack(job)) return rest();
  const { failed, final } = tally(job, attempts);
  if (final !== undefined) return rest();
  const waitMs = last?.end === undefined ? 0 : last.end.at + backoffMs(failed) - now;
  if (waitMs > 0 && last?.end?.reason !== SUSPENDED) return rest(waitMs);
  return sight.kind === 'there' ? leftover(picture, sight.group) : { kind: 'start', again: undefined };
}

/** What is left of an earlier attempt, or of an earlier Job of the same message: gone first. */
function leftover({ installation }: AciPicture, group: GroupRecord): AciDecision {
  return group.tags[TAG.installation] === installation ? { kind: 'remove', group } : { kind: 'foreign', group };
}

/** The last attempt's group is there, or may come. */
function follow(picture: AciPicture, last: Attempt): AciDecision {
  const { job, sight, now } = picture;
  if (sight.kind === 'unread') return { kind: 'read' };
  const stop = last.end === undefined ? whyStop(picture, last) : undefined;
  if (sight.kind === 'absent') return absent(picture, last, stop);
  const { group } = sight;
  if (!isOf(picture, last, group)) return leftover(picture, group);
  if (last.end !== undefined) return { kind: 'remove', group };
  const { putAt: _, ...settled } = last;
  const known = { ...settled, groupSince: last.groupSince ?? now };
  const end = endOf(group, now);
  if (end !== undefined)
    return end.exitCode === null ? noteEnd(known, end, troubleOf(group)) : { kind: 'hear', attempt: known, end };
  const seen = progress(settled, group, now);
  if (seen !== undefined || last.putAt !== undefined) return { kind: 'note', attempt: seen ?? known };
  // Noted first: a container that was told to end looks like one that has failed.
  if (stop !== undefined) return noteEnd(known, stop);
  return {
    kind: 'poll',
    sinceMs: now - (last.runningAt ?? last.groupSince ?? last.claimedAt),
    atMostMs: Math.max(0, deadlineAt(job, last) - now),
  };
}

function isOf({ job, installation }: AciPicture, { n }: Attempt, { tags }: GroupRecord): boolean {
  return tags[TAG.installation] === installation && tags[TAG.jobUid] === job.uid && tags[TAG.attempt] === String(n);
}

function noteEnd(attempt: Attempt, end: AttemptEnd, trouble = attempt.trouble): AciDecision {
  return { kind: 'note', attempt: { ...attempt, ...(trouble === undefined ? {} : { trouble }), end } };
}

function absent({ job, now }: AciPicture, last: Attempt, stop: AttemptEnd | undefined): AciDecision {
  const { putAt, ...settled } = last;
  // Asked for, and not there yet: it may come.
  if (putAt !== undefined && putAt + PUT_HORIZON_MS > now)
    return { kind: 'poll', sinceMs: now - putAt, atMostMs: putAt + PUT_HORIZON_MS - now };
  if (last.end !== undefined) return { kind: 'note', attempt: { ...settled, gone: true } };
  if (stop !== undefined) return { kind: 'note', attempt: { ...settled, end: stop, gone: true } };
  if (last.groupSince !== undefined) {
    const end: AttemptEnd = {
      ...ENDED,
      at: now,
      reason: 'Gone',
      message: 'somebody else deleted the container group',
      startedAt: last.runningAt ?? null,
    };
    return { kind: 'note', attempt: { ...settled, end, gone: true } };
  }
  return job.end === undefined ? { kind: 'start', again: last } : { kind: 'note', attempt: { ...settled, gone: true } };
}

const ENDED = { exitCode: null, message: '', counts: false, startedAt: null, finishedAt: null } as const;

/** Why the attempt is to end though its task has not. */
function whyStop({ job, now }: AciPicture, last: Attempt): AttemptEnd | undefined {
  const ended = { ...ENDED, at: now, startedAt: last.runningAt ?? null };
  const removal = removalOf(job);
  if (removal?.n === last.n)
    return {
      ...ended,
      counts: removal.counts,
      reason: last.trouble?.reason ?? 'NotStarted',
      message: last.trouble?.message ?? 'the container group did not start in time',
    };
  if (isLate(job, now)) return { ...ended, counts: true, reason: 'JobDeadlineExceeded' };
  if (job.end !== undefined || job.deleting) return { ...ended, reason: 'Deleted' };
  if (isHeldBack(job)) return { ...ended, reason: SUSPENDED };
  if (deadlineAt(job, last) <= now) return { ...ended, counts: true, reason: 'DeadlineExceeded' };
  return undefined;
}

/** When an attempt's, or its Job's, time is over. */
function deadlineAt(job: JobRecord, { groupSince, deadlineSeconds }: Attempt): number {
  const own = (groupSince ?? Number.POSITIVE_INFINITY) + deadlineSeconds * 1000;
  const jobs = (job.startedAt ?? Number.POSITIVE_INFINITY) + (job.deadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  return Math.min(own, jobs);
}

/**
 * How the group's task ended; undefined while it has not. The first end counts, whatever comes after: the platform may start a failed
 * container again, restart policy Never or not.
 */
function endOf(group: GroupRecord, now: number): AttemptEnd | undefined {
  const { task, state, provisioning } = group;
  const first =
    task?.before ??
    (task?.state === 'terminated' ? { exitCode: task.exitCode, finishedAt: task.finishedAt } : undefined);
  if (first !== undefined && task !== undefined) {
    const exitCode = first.exitCode ?? (state === 'Succeeded' ? 0 : null);
    // Started again without a word of how it ended: the platform has moved it.
    const wasMoved = task.before !== undefined && first.exitCode === undefined;
    const maintained = MAINTENANCE.includes(exitCode ?? 0) || wasMoved;
    return {
      at: now,
      exitCode,
      message: '',
      counts: !maintained,
      reason: maintained
        ? 'Maintenance'
        : state === 'Stopped'
          ? 'Stopped'
          : task.before === undefined && task.detail !== ''
            ? task.detail
            : exitCode === 0
              ? 'Completed'
              : 'Error',
      startedAt: (task.before === undefined ? task.startedAt : undefined) ?? null,
      finishedAt: first.finishedAt ?? null,
    };
  }
  if (task?.state === 'running') return undefined;
  const ended = { ...ENDED, at: now };
  const trouble = troubleOf(group);
  if (provisioning === 'Failed' && trouble !== undefined) return { ...ended, ...trouble, counts: usesUp(trouble) };
  if (provisioning !== 'Succeeded') return undefined;
  // The group has ended, and nothing is told of its task's container.
  switch (state) {
    case 'Succeeded':
      return { ...ended, exitCode: 0, counts: true, reason: 'Completed' };
    case 'Failed':
      return { ...ended, counts: true, reason: 'InitFailed', message: trouble?.message ?? 'an init container failed' };
    case 'Stopped':
      return { ...ended, counts: true, reason: 'Stopped', message: 'somebody else stopped the container group' };
    default:
      return undefined;
  }
}

/** The attempt with what is new of it; undefined when nothing is. */
function progress(last: Attempt, group: GroupRecord, now: number): Attempt | undefined {
  // Where nothing is told of the container, a group that is provisioned runs.
  const runs =
    group.task?.state === 'running' ||
    (group.task === undefined && group.provisioning === 'Succeeded' && group.state !== 'Pending');
  const runningAt = last.runningAt ?? (runs ? (group.task?.startedAt ?? now) : undefined);
  const trouble = runningAt === undefined ? troubleOf(group) : undefined;
  if (last.groupSince !== undefined && runningAt === last.runningAt && trouble?.message === last.trouble?.message)
    return undefined;
  const { trouble: _, ...rest } = last;
  return {
    ...rest,
    groupSince: last.groupSince ?? now,
    ...(runningAt === undefined ? {} : { runningAt }),
    ...(trouble === undefined ? {} : { trouble }),
  };
}

function rest(lookAgainMs?: number): AciDecision {
  return { kind: 'rest', lookAgainMs };
}
