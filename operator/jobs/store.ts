/** What the operator needs of whatever keeps and runs Jobs: the API server, or the in-process store of the demo and the model tests. */
import type { V1Job } from '@kubernetes/client-node';
import type { FullJob, JobRecord, PodRecord } from './records.ts';

/** A change of a Job. `null` removes an annotation. */
export interface JobPatch {
  /** When given, the patch applies only to exactly this version of the Job (else `conflict`). */
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string | null>>;
  readonly ttlSeconds?: number;
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
   * Everything there is; replaces what was known. `version`: the resource version of the list of Jobs, where the list may have been made
   * a while before it is reported.
   */
  | {
      readonly kind: 'listed';
      readonly jobs: readonly JobRecord[];
      readonly pods: readonly PodRecord[];
      readonly version?: string;
    }
  | { readonly kind: 'job'; readonly job: JobRecord }
  | { readonly kind: 'job-gone'; readonly job: JobRecord }
  | { readonly kind: 'pod'; readonly pod: PodRecord }
  | { readonly kind: 'pod-gone'; readonly pod: PodRecord }
  /** Contact is lost: what was reported may be out of date until the next `listed`. */
  | { readonly kind: 'unknown'; readonly error: Error };

/**
 * Jobs of one installation. Every method ends within a deadline or with `signal`, and throws a `ServiceError`: `conflict` (exists, or has
 * changed, or is being deleted), `not-found`, `invalid`, `forbidden`, `throttled`, `unavailable`, `unknown`.
 */
export interface JobStore {
  create(job: V1Job, signal?: AbortSignal): Promise<JobRecord>;
  /** Asks whether the server would take the Job, without making it. */
  dryRun(job: V1Job, signal?: AbortSignal): Promise<void>;
  /** A Job read directly, not from a cache; undefined when it is not there. */
  get(name: string, signal?: AbortSignal): Promise<FullJob | undefined>;
  patch(name: string, patch: JobPatch, signal?: AbortSignal): Promise<JobRecord>;
  /** Makes an Event; the same notice about the same object is one Event, whoever repeats it. Never throws: an Event is a courtesy. */
  notify(notice: Notice): Promise<void>;
  /** Reports what there is and what changes, for ever; ends when `signal` aborts. */
  follow(observe: (observation: Observation) => void, signal: AbortSignal): Promise<void>;
}
