/** Jobs on the Kubernetes API server. */

import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { V1Job } from '@kubernetes/client-node';
import { LABEL, MANAGED_BY } from '../../contract/identity.ts';
import { backoff } from '../../lib/backoff.ts';
import { type Clock, fromIso, iso } from '../../lib/clock.ts';
import { ifFound, isKind, ServiceError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { KubernetesApi } from './api.ts';
import { type FullJob, fullJob, type JobRecord, jobRecord, podRecord, type RawJob, type RawPod } from './records.ts';
import type { JobPatch, JobStore, Notice, Observation } from './store.ts';

/** What the store needs to know about where it works. */
export interface KubernetesStoreOptions {
  /** The operator's own: of Events about its pod, too. */
  readonly namespace: string;
  /** Others in which Jobs of the installation are. */
  readonly namespaces?: readonly string[];
  /** Undefined: the Jobs of every installation, for who only looks. */
  readonly installation: string | undefined;
  /** A further label selector. */
  readonly selector?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds between full lists, since a watch can lose events silently. */
  readonly relistMs?: number;
}

const PAGE = 250;
/** Seconds. Short of a bookmark's minute: a watch that ends regularly ends with a bookmark, so the next one starts where it stopped. */
const WATCH_SECONDS = 25;
const SHORTEST_WATCH_MS = 1000;

interface Page<T> {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: T[];
}
interface WatchEvent {
  type?: string;
  object?: { metadata?: { resourceVersion?: string }; code?: number; message?: string };
}

interface RawEvent {
  message?: string;
  lastTimestamp?: string | null;
  eventTime?: string | null;
  series?: { lastObservedTime?: string | null };
}

/** One kind of object that is listed and watched. */
interface Followed<Raw> {
  readonly path: string;
  readonly changed: (item: Raw) => void;
  readonly gone: (item: Raw) => void;
}

/** A store for namespaces of an API server. */
export function createKubernetesStore(api: KubernetesApi, options: KubernetesStoreOptions): JobStore {
  const { namespace: own, installation, clock, log, relistMs = 300_000 } = options;
  const namespaces = [...new Set([own, ...(options.namespaces ?? [])])];
  const jobsIn = (namespace: string) => `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const podsIn = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;
  const eventsIn = (namespace: string) => `/api/v1/namespaces/${namespace}/events`;
  /** Where Jobs outside of the operator's own namespace are, by their names. */
  const elsewhere = new Map<string, string>();
  const homeOf = (name: string) => elsewhere.get(name) ?? own;
  /** Keeps where the Job is; every Job that is acted upon was seen before. */
  const seen = (job: JobRecord): JobRecord => {
    if (job.namespace !== own) elsewhere.set(job.name, job.namespace);
    return job;
  };
  const post = (job: V1Job, dryRun: boolean, signal: AbortSignal | undefined) =>
    api.request({
      method: 'POST',
      path: jobsIn(job.metadata?.namespace ?? own),
      body: job,
      query: { ...(dryRun ? { dryRun: 'All' } : {}), fieldValidation: 'Strict' },
      signal,
    });
  const selector = [
    `${LABEL.managedBy}=${MANAGED_BY}`,
    ...(installation === undefined ? [] : [`${LABEL.installation}=${installation}`]),
    ...(options.selector === undefined ? [] : [options.selector]),
  ].join(',');

  /** Lists in pages, each trimmed before the next is asked for: whole objects carry up to 64 KiB of TASK_DATA. */
  async function list<Raw, Kept>(
    path: string,
    trim: (raw: Raw) => Kept,
    signal: AbortSignal,
  ): Promise<{ items: Kept[]; version: string }> {
    const items: Kept[] = [];
    let next: string | undefined = '';
    let version = '';
    while (next !== undefined) {
      const query = { labelSelector: selector, limit: PAGE, ...(next === '' ? {} : { continue: next }) };
      const page = (await api.request({ method: 'GET', path, query, signal })) as Page<Raw>;
      for (const raw of page.items ?? []) items.push(trim(raw));
      version = page.metadata?.resourceVersion ?? '';
      next = page.metadata?.continue || undefined;
    }
    return { items, version };
  }

  /** Watches from `version` until it is time for a new list; throws when contact is lost. */
  async function watch<Raw>(followed: Followed<Raw>, from: string, until: number, signal: AbortSignal): Promise<void> {
    let version = from;
    while (!signal.aborted && clock.monotonic() < until) {
      const query = {
        watch: 'true',
        labelSelector: selector,
        resourceVersion: version,
        allowWatchBookmarks: 'true',
        timeoutSeconds: WATCH_SECONDS,
      };
      const deadline = clock.deadline((WATCH_SECONDS + 15) * 1000, signal);
      const opened = clock.monotonic();
      for await (const line of api.lines({ method: 'GET', path: followed.path, query, signal: deadline })) {
        const event = JSON.parse(line) as WatchEvent;
        if (event.type === 'ERROR')
          throw new ServiceError(
            event.object?.code === 410 ? 'conflict' : 'unavailable',
            String(event.object?.code ?? 'watch'),
            `watch ended: ${event.object?.message ?? 'no reason given'}`,
          );
        version = event.object?.metadata?.resourceVersion ?? version;
        if (event.type === 'DELETED') followed.gone(event.object as Raw);
        else if (event.type === 'ADDED' || event.type === 'MODIFIED') followed.changed(event.object as Raw);
      }
      // A server that ends every watch at once is not asked in a hot loop.
      if (clock.monotonic() - opened < SHORTEST_WATCH_MS) await clock.sleep(SHORTEST_WATCH_MS, signal);
    }
  }

  async function followAll(observe: (observation: Observation) => void, signal: AbortSignal): Promise<void> {
    const until = clock.monotonic() + relistMs;
    const before = [...elsewhere.keys()];
    const lists = await Promise.all(
      namespaces.map(async (namespace) => {
        const [ofJobs, ofPods] = await Promise.all([
          list(jobsIn(namespace), jobRecord, signal),
          list(podsIn(namespace), podRecord, signal),
        ]);
        return { namespace, ofJobs, ofPods };
      }),
    );
    const jobs = lists.flatMap(({ ofJobs }) => ofJobs.items.map(seen));
    const listed = new Set(jobs.map(({ name }) => name));
    // What was made since the lists were asked for may be in none.
    for (const name of before) if (!listed.has(name)) elsewhere.delete(name);
    observe({
      kind: 'listed',
      jobs,
      pods: lists.flatMap(({ ofPods }) => ofPods.items),
      versionOf: (namespace) => lists.find((one) => one.namespace === namespace)?.ofJobs.version,
    });
    const round = new AbortController();
    const all = AbortSignal.any([signal, round.signal]);
    setMaxListeners(0, all);
    const watches = lists.flatMap(({ namespace, ofJobs, ofPods }) => [
      watch<RawJob>(
        {
          path: jobsIn(namespace),
          changed: (raw) => observe({ kind: 'job', job: seen(jobRecord(raw)) }),
          gone: (raw) => {
            const { record, taskData } = fullJob(raw);
            elsewhere.delete(record.name);
            observe({ kind: 'job-gone', job: record, taskData });
          },
        },
        ofJobs.version,
        until,
        all,
      ),
      watch<RawPod>(
        {
          path: podsIn(namespace),
          changed: (raw) => observe({ kind: 'pod', pod: podRecord(raw) }),
          gone: (raw) => observe({ kind: 'pod-gone', pod: podRecord(raw) }),
        },
        ofPods.version,
        until,
        all,
      ),
    ]);
    try {
      await Promise.all(watches);
    } finally {
      round.abort();
    }
  }

  /** Of a Job that was not seen yet nobody knows where it is. */
  async function find(name: string, signal: AbortSignal | undefined): Promise<FullJob | undefined> {
    const known = elsewhere.get(name);
    for (const namespace of known === undefined ? namespaces : [known]) {
      const found = await ifFound(api.request({ method: 'GET', path: `${jobsIn(namespace)}/${name}`, signal }));
      if (found !== undefined) return fullJob(found as RawJob);
    }
    return undefined;
  }

  return {
    create: async (job, signal) => seen(jobRecord((await post(job, false, signal)) as RawJob)),
    dryRun: async (job, signal) => void (await post(job, true, signal)),
    get: find,
    patch: async (name, patch, signal) =>
      jobRecord(
        (await api.request({
          method: 'PATCH',
          path: `${jobsIn(homeOf(name))}/${name}`,
          body: mergePatch(patch),
          contentType: 'application/merge-patch+json',
          signal,
        })) as RawJob,
      ),
    patchStatus: async (name, status, resourceVersion, signal) =>
      jobRecord(
        (await api.request({
          method: 'PATCH',
          path: `${jobsIn(homeOf(name))}/${name}/status`,
          body: { metadata: { resourceVersion }, status },
          contentType: 'application/merge-patch+json',
          signal,
        })) as RawJob,
      ),
    deletePod: (pod, signal) =>
      unlessGone(
        api.request({
          method: 'DELETE',
          path: `${podsIn(pod.namespace)}/${pod.name}`,
          body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: pod.uid } },
          signal,
        }),
      ),
    evictPod: (pod, signal) =>
      unlessGone(
        api.request({
          method: 'POST',
          path: `${podsIn(pod.namespace)}/${pod.name}/eviction`,
          body: {
            apiVersion: 'policy/v1',
            kind: 'Eviction',
            metadata: { name: pod.name, namespace: pod.namespace },
            deleteOptions: { preconditions: { uid: pod.uid } },
          },
          signal,
        }),
      ),
    expirePod: (pod, signal) =>
      unlessGone(
        api.request({
          method: 'PATCH',
          path: `${podsIn(pod.namespace)}/${pod.name}`,
          // One of the few fields of a pod that can change, and only become less.
          body: { metadata: { uid: pod.uid }, spec: { activeDeadlineSeconds: 1 } },
          contentType: 'application/merge-patch+json',
          signal,
        }),
      ),
    podRefusal: async ({ name, uid }, signal) => {
      const fieldSelector = `involvedObject.uid=${uid},reason=FailedCreate`;
      const { items = [] } = (await api.request({
        method: 'GET',
        path: eventsIn(homeOf(name)),
        query: { fieldSelector, limit: PAGE },
        signal,
      })) as Page<RawEvent>;
      return items.toSorted((a, b) => lastSeen(a) - lastSeen(b)).at(-1)?.message;
    },
    isTerminating: async (namespace, signal) => {
      const path = `/api/v1/namespaces/${namespace}`;
      const { metadata } = (await api.request({ method: 'GET', path, signal })) as RawJob;
      return metadata?.deletionTimestamp !== undefined;
    },
    notify: async (notice) => {
      const namespace = notice.about.kind === 'Job' ? homeOf(notice.about.name) : own;
      try {
        await api.request({
          method: 'POST',
          path: eventsIn(namespace),
          body: eventOf(notice, namespace, iso(clock.now())),
        });
      } catch (error) {
        if (!isKind(error, 'conflict'))
          log.debug({ err: error, reason: notice.reason }, 'an Event could not be written');
      }
    },
    follow: async (observe, signal) => {
      let failures = 0;
      while (!signal.aborted) {
        try {
          await followAll((observation) => {
            failures = 0;
            observe(observation);
          }, signal);
        } catch (error) {
          if (signal.aborted) return;
          // A version too old to watch from is no loss of contact: the next list comes at once. If that fails too, it is.
          if (!isKind(error, 'conflict') || failures > 0)
            observe({ kind: 'unknown', error: error instanceof Error ? error : new Error(String(error)) });
          failures++;
          await clock.sleep(backoff(failures, 250, 15_000, clock), signal);
        }
      }
    },
  };
}

/** Carries out what is about one pod; that it is gone, or another has its name (409, the precondition), is as good as done. */
async function unlessGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isKind(error, 'not-found', 'conflict')) throw error;
  }
}

/** Milliseconds since the epoch. Which of the fields is set depends on who wrote the Event. */
function lastSeen({ series, lastTimestamp, eventTime }: RawEvent): number {
  return fromIso(series?.lastObservedTime ?? lastTimestamp ?? eventTime) ?? 0;
}

function mergePatch(patch: JobPatch): object {
  const { resourceVersion, labels, annotations, ttlSeconds, activeDeadlineSeconds, suspend, parallelism } = patch;
  const spec = {
    ...(ttlSeconds === undefined ? {} : { ttlSecondsAfterFinished: ttlSeconds }),
    ...(activeDeadlineSeconds === undefined ? {} : { activeDeadlineSeconds }),
    ...(suspend === undefined ? {} : { suspend }),
    ...(parallelism === undefined ? {} : { parallelism }),
  };
  return {
    metadata: {
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    ...(Object.keys(spec).length === 0 ? {} : { spec }),
  };
}

/** A core/v1 Event under a name made of what it says, so that a repetition is a conflict and not a second Event. */
function eventOf(notice: Notice, namespace: string, now: string): object {
  const hash = createHash('sha256')
    .update(`${notice.about.uid ?? ''}${notice.reason}${notice.message}`)
    .digest('hex')
    .slice(0, 16);
  return {
    metadata: { name: `${notice.about.name}.${hash}`, namespace },
    involvedObject: {
      apiVersion: notice.about.kind === 'Job' ? 'batch/v1' : 'v1',
      kind: notice.about.kind,
      namespace,
      name: notice.about.name,
      ...(notice.about.uid === undefined ? {} : { uid: notice.about.uid }),
    },
    reason: notice.reason,
    message: notice.message.slice(0, 1024),
    type: notice.type,
    source: { component: 'slipway' },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
}
