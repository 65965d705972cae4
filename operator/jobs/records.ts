/**
 * What the operator keeps of a Job and its pods: the fields it uses and no other, so that ten thousand of them fit into memory. In
 * particular TASK_DATA stays behind; it is read from the API server when a message has to be poisoned.
 */
import type { V1PodTemplateSpec } from '@kubernetes/client-node';
import { CI_KIND, LABEL, POD_ANNOTATION, STATE, TASK_CONTAINER } from '../../contract/identity.ts';
import { fromIso } from '../../lib/clock.ts';
import type { CiEnds } from '../ci/verdict.ts';
import type { FailureRule } from './failure-policy.ts';

/** How a Job ended. Read from its conditions: `status.failed` counts pods and knows nothing of the back-off limit. */
export interface JobEnd {
  readonly kind: 'complete' | 'failed';
  /** Milliseconds since the epoch; a failed Job has no completionTime, so this is the condition's transition. */
  readonly at: number;
  /** The condition's reason, such as BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy. */
  readonly reason: string;
  readonly message: string;
}

/** A Job as observed. */
export interface JobRecord {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly deleting: boolean;
  readonly suspended: boolean;
  readonly parallelism: number;
  /** backoffLimit + 1. */
  readonly attempts: number;
  /** activeDeadlineSeconds: counted from `startedAt`. */
  readonly deadlineSeconds: number | undefined;
  /** Undefined also for a Job whose attempts were used up by its own deletion. */
  readonly end: JobEnd | undefined;
  readonly ttlSeconds: number | undefined;
  readonly settled: boolean;
  /** Of a Job that somebody else than Kubernetes runs, what that needs. */
  readonly managed: ManagedJob | undefined;
}

/** A Job with `spec.managedBy`. */
export interface ManagedJob {
  readonly by: string;
  readonly rules: readonly FailureRule[];
  readonly status: JobStatus;
}

/** `status` of a Job, as far as its manager writes it. Times are ISO 8601 in whole seconds. */
export interface JobStatus {
  readonly startTime?: string | null;
  readonly completionTime?: string;
  readonly active?: number;
  readonly ready?: number;
  readonly succeeded?: number;
  readonly failed?: number;
  readonly conditions?: readonly JobCondition[];
}

/** A condition of a Job. */
export interface JobCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

/** The state of a pod's container `task`. */
export type TaskContainer =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  | { readonly kind: 'running'; readonly startedAt: number | undefined }
  | {
      readonly kind: 'terminated';
      readonly exitCode: number;
      readonly reason: string;
      /** The termination message. */
      readonly message: string;
      readonly startedAt: number | undefined;
      readonly finishedAt: number | undefined;
    };

/** A pod of a Job as observed. */
export interface PodRecord {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly jobName: string;
  /** Of the Job that made it, which may have been deleted since and have a successor of its name; '' where no label tells. */
  readonly jobUid: string;
  readonly createdAt: number;
  /** When it is to be gone at the latest, once somebody has deleted it: the deletion and the grace period. */
  readonly deletedBy: number | undefined;
  /** Since when it waits for its next container to start: since it got a node, or since an init container ended. */
  readonly stageSince: number | undefined;
  /** Why it has none, in the scheduler's words. */
  readonly unschedulable: string | undefined;
  readonly phase: string;
  /** Whether a container of it, init containers included, has run. */
  readonly begun: boolean;
  /** What its first container, init containers included, waits for that is no stage of an ordinary start. */
  readonly waiting: { readonly reason: string; readonly message: string } | undefined;
  /** The pod's own reason, such as Evicted or DeadlineExceeded. */
  readonly reason: string;
  readonly message: string;
  /** The pod was taken away (drain, preemption, eviction by API): such an end uses up no attempt. */
  readonly disrupted: boolean;
  readonly task: TaskContainer | undefined;
  /** Of a CI task, how those of its containers ended that have; beside `task`. */
  readonly ci?: Omit<CiEnds, 'task'> & {
    /** When its clone began: milliseconds since the epoch. */
    readonly begunAt?: number;
  };
  /** Where it is no pod but a container group: the command that shows it. */
  readonly shownBy?: string;
}

/** Whether none of its containers runs, or ever will. Such a pod may stay for long. */
export function hasEnded({ phase }: PodRecord): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** Whether that Job made it, and not a deleted one of the same name that left it behind. */
export function isPodOf({ name, uid }: JobRecord, { jobName, jobUid }: PodRecord): boolean {
  return jobName === name && (jobUid === uid || jobUid === '');
}

/** A Job with what only a direct read brings. */
export interface FullJob {
  readonly record: JobRecord;
  /** The decoded message text. */
  readonly taskData: string;
  /** The template of its pods, as it was asked for. */
  readonly template: V1PodTemplateSpec;
}

/** The label `job-name` that Kubernetes sets on a Job's pods. */
export const JOB_NAME_LABEL = 'batch.kubernetes.io/job-name';
/** The label with the Job's uid, beside it. */
export const JOB_UID_LABEL = 'batch.kubernetes.io/controller-uid';

/** The parts of a Job's JSON that are read. Everything is optional: what a server leaves out must not end the operator. */
export interface RawJob {
  metadata?: RawMeta;
  spec?: {
    suspend?: boolean;
    parallelism?: number;
    backoffLimit?: number;
    activeDeadlineSeconds?: number;
    ttlSecondsAfterFinished?: number;
    managedBy?: string;
    podFailurePolicy?: { rules?: FailureRule[] };
    template?: { metadata?: RawMeta };
  };
  status?: JobStatus;
}
/** The parts of a pod's JSON that are read. */
export interface RawPod {
  metadata?: RawMeta;
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    conditions?: RawCondition[];
    initContainerStatuses?: RawContainerStatus[];
    containerStatuses?: RawContainerStatus[];
  };
}
interface RawMeta {
  name?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
interface RawCondition {
  type?: string;
  status?: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}
interface RawContainerStatus {
  name?: string;
  imageID?: string;
  state?: {
    waiting?: { reason?: string; message?: string };
    running?: { startedAt?: string };
    /** Times are null where the kubelet does not know them (reason ContainerStatusUnknown). */
    terminated?: {
      exitCode?: number;
      reason?: string;
      message?: string;
      startedAt?: string | null;
      finishedAt?: string | null;
    };
  };
}

/** Trims a Job. */
export function jobRecord(raw: RawJob): JobRecord {
  const { metadata = {}, spec = {}, status = {} } = raw;
  const labels = metadata.labels ?? {};
  return {
    name: metadata.name ?? '',
    namespace: metadata.namespace ?? '',
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    labels,
    annotations: Object.fromEntries(
      Object.entries(metadata.annotations ?? {}).filter(([key]) => key.startsWith('slipway.dev/')),
    ),
    createdAt: fromIso(metadata.creationTimestamp) ?? 0,
    startedAt: fromIso(status.startTime),
    managed:
      spec.managedBy === undefined || spec.managedBy === 'kubernetes.io/job-controller'
        ? undefined
        : { by: spec.managedBy, rules: spec.podFailurePolicy?.rules ?? [], status },
    deleting: metadata.deletionTimestamp !== undefined,
    suspended: spec.suspend === true,
    parallelism: spec.parallelism ?? 1,
    attempts: (spec.backoffLimit ?? 6) + 1,
    deadlineSeconds: spec.activeDeadlineSeconds,
    end: jobEnd(status.conditions ?? [], fromIso(metadata.deletionTimestamp)),
    ttlSeconds: spec.ttlSecondsAfterFinished,
    settled: labels[LABEL.state] === STATE.settled,
  };
}

/** Trims a pod. */
export function podRecord(raw: RawPod): PodRecord {
  const { metadata = {}, status = {} } = raw;
  const container = status.containerStatuses?.find((one) => one.name === TASK_CONTAINER);
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  const waiting = all.map(({ state }) => state?.waiting).find((state) => !ORDINARY.includes(state?.reason ?? ''));
  const scheduled = status.conditions?.find((one) => one.type === 'PodScheduled');
  return {
    name: metadata.name ?? '',
    namespace: metadata.namespace ?? '',
    uid: metadata.uid ?? '',
    jobName: metadata.labels?.[JOB_NAME_LABEL] ?? '',
    jobUid: metadata.labels?.[JOB_UID_LABEL] ?? '',
    createdAt: fromIso(metadata.creationTimestamp) ?? 0,
    deletedBy: fromIso(metadata.deletionTimestamp),
    stageSince: scheduled?.status === 'True' ? stageSince(scheduled, status.initContainerStatuses ?? []) : undefined,
    unschedulable: scheduled?.reason === 'Unschedulable' ? (scheduled.message ?? '') : undefined,
    phase: status.phase ?? 'Unknown',
    begun: all.some(hasRun),
    waiting: waiting === undefined ? undefined : { reason: waiting.reason ?? '', message: waiting.message ?? '' },
    reason: status.reason ?? '',
    message: status.message ?? '',
    disrupted: (status.conditions ?? []).some((one) => one.type === 'DisruptionTarget' && one.status === 'True'),
    task: container === undefined ? undefined : taskContainer(container),
    ...(metadata.labels?.[LABEL.kind] === CI_KIND
      ? { ci: ciEnds(status.initContainerStatuses ?? [], container?.imageID) }
      : {}),
  };
}

function ciEnds(init: readonly RawContainerStatus[], imageID = ''): NonNullable<PodRecord['ci']> {
  const ends = init.flatMap((status) => {
    const state = taskContainer(status);
    return state?.kind === 'terminated' ? [[status.name ?? '', state] as const] : [];
  });
  // The kubelet has it as REPOSITORY@DIGEST, of what it pulled.
  const digest = /@(sha256:[0-9a-f]{64})$/.exec(imageID)?.[1];
  const { running, terminated } = init.find(({ name }) => name === 'clone')?.state ?? {};
  const begunAt = fromIso(running?.startedAt ?? terminated?.startedAt);
  return {
    ...Object.fromEntries(ends),
    ...(digest === undefined ? {} : { digest }),
    ...(begunAt === undefined ? {} : { begunAt }),
  };
}

/** A Job with its message text. */
export function fullJob(raw: RawJob): FullJob {
  return {
    record: jobRecord(raw),
    taskData: raw.spec?.template?.metadata?.annotations?.[POD_ANNOTATION.taskData] ?? '',
    template: (raw.spec?.template ?? {}) as unknown as V1PodTemplateSpec,
  };
}

// Only Complete and Failed: they come when every pod has ended. SuccessCriteriaMet and FailureTarget come earlier.
function jobEnd(conditions: readonly JobCondition[], deletedAt: number | undefined): JobEnd | undefined {
  const condition = conditions.find(
    (one) => (one.type === 'Complete' || one.type === 'Failed') && one.status === 'True',
  );
  if (condition === undefined) return undefined;
  const at = fromIso(condition.lastTransitionTime) ?? 0;
  // A deletion in the foreground takes the pods first, and each counts as a failed attempt: that end is the deletion's own doing.
  if (condition.reason === 'BackoffLimitExceeded' && deletedAt !== undefined && at >= deletedAt) return undefined;
  return {
    kind: condition.type === 'Complete' ? 'complete' : 'failed',
    at,
    reason: condition.reason ?? '',
    message: condition.message ?? '',
  };
}

/** What every container waits for on its way. */
const ORDINARY: readonly string[] = ['', 'ContainerCreating', 'PodInitializing'];

function stageSince(scheduled: RawCondition, init: readonly RawContainerStatus[]): number {
  const ends = init.map(({ state }) => fromIso(state?.terminated?.finishedAt) ?? 0);
  return Math.max(fromIso(scheduled.lastTransitionTime) ?? 0, ...ends);
}

function hasRun({ state = {} }: RawContainerStatus): boolean {
  return state.running !== undefined || (fromIso(state.terminated?.startedAt) ?? 0) > 0;
}

function taskContainer({ state = {} }: RawContainerStatus): TaskContainer | undefined {
  const { waiting, running, terminated } = state;
  if (terminated !== undefined) {
    return {
      kind: 'terminated',
      exitCode: terminated.exitCode ?? -1,
      reason: terminated.reason ?? '',
      message: terminated.message ?? '',
      startedAt: fromIso(terminated.startedAt),
      finishedAt: fromIso(terminated.finishedAt),
    };
  }
  if (running !== undefined) return { kind: 'running', startedAt: fromIso(running.startedAt) };
  return waiting === undefined
    ? undefined
    : { kind: 'waiting', reason: waiting.reason ?? '', message: waiting.message ?? '' };
}
