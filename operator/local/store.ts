/**
 * A Job store inside this process: what the API server, Kubernetes' controllers and a kubelet do for Slipway, as far as Slipway sees it.
 * For the demo and for tests. It keeps nothing beyond the process.
 */
import { EventEmitter, on } from 'node:events';
import type { Clock } from '../../lib/clock.ts';
import { ServiceError } from '../../lib/errors.ts';
import { backoffMs } from '../jobs/failure-policy.ts';
import { fullJob, jobRecord, podRecord } from '../jobs/records.ts';
import type { JobPatch, JobStore, Notice, Observation } from '../jobs/store.ts';
import type { EnvSources } from './env.ts';
import { type JobRun, runJob } from './job-controller.ts';
import { evicted, LONGEST_TIMER_MS, type RunPod } from './kubelet.ts';
import { type LocalJob, type LocalPod, requestedJob, timestamp } from './objects.ts';
import { Pods, podName } from './pods.ts';
import { type Programs, runAsProcess } from './process.ts';
import { Table } from './table.ts';

/** What a store is made of. */
export interface LocalStoreOptions {
  readonly clock: Clock;
  /** What a pod does. Default: a child process, by the settings below. */
  readonly runPod?: RunPod;
  /** The programs that images stand for; any other image cannot be pulled. */
  readonly images?: Programs;
  /** Secrets and ConfigMaps that tasks refer to. */
  readonly sources?: EnvSources;
  /** Directory for what tasks print, a file `POD.log` each. Default: nowhere. */
  readonly logs?: string;
  /** Milliseconds before a second pod; doubles with every further one, to ten minutes. Default: Kubernetes' 10 s. */
  readonly firstBackoffMs?: number;
  /**
   * Admission: why no pod of the Job may be made, such as `exceeded quota: …`; undefined when one may. Asked again with a growing back-off,
   * and at any change of the Job. Default: one may.
   */
  readonly admit?: (job: LocalJob) => string | undefined;
  /** The scheduler: why a pod gets no node, in its words; undefined when it gets one. Asked again every 10 s. Default: it gets one. */
  readonly schedule?: (pod: LocalPod) => string | undefined;
}

/** The store, and what a person would do with kubectl. Disposing of it ends every pod. */
export interface LocalStore extends JobStore, AsyncDisposable {
  /** Events, in order. */
  readonly notices: readonly Notice[];
  /** `kubectl delete job`: the Job is gone at once, its pod when its container has ended. */
  remove(name: string): void;
  /** Whether the namespace is being deleted: no Job can be made in it. */
  terminating: boolean;
}

/** Makes an empty store. */
export function createLocalStore(options: LocalStoreOptions): LocalStore {
  const { clock, firstBackoffMs = 10_000, images = {}, sources = {}, logs } = options;
  const { admit = () => undefined, schedule = () => undefined } = options;
  const runPod = options.runPod ?? runAsProcess({ clock, images, sources, ...(logs === undefined ? {} : { logs }) });
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  const tell = (observation: Observation) => changes.emit('change', observation);
  let versions = 0;
  const nextVersion = () => String(++versions);
  const jobs = new Table<LocalJob>(nextVersion, (what, raw) => {
    const { record: job, taskData } = fullJob(raw);
    tell(what === 'gone' ? { kind: 'job-gone', job, taskData } : { kind: 'job', job });
    if (what === 'changed') expireLater(raw);
  });
  const podTable = new Table<LocalPod>(nextVersion, (what, raw) =>
    tell({ kind: what === 'gone' ? 'pod-gone' : 'pod', pod: podRecord(raw) }),
  );
  let uids = 0;
  const nextUid = () => `00000000-0000-4000-8000-${(++uids).toString(36).padStart(12, '0')}`;
  const pods = new Pods({ clock, table: podTable, nextUid, schedule, runPod });
  /** The last word about pods that could not be made, by the Job's uid. */
  const refusals = new Map<string, string>();
  const tools = {
    clock,
    jobs,
    pods,
    mayMakePod: (job: LocalJob) => {
      const message = admit(job);
      if (message === undefined) return true;
      const name = podName(job, nextUid());
      refusals.set(job.metadata.uid, `Error creating: pods "${name}" is forbidden: ${message}`);
      return false;
    },
    backoffMs: (failedPods: number) => backoffMs(failedPods, firstBackoffMs),
  };
  const notices: Notice[] = [];
  const closing = new AbortController();
  const running = new Map<string, JobRun & { readonly stop: AbortController }>();

  function start(job: LocalJob): void {
    // Somebody else runs it, and says so by patchStatus.
    if (job.spec.managedBy !== undefined) return;
    const { uid } = job.metadata;
    const stop = new AbortController();
    const run = runJob(tools, job, stop.signal);
    running.set(uid, { ...run, stop });
    void run.ended.finally(() => running.delete(uid));
  }

  /** What deleting a Job in the background comes to: a pod whose container still runs goes when that has ended. */
  function drop(job: LocalJob): void {
    jobs.remove(job);
    running.get(job.metadata.uid)?.stop.abort();
    pods.deleteAll(job);
  }

  /** Looks at a finished Job again when its time to live is over. */
  function expireLater(job: LocalJob): void {
    const leftMs = timeLeftMs(job, clock);
    if (leftMs === undefined) return;
    void clock.sleep(Math.min(LONGEST_TIMER_MS, Math.max(0, leftMs)), closing.signal).then(() => {
      const current = jobs.get(job.metadata.name);
      if (closing.signal.aborted || current?.metadata.uid !== job.metadata.uid) return;
      if ((timeLeftMs(current, clock) ?? 1) <= 0) drop(current);
      else if (leftMs > LONGEST_TIMER_MS) expireLater(current);
    });
  }

  const store: LocalStore = {
    notices,
    terminating: false,
    create: async (requested, signal) => {
      refuseAborted('create a Job', signal);
      const job = requestedJob(requested);
      const { name } = job.metadata;
      if (store.terminating)
        throw new ServiceError('forbidden', 'Forbidden', `jobs.batch "${name}" is forbidden: it is being terminated`);
      if (jobs.get(name) !== undefined)
        throw new ServiceError('conflict', 'AlreadyExists', `jobs.batch "${name}" already exists`);
      const creationTimestamp = timestamp(clock.now());
      const metadata = { ...job.metadata, uid: nextUid(), resourceVersion: '', creationTimestamp };
      const created = jobs.put({ ...job, metadata, status: {} });
      start(created);
      return jobRecord(created);
    },
    dryRun: async (requested, signal) => {
      refuseAborted('try a Job', signal);
      requestedJob(requested);
    },
    get: async (name, signal) => {
      refuseAborted('get a Job', signal);
      const job = jobs.get(name);
      return job === undefined ? undefined : fullJob(job);
    },
    patch: async (name, patch, signal) => {
      refuseAborted('patch a Job', signal);
      const job = jobs.get(name);
      if (job === undefined) throw new ServiceError('not-found', 'NotFound', `jobs.batch "${name}" not found`);
      const { resourceVersion } = job.metadata;
      if (patch.resourceVersion !== undefined && patch.resourceVersion !== resourceVersion) throw modified(name);
      const patched = merge(job, patch);
      requestedJob(patched);
      // As on the server, a patch that changes nothing makes no new version.
      if (JSON.stringify(patched) === JSON.stringify(job)) return jobRecord(job);
      const stored = jobs.put(patched);
      running.get(job.metadata.uid)?.changed();
      return jobRecord(stored);
    },
    patchStatus: async (name, status, resourceVersion, signal) => {
      refuseAborted('patch the status of a Job', signal);
      const job = jobs.get(name);
      if (job === undefined) throw new ServiceError('not-found', 'NotFound', `jobs.batch "${name}" not found`);
      if (resourceVersion !== job.metadata.resourceVersion) throw modified(name);
      const { startTime = job.status.startTime, ...rest } = status;
      const { startTime: _, ...before } = job.status;
      const merged = { ...before, ...rest, ...(startTime === null || startTime === undefined ? {} : { startTime }) };
      jobs.setStatus(job, merged as LocalJob['status']);
      return jobRecord(jobs.get(name) ?? job);
    },
    deletePod: async (pod, signal) => {
      refuseAborted('delete a pod', signal);
      pods.delete(pod);
    },
    evictPod: async (pod, signal) => {
      refuseAborted('evict a pod', signal);
      pods.delete(pod, evicted(timestamp(clock.now())));
    },
    expirePod: async () => {
      throw new Error('the local store runs no CI task, and only their pods are ended so');
    },
    podRefusal: async ({ uid }, signal) => {
      refuseAborted('read Events', signal);
      return refusals.get(uid);
    },
    isTerminating: async (_namespace, signal) => {
      refuseAborted('get the namespace', signal);
      return store.terminating;
    },
    notify: async (notice) => {
      const same = (one: Notice) =>
        one.reason === notice.reason && one.message === notice.message && one.about.uid === notice.about.uid;
      if (!notices.some(same)) notices.push(notice);
    },
    follow: async (observe, signal) => {
      if (signal.aborted) return;
      // Listens before it lists, so that nothing is missed between.
      const following = on(changes, 'change', { signal }) as AsyncIterable<[Observation]>;
      const version = String(versions);
      observe({
        kind: 'listed',
        jobs: jobs.all().map(jobRecord),
        pods: podTable.all().map(podRecord),
        versionOf: () => version,
      });
      try {
        for await (const [observation] of following) observe(observation);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
    remove: (name) => {
      const job = jobs.get(name);
      if (job !== undefined) drop(job);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      const ends = [...running.values()].map(({ stop, ended }) => {
        stop.abort();
        return ended;
      });
      await Promise.all(ends);
    },
  };
  return store;
}

function modified(name: string): ServiceError {
  return new ServiceError(
    'conflict',
    'Conflict',
    `Operation cannot be fulfilled on jobs.batch "${name}": the object has been modified; please apply your changes to the latest version and try again`,
  );
}

/** Milliseconds until a finished Job is to be removed; undefined when it is not to be. */
function timeLeftMs(job: LocalJob, clock: Clock): number | undefined {
  const { end, ttlSeconds } = jobRecord(job);
  return end === undefined || ttlSeconds === undefined ? undefined : end.at + ttlSeconds * 1000 - clock.now();
}

function refuseAborted(what: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new ServiceError('unknown', 'AbortError', `could not ${what}: stopped before an answer came`);
}

/** RFC 7386, for the parts of a Job that a patch can change. */
function merge(job: LocalJob, patch: JobPatch): LocalJob {
  const { labels, annotations, ttlSeconds, activeDeadlineSeconds, suspend, parallelism } = patch;
  const { metadata, spec } = job;
  const merged = Object.entries({ ...metadata.annotations, ...annotations }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  return {
    ...job,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...labels },
      annotations: Object.fromEntries(merged),
    },
    spec: {
      ...spec,
      ...(ttlSeconds === undefined ? {} : { ttlSecondsAfterFinished: ttlSeconds }),
      ...(activeDeadlineSeconds === undefined ? {} : { activeDeadlineSeconds }),
      ...(suspend === undefined ? {} : { suspend }),
      ...(parallelism === undefined ? {} : { parallelism }),
    },
  };
}
