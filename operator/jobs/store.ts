/** What the operator needs of whatever keeps and runs Jobs: the API server, or the in-process store of the demo and the model tests. */
import type { V1Job } from '@kubernetes/client-node';
import type { FullJob, JobRecord, JobStatus, PodRecord } from './records.ts';

/** A change of a Job. `null` removes an annotation. */
export interface JobPatch {
  /** When given, the patch applies only to exactly this version of the Job (else `conflict`). */
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string | null>>;
  readonly ttlSeconds?: number;
  /** 1 ends the Job as `DeadlineExceeded`, its pods killed, its record kept; a suspended one only when it is resumed in the same patch. */
  readonly activeDeadlineSeconds?: number;
  readonly suspend?: boolean;
  /** 0: no pod is made, whatever else the Job says. */
  readonly parallelism?: number;
}

/** A pod as the one object that it is: a later one of the same name has another uid. */
export interface PodRef {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
}

/** A message for people about an object, shown by `kubectl describe` and `kubectl get events`. */
export interface Notice {
  /** Kubernetes' machine-readable reason, CamelCase. */
  readonly reason: string;
  readonly message: string;
  readonly type: 'Normal' | 'Warning';
  readonly about: { readonly kind: 'Job' | 'Pod'; readonly name: string; readonly uid?: string };
}

/** What `follow` reports. */
export type Observation =
  /**
   * Everything there is; replaces what was known. `versionOf`: the resource version of the list of a namespace's Jobs, where the list
   * may have been made a while before it is reported.
   */
  | {
      readonly kind: 'listed';
      readonly jobs: readonly JobRecord[];
      readonly pods: readonly PodRecord[];
      readonly versionOf?: (namespace: string) => string | undefined;
    }
  | { readonly kind: 'job'; readonly job: JobRecord }
  /** `taskData`: the decoded message text, where the server itself told of the deletion; without it the Job was only not found. */
  | { readonly kind: 'job-gone'; readonly job: JobRecord; readonly taskData?: string }
  | { readonly kind: 'pod'; readonly pod: PodRecord }
  | { readonly kind: 'pod-gone'; readonly pod: PodRecord }
  /** Contact is lost: what was reported may be out of date until the next `listed`. */
  | { readonly kind: 'unknown'; readonly error: Error };

/**
 * Jobs of one installation, in one namespace or several: a Job's name is unique among them, since it is made of its message. Every method ends within a deadline or with `signal`, and throws a `ServiceError`: `conflict` (exists, or has
 * changed, or is being deleted), `not-found`, `invalid`, `forbidden`, `throttled`, `unavailable`, `unknown`.
 */
export interface JobStore {
  create(job: V1Job, signal?: AbortSignal): Promise<JobRecord>;
  /** Asks whether the server would take the Job, without making it. */
  dryRun(job: V1Job, signal?: AbortSignal): Promise<void>;
  /** A Job read directly, not from a cache; undefined when it is not there. */
  get(name: string, signal?: AbortSignal): Promise<FullJob | undefined>;
  patch(name: string, patch: JobPatch, signal?: AbortSignal): Promise<JobRecord>;
  /** Writes the status of exactly this version of a Job that Kubernetes does not run; what is not named stays, conditions are replaced. */
  patchStatus(name: string, status: JobStatus, resourceVersion: string, signal?: AbortSignal): Promise<JobRecord>;
  /** Deletes a pod: for its Job that is a failed attempt. Resolves also when the pod is gone already, or another has its name. */
  deletePod(pod: PodRef, signal?: AbortSignal): Promise<void>;
  /** Evicts a pod: its Job makes another one, and no attempt is used up. `throttled` while a disruption budget forbids it. */
  evictPod(pod: PodRef, signal?: AbortSignal): Promise<void>;
  /** Lets a pod's deadline pass: it is killed as by it, within its grace period, and stays with what its containers said. */
  expirePod(pod: PodRef, signal?: AbortSignal): Promise<void>;
  /** What Kubernetes said last when it could not make a pod of the Job (its Event FailedCreate); undefined when it said nothing. */
  podRefusal(job: Pick<JobRecord, 'name' | 'uid'>, signal?: AbortSignal): Promise<string | undefined>;
  /** Whether a namespace is being deleted, read directly. */
  isTerminating(namespace: string, signal?: AbortSignal): Promise<boolean>;
  /** Makes an Event; the same notice about the same object is one Event, whoever repeats it. Never throws: an Event is a courtesy. */
  notify(notice: Notice): Promise<void>;
  /** Reports what there is and what changes, for ever; ends when `signal` aborts. */
  follow(observe: (observation: Observation) => void, signal: AbortSignal): Promise<void>;
}
