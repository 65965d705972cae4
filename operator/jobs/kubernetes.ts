/** Jobs on the Kubernetes API server. */

import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { LABEL, MANAGED_BY } from '../../contract/identity.ts';
import { backoff } from '../../lib/backoff.ts';
import { type Clock, fromIso, iso } from '../../lib/clock.ts';
import { ifFound, isKind, ServiceError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { KubernetesApi } from './api.ts';
import { fullJob, jobRecord, podRecord, type RawJob, type RawPod } from './records.ts';
import type { JobPatch, JobStore, Notice, Observation } from './store.ts';

/** What the store needs to know about where it works. */
export interface KubernetesStoreOptions {
  readonly namespace: string;
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

/** A store for one namespace of an API server. */
export function createKubernetesStore(api: KubernetesApi, options: KubernetesStoreOptions): JobStore {
  const { namespace, installation, clock, log, relistMs = 300_000 } = options;
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const events = `/api/v1/namespaces/${namespace}/events`;
  const own = `/api/v1/namespaces/${namespace}`;
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
    const [jobList, podList] = await Promise.all([list(jobs, jobRecord, signal), list(pods, podRecord, signal)]);
    observe({
      kind: 'listed',
      jobs: jobList.items,
      pods: podList.items,
      version: jobList.version,
    });
    const round = new AbortController();
    const both = AbortSignal.any([signal, round.signal]);
    setMaxListeners(0, both);
    const ofJobs: Followed<RawJob> = {
      path: jobs,
      changed: (raw) => observe({ kind: 'job', job: jobRecord(raw) }),
      gone: (raw) => {
        const { record, taskData } = fullJob(raw);
        observe({ kind: 'job-gone', job: record, taskData });
      },
    };
    const ofPods: Followed<RawPod> = {
      path: pods,
      changed: (raw) => observe({ kind: 'pod', pod: podRecord(raw) }),
      gone: (raw) => observe({ kind: 'pod-gone', pod: podRecord(raw) }),
    };
    try {
      await Promise.all([watch(ofJobs, jobList.version, until, both), watch(ofPods, podList.version, until, both)]);
    } finally {
      round.abort();
    }
  }

  return {
    create: async (job, signal) =>
      jobRecord(
        (await api.request({
          method: 'POST',
          path: jobs,
          body: job,
          query: { fieldValidation: 'Strict' },
          signal,
        })) as RawJob,
      ),
    dryRun: async (job, signal) => {
      await api.request({
        method: 'POST',
        path: jobs,
        body: job,
        query: { dryRun: 'All', fieldValidation: 'Strict' },
        signal,
      });
    },
    get: async (name, signal) => {
      const found = await ifFound(api.request({ method: 'GET', path: `${jobs}/${name}`, signal }));
      return found === undefined ? undefined : fullJob(found as RawJob);
    },
    patch: async (name, patch, signal) =>
      jobRecord(
        (await api.request({
          method: 'PATCH',
          path: `${jobs}/${name}`,
          body: mergePatch(patch),
          contentType: 'application/merge-patch+json',
          signal,
        })) as RawJob,
      ),
    patchStatus: async (name, status, resourceVersion, signal) =>
      jobRecord(
        (await api.request({
          method: 'PATCH',
          path: `${jobs}/${name}/status`,
          body: { metadata: { resourceVersion }, status },
          contentType: 'application/merge-patch+json',
          signal,
        })) as RawJob,
      ),
    deletePod: (pod, signal) =>
      unlessGone(
        api.request({
          method: 'DELETE',
          path: `${pods}/${pod.name}`,
          body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: pod.uid } },
          signal,
        }),
      ),
    evictPod: (pod, signal) =>
      unlessGone(
        api.request({
          method: 'POST',
          path: `${pods}/${pod.name}/eviction`,
          body: {
            apiVersion: 'policy/v1',
            kind: 'Eviction',
            metadata: { name: pod.name, namespace },
            deleteOptions: { preconditions: { uid: pod.uid } },
          },
          signal,
        }),
      ),
    podRefusal: async ({ uid }, signal) => {
      const fieldSelector = `involvedObject.uid=${uid},reason=FailedCreate`;
      const { items = [] } = (await api.request({
        method: 'GET',
        path: events,
        query: { fieldSelector, limit: PAGE },
        signal,
      })) as Page<RawEvent>;
      return items.toSorted((a, b) => lastSeen(a) - lastSeen(b)).at(-1)?.message;
    },
    isTerminating: async (signal) => {
      const { metadata } = (await api.request({ method: 'GET', path: own, signal })) as RawJob;
      return metadata?.deletionTimestamp !== undefined;
    },
    notify: async (notice) => {
      try {
        await api.request({
          method: 'POST',
          path: events,
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
