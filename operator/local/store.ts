/**
 * A Job store inside this process: what the API server, Kubernetes' controllers and a kubelet do for Slipway, as far as Slipway sees it.
 * For the demo and for tests. It keeps nothing beyond the process.
 */
import { EventEmitter, on } from 'node:events';
import type { Clock } from '../../lib/clock.ts';
import { ServiceError } from '../../lib/errors.ts';
import { fullJob, jobRecord, podRecord } from '../jobs/records.ts';
import type { JobPatch, JobStore, Notice, Observation } from '../jobs/store.ts';
import type { EnvSources } from './env.ts';
import { CONTROLLER_UID_LABEL, runJob } from './job-controller.ts';
import { LONGEST_TIMER_MS, type RunPod } from './kubelet.ts';
import { type LocalJob, type LocalPod, requestedJob, timestamp } from './objects.ts';
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
}

/** The store, and what a person would do with kubectl. Disposing of it ends every pod. */
export interface LocalStore extends JobStore, AsyncDisposable {
  /** Events, in order. */
  readonly notices: readonly Notice[];
  /** `kubectl delete job`: the Job is gone at once, its pod when its container has ended. */
  remove(name: string): void;
}

const LONGEST_BACKOFF_MS = 600_000;

/** Makes an empty store. */
export function createLocalStore(options: LocalStoreOptions): LocalStore {
  const { clock, firstBackoffMs = 10_000, images = {}, sources = {}, logs } = options;
  const runPod = options.runPod ?? runAsProcess({ clock, images, sources, ...(logs === undefined ? {} : { logs }) });
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  const tell = (observation: Observation) => changes.emit('change', observation);
  let versions = 0;
  const nextVersion = () => String(++versions);
  const jobs = new Table<LocalJob>(nextVersion, (what, raw) => {
    tell({ kind: what === 'gone' ? 'job-gone' : 'job', job: jobRecord(raw) });
    if (what === 'changed') expireLater(raw);
  });
  const pods = new Table<LocalPod>(nextVersion, (what, raw) =>
    tell({ kind: what === 'gone' ? 'pod-gone' : 'pod', pod: podRecord(raw) }),
  );
  let uids = 0;
  const tools = {
    clock,
    jobs,
    pods,
    runPod,
    nextUid: () => `00000000-0000-4000-8000-${(++uids).toString(36).padStart(12, '0')}`,
    backoffMs: (failedPods: number) => Math.min(LONGEST_BACKOFF_MS, firstBackoffMs * 2 ** (failedPods - 1)),
  };
  const notices: Notice[] = [];
  const closing = new AbortController();
  const running = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>();

  function start(job: LocalJob): void {
    const { uid } = job.metadata;
    const stop = new AbortController();
    const ended = runJob(tools, job, stop.signal).finally(() => running.delete(uid));
    running.set(uid, { stop, ended });
  }

  /** What deleting a Job in the background comes to: a pod whose container still runs goes when that has ended. */
  function drop(job: LocalJob): void {
    const { uid } = job.metadata;
    jobs.remove(job);
    running.get(uid)?.stop.abort();
    for (const pod of pods.all())
      if (pod.metadata.labels[CONTROLLER_UID_LABEL] === uid && hasEnded(pod)) pods.remove(pod);
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

  return {
    notices,
    create: async (requested, signal) => {
      refuseAborted('create', signal);
      const job = requestedJob(requested);
      const { name } = job.metadata;
      if (jobs.get(name) !== undefined)
        throw new ServiceError('conflict', 'AlreadyExists', `jobs.batch "${name}" already exists`);
      const creationTimestamp = timestamp(clock.now());
      const metadata = { ...job.metadata, uid: tools.nextUid(), resourceVersion: '', creationTimestamp };
      const created = jobs.put({ ...job, metadata, status: {} });
      start(created);
      return jobRecord(created);
    },
    dryRun: async (requested, signal) => {
      refuseAborted('try', signal);
      requestedJob(requested);
    },
    get: async (name, signal) => {
      refuseAborted('get', signal);
      const job = jobs.get(name);
      return job === undefined ? undefined : fullJob(job);
    },
    patch: async (name, patch, signal) => {
      refuseAborted('patch', signal);
      const job = jobs.get(name);
      if (job === undefined) throw new ServiceError('not-found', 'NotFound', `jobs.batch "${name}" not found`);
      const { resourceVersion } = job.metadata;
      if (patch.resourceVersion !== undefined && patch.resourceVersion !== resourceVersion)
        throw new ServiceError(
          'conflict',
          'Conflict',
          `Operation cannot be fulfilled on jobs.batch "${name}": the object has been modified; please apply your changes to the latest version and try again`,
        );
      const patched = merge(job, patch);
      requestedJob(patched);
      // As on the server, a patch that changes nothing makes no new version.
      return jobRecord(JSON.stringify(patched) === JSON.stringify(job) ? job : jobs.put(patched));
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
      observe({
        kind: 'listed',
        jobs: jobs.all().map(jobRecord),
        pods: pods.all().map(podRecord),
        version: String(versions),
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
}

function hasEnded({ status }: LocalPod): boolean {
  return status.phase === 'Succeeded' || status.phase === 'Failed';
}

/** Milliseconds until a finished Job is to be removed; undefined when it is not to be. */
function timeLeftMs(job: LocalJob, clock: Clock): number | undefined {
  const { end, ttlSeconds } = jobRecord(job);
  return end === undefined || ttlSeconds === undefined ? undefined : end.at + ttlSeconds * 1000 - clock.now();
}

function refuseAborted(what: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new ServiceError('unknown', 'AbortError', `could not ${what} a Job: stopped before an answer came`);
}

/** RFC 7386, for the parts of a Job that a patch can change. */
function merge(job: LocalJob, { labels, annotations, ttlSeconds }: JobPatch): LocalJob {
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
    spec: { ...spec, ...(ttlSeconds === undefined ? {} : { ttlSecondsAfterFinished: ttlSeconds }) },
  };
}
