/**
 * The container groups that a task has had, one after another, as they stand on its Job: nothing else remembers them. Pure.
 *
 * An attempt is claimed here before its group is asked for, under the Job's resource version, so that of two controllers only one asks.
 */
import { z } from 'zod';
import { ACI_MANAGER, ANNOTATION } from '../../contract/identity.ts';
import { iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import { isPodOf, type JobRecord, type PodRecord } from '../jobs/records.ts';

/** Milliseconds since the epoch here, ISO 8601 on the Job. */
const moment = z.codec(z.iso.datetime(), z.number(), { decode: (text) => Date.parse(text), encode: iso });

const endSchema = z.object({
  /** When it was known to have ended. */
  at: moment,
  /** Null where no container of it ended, or nobody knows how. */
  exitCode: z.number().int().nullable(),
  /** As for a container of Kubernetes, such as Completed, Error; DeadlineExceeded, Gone, Suspended, Maintenance, …. */
  reason: z.string(),
  /** The report of our runner, or the last words of another program. */
  message: z.string(),
  /** False for an end that uses up no attempt: it was not the task's doing. */
  counts: z.boolean(),
  startedAt: moment.nullable(),
  finishedAt: moment.nullable(),
});

const troubleSchema = z.object({ reason: z.string(), message: z.string() });

const attemptSchema = z.object({
  n: z.number().int(),
  /** The resource group that its container group is in, as a resource id: the configuration may name another one by now. */
  place: z.string(),
  claimedAt: moment,
  /** Since when a PUT may be under way whose answer nobody knows. */
  putAt: moment.optional(),
  /** When a PUT was last asked for: what the limits on creates count. */
  lastPutAt: moment.optional(),
  /** Since when the group is known to be there. */
  groupSince: moment.optional(),
  runningAt: moment.optional(),
  /** Seconds that the group may be there. */
  deadlineSeconds: z.number(),
  trouble: troubleSchema.optional(),
  end: endSchema.optional(),
  /** Its group is gone, or never was. */
  gone: z.boolean().optional(),
});

/** An attempt. */
export type Attempt = z.output<typeof attemptSchema>;
/** How it ended. */
export type AttemptEnd = z.output<typeof endSchema>;
/** What keeps its group from being made, or from starting: a reason of Kubernetes', or `NO_ROOM`. */
export type Trouble = z.output<typeof troubleSchema>;

/** The reason of a trouble that passes when there is room: a quota, capacity, a throttled call. */
export const NO_ROOM = 'NoRoom';
/** The reason of a group that the service refuses for good. */
export const REFUSED = 'GroupRefused';
/** The reason of an end that was no failure: the Job was suspended. */
export const SUSPENDED = 'Suspended';

const allSchema = z.array(attemptSchema);

/** Whether Slipway runs the Job on Azure Container Instances: as the API server says, never by a label. */
export function isOnAci({ managed }: JobRecord): boolean {
  return managed?.by === ACI_MANAGER;
}

/**
 * The attempts, oldest first.
 *
 * @throws Error when the annotation cannot be read: then nobody knows whether a group runs
 */
export function attemptsOf(job: JobRecord): readonly Attempt[] {
  const attempts = readAttempts(job);
  if (attempts !== undefined) return attempts;
  throw new Error(
    `the annotation ${ANNOTATION.groups} of Job ${job.name} cannot be read, so nobody knows whether a container group of it runs. Put back what stood there, or cancel the task by deleting the Job`,
  );
}

/** Whether a group of the Job is there, or may be. */
export function hasGroup(job: JobRecord): boolean {
  return readAttempts(job)?.some(({ gone }) => gone !== true) ?? true;
}

/** The same; undefined when they cannot be read. For who looks at all Jobs: one that is broken must not stand in the others' way. */
export function readAttempts(job: JobRecord): readonly Attempt[] | undefined {
  const text = job.annotations[ANNOTATION.groups];
  return text === undefined ? [] : allSchema.safeParse(tryParseJson(text)).data;
}

/** Attempts as an annotation. Only the last one's words are kept whole: they are what the outcome is judged by. */
export function attemptsAnnotation(attempts: readonly Attempt[]): Record<string, string> {
  const kept = attempts
    // What was used up must be known for ever; of the rest the last ones will do.
    .filter(({ end }, at) => end?.counts === true || at >= attempts.length - 20)
    .map((one, at, all) =>
      one.end === undefined || at === all.length - 1 ? one : { ...one, end: { ...one.end, message: '' } },
    );
  return { [ANNOTATION.groups]: JSON.stringify(z.encode(allSchema, kept)) };
}

/** The attempts with one of them changed, or added. */
export function withAttempt(attempts: readonly Attempt[], changed: Attempt): readonly Attempt[] {
  return [...attempts.filter(({ n }) => n !== changed.n), changed];
}

/** A request to remove an attempt's group because it does not start, as an annotation. */
export function removalAnnotation(pod: Pick<PodRecord, 'uid'>, counts: boolean): Record<string, string> {
  return { [ANNOTATION.removeGroup]: `${pod.uid.split('/')[1]} ${counts ? 'counts' : 'free'}` };
}

/** The attempt whose group somebody wants removed, and whether that uses it up. */
export function removalOf(job: JobRecord): { readonly n: number; readonly counts: boolean } | undefined {
  const [, n, how] = /^(\d+) (counts|free)$/.exec(job.annotations[ANNOTATION.removeGroup] ?? '') ?? [];
  return n === undefined ? undefined : { n: Number(n), counts: how === 'counts' };
}

/** The pods that a Job has, of those that carry its name; or its container groups, as they stand on it. */
export function ownPods(job: JobRecord, pods: readonly PodRecord[]): readonly PodRecord[] {
  return isOnAci(job) ? groupsAsPods(job) : pods.filter((pod) => isPodOf(job, pod));
}

/** The attempts as pods, so that all else judges them by the rules that it has. Empty for a Job that runs on Kubernetes. */
export function groupsAsPods(job: JobRecord): readonly PodRecord[] {
  if (!isOnAci(job)) return [];
  const attempts = readAttempts(job);
  // One that nobody can read may run: it counts as a pod that has not ended.
  return attempts === undefined ? [unreadable(job)] : attempts.map((attempt) => asPod(job, attempt));
}

function unreadable(job: JobRecord): PodRecord {
  const unknown = { n: 0, place: '', claimedAt: job.createdAt, deadlineSeconds: 0 };
  return { ...asPod(job, unknown), phase: 'Unknown' };
}

/** An attempt as a pod. */
export function asPod(job: JobRecord, attempt: Attempt): PodRecord {
  const { n, place, claimedAt, groupSince, runningAt, trouble, end } = attempt;
  const name = `${job.name}-${n}`;
  const unstarted =
    end !== undefined && end.exitCode === null ? { reason: end.reason, message: end.message } : undefined;
  const waiting = trouble?.reason === NO_ROOM ? undefined : (trouble ?? unstarted);
  return {
    name,
    namespace: job.namespace,
    uid: `${job.uid}/${n}`,
    jobName: job.name,
    jobUid: job.uid,
    createdAt: claimedAt,
    deletedBy: undefined,
    stageSince: groupSince ?? (waiting === undefined ? undefined : claimedAt),
    unschedulable: end === undefined && trouble?.reason === NO_ROOM ? trouble.message : undefined,
    phase:
      end === undefined
        ? runningAt === undefined
          ? 'Pending'
          : 'Running'
        : end.exitCode === 0
          ? 'Succeeded'
          : 'Failed',
    begun: runningAt !== undefined || (end?.startedAt ?? null) !== null,
    waiting,
    reason:
      end !== undefined && end.exitCode === null ? end.reason : end?.reason === 'DeadlineExceeded' ? end.reason : '',
    message: end?.message ?? '',
    disrupted: end !== undefined && !end.counts,
    task: asContainer(attempt),
    shownBy: `az container show --ids ${place}/providers/Microsoft.ContainerInstance/containerGroups/${job.name}`,
  };
}

function asContainer({ runningAt, trouble, end }: Attempt): PodRecord['task'] {
  if (end !== undefined && end.exitCode !== null)
    return {
      kind: 'terminated',
      exitCode: end.exitCode,
      reason: end.reason,
      message: end.message,
      startedAt: end.startedAt ?? undefined,
      finishedAt: end.finishedAt ?? end.at,
    };
  if (end !== undefined) return undefined;
  if (runningAt !== undefined) return { kind: 'running', startedAt: runningAt };
  return trouble === undefined ? undefined : { kind: 'waiting', ...trouble };
}
