/**
 * The status that a Job on Azure Container Instances should have: a function of the Job and its attempts, so that a write that failed is
 * made up for at the next look. Pure.
 *
 * The API server's rules for such Jobs (1.33 and later): a finished Job has a start time and no active or ready pods; `Complete` comes with
 * `SuccessCriteriaMet`, `Failed` with `FailureTarget`; neither is ever taken back.
 */
import { TASK_CONTAINER } from '../../contract/identity.ts';
import { iso } from '../../lib/clock.ts';
import { type FailedAttempt, verdictOn } from '../jobs/failure-policy.ts';
import { isBeingEnded } from '../jobs/notes.ts';
import type { JobCondition, JobRecord, JobStatus } from '../jobs/records.ts';
import { type Attempt, SUSPENDED } from './attempts.ts';

/** How the attempts stand. */
export interface Tally {
  /** Failed ones, ignored ones among them; those that were only suspended are not. */
  readonly failed: number;
  /** Of them, those that use up an attempt. */
  readonly counted: number;
  /** Why no further one may be made, if so. */
  readonly final: { readonly reason: string; readonly message: string } | undefined;
}

/** Counts the attempts by the Job's own failure policy. */
export function tally(job: JobRecord, attempts: readonly Attempt[]): Tally {
  const rules = job.managed?.rules ?? [];
  let [failed, counted] = [0, 0];
  for (const { n, end } of attempts) {
    if (end === undefined || end.exitCode === 0 || end.reason === SUSPENDED) continue;
    failed++;
    const { action, index } = verdictOn(rules, asFailed(end));
    if (action === 'FailJob')
      return {
        failed,
        counted: counted + 1,
        final: {
          reason: 'PodFailurePolicy',
          message: `Container ${TASK_CONTAINER} of attempt ${n} failed with exit code ${end.exitCode} matching FailJob rule at index ${index}`,
        },
      };
    if (action !== 'Ignore') counted++;
  }
  const exhausted = counted >= job.attempts;
  return {
    failed,
    counted,
    final: exhausted
      ? { reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' }
      : undefined,
  };
}

function asFailed({ exitCode, counts }: NonNullable<Attempt['end']>): FailedAttempt {
  return {
    conditions: counts ? [] : [{ type: 'DisruptionTarget', status: 'True' }],
    containers: exitCode === null ? [] : [{ name: TASK_CONTAINER, exitCode }],
  };
}

/** Whether the Job is past its deadline. One that was ended before it started has none of its own to wait for. */
export function isLate(job: JobRecord, now: number): boolean {
  if (job.deadlineSeconds === undefined) return false;
  if (isBeingEnded(job) && job.startedAt === undefined) return true;
  return job.startedAt !== undefined && job.startedAt + job.deadlineSeconds * 1000 <= now;
}

/** Whether nothing of the Job may run now. */
export function isHeldBack(job: JobRecord): boolean {
  return job.suspended || job.parallelism === 0;
}

/** The status to be written; undefined when the Job has it, or is finished. */
export function statusDue(job: JobRecord, attempts: readonly Attempt[], now: number): JobStatus | undefined {
  if (job.end !== undefined || job.managed === undefined) return undefined;
  const before = job.managed.status;
  const wanted = wantedStatus(job, attempts, now);
  return isSame(before, wanted) ? undefined : wanted;
}

function wantedStatus(job: JobRecord, attempts: readonly Attempt[], now: number): JobStatus {
  const last = attempts.at(-1);
  const runs = last !== undefined && last.end === undefined;
  const { counted, final } = tally(job, attempts);
  const at = seconds(now);
  const counts = counted === 0 ? {} : { failed: counted };
  const startTime = job.managed?.status.startTime ?? at;
  if (last?.end?.exitCode === 0) {
    const [reason, message] = ['CompletionsReached', 'Reached expected number of succeeded pods'];
    const finished = seconds(Math.max(last.end.finishedAt ?? last.end.at, Date.parse(startTime)));
    return {
      startTime,
      completionTime: finished,
      ...counts,
      active: 0,
      ready: 0,
      succeeded: 1,
      conditions: ended(job, ['SuccessCriteriaMet', 'Complete'], reason, message, at),
    };
  }
  // Not before the last group is gone: it may run on.
  const over = last === undefined || last.gone === true;
  const failure = isLate(job, now)
    ? { reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' }
    : final;
  if (over && failure !== undefined)
    return {
      startTime,
      ...counts,
      active: 0,
      ready: 0,
      conditions: ended(job, ['FailureTarget', 'Failed'], failure.reason, failure.message, at),
    };
  const idle = { ...counts, active: 0, ready: 0 };
  if (job.suspended && over)
    return {
      ...idle,
      startTime: null,
      conditions: [condition(job, 'Suspended', 'True', 'JobSuspended', 'Job suspended', at)],
    };
  const resumed = conditionsOf(job).some(({ type }) => type === 'Suspended')
    ? { conditions: [condition(job, 'Suspended', 'False', 'JobResumed', 'Job resumed', at)] }
    : {};
  if (job.suspended || attempts.length === 0) return job.suspended ? {} : { ...idle, ...resumed };
  return {
    ...counts,
    ...resumed,
    startTime,
    active: runs ? 1 : 0,
    ready: runs && last.runningAt !== undefined ? 1 : 0,
  };
}

function ended(job: JobRecord, types: readonly string[], reason: string, message: string, at: string): JobCondition[] {
  return [
    ...conditionsOf(job).filter(({ type }) => type === 'Suspended'),
    ...types.map((type) => condition(job, type, 'True', reason, message, at)),
  ];
}

/** A condition, with its transition where it was so before. */
function condition(
  job: JobRecord,
  type: string,
  status: string,
  reason: string,
  message: string,
  at: string,
): JobCondition {
  const before = conditionsOf(job).find((one) => one.type === type && one.status === status);
  return { type, status, reason, message, lastTransitionTime: before?.lastTransitionTime ?? at };
}

function conditionsOf({ managed }: JobRecord): readonly JobCondition[] {
  return managed?.status.conditions ?? [];
}

/** Whether the status has what is wanted already. Counters that are not there are 0. */
function isSame(before: JobStatus, wanted: JobStatus): boolean {
  const plain = ({ startTime, conditions, ...rest }: JobStatus) => ({ startTime, conditions, rest });
  const [a, b] = [plain(before), plain(wanted)];
  const counters = ['active', 'ready', 'succeeded', 'failed'] as const;
  return (
    (b.startTime === undefined || (a.startTime ?? null) === b.startTime) &&
    counters.every((key) => b.rest[key] === undefined || (a.rest[key] ?? 0) === b.rest[key]) &&
    (wanted.completionTime === undefined || before.completionTime === wanted.completionTime) &&
    (b.conditions === undefined ||
      b.conditions.every(({ type, status }) =>
        (a.conditions ?? []).some((one) => one.type === type && one.status === status),
      ))
  );
}

/** A moment as Kubernetes writes it: whole seconds. */
function seconds(ms: number): string {
  return iso(ms).replace(/\.\d+Z$/, 'Z');
}
