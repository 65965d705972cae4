/** A store's list and watch with the troubles of real ones: lists that fail or are old, watches that break, repeat, reorder and forget. */
import { backoff } from '#/lib/backoff.ts';
import type { Clock } from '#/lib/clock.ts';
import { isKind, ServiceError } from '#/lib/errors.ts';
import type { JobStore, Observation } from '#/operator/jobs/store.ts';
import { type ApiFault, apiFailing, type WatchFault } from './faults.ts';
import type { Injector } from './injector.ts';

/** As the real store: watches can lose events silently. */
const RELIST_MS = 300_000;
/** As the real store: a watch that says nothing for so long is given up. */
const SILENCE_MS = 40_000;
/** How old an old list is when it comes. */
const OLD_MS = 5000;
/** How long an event waits for another one to overtake it. */
const OVERTAKEN_MS = 1000;

export interface FollowTools {
  readonly store: Pick<JobStore, 'follow'>;
  readonly clock: Clock;
  readonly faults: Injector;
  /** Ends of the watches that are open now. */
  readonly watches: Set<(error: ServiceError) => void>;
}

/** Follows the store as the real one is followed: a list, then its watch, and again when that has broken. */
export async function followWithTroubles(
  tools: FollowTools,
  observe: (observation: Observation) => void,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await round(
        tools,
        (observation) => {
          failures = 0;
          observe(observation);
        },
        signal,
      );
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      if (!isKind(error, 'conflict')) observe({ kind: 'unknown', error });
      failures++;
      await tools.clock.sleep(backoff(failures, 250, 15_000, tools.clock), signal);
    }
  }
}

/** One list and its watch. Throws a ServiceError when either breaks. */
async function round(
  { store, clock, faults, watches }: FollowTools,
  observe: (observation: Observation) => void,
  signal: AbortSignal,
): Promise<void> {
  const listFault = faults.take('list') as WatchFault | undefined;
  if (listFault === 'hang') await clock.sleep(30_000, signal);
  if (listFault !== undefined && listFault !== 'old list') throw apiFailing('list', listFault as ApiFault).error;

  const ended = Promise.withResolvers<void>();
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const held: Observation[] = [];
  let state: 'open' | 'holding' | 'silent' | 'ended' = listFault === 'old list' ? 'holding' : 'open';
  const release = () => {
    if (state === 'ended') return;
    state = 'open';
    for (const observation of held.splice(0)) observe(observation);
  };
  const end = (error?: ServiceError) => {
    if (state === 'ended') return;
    state = 'ended';
    if (error === undefined) ended.resolve();
    else ended.reject(error);
  };
  if (state === 'holding') void clock.sleep(OLD_MS, both).then(release);
  void clock.sleep(RELIST_MS, both).then(() => end());

  const take = (observation: Observation) => {
    if (state === 'ended' || state === 'silent') return;
    if (observation.kind === 'listed') {
      if (state === 'holding') held.push(observation);
      else observe(observation);
      return;
    }
    const fault = faults.meet('watch') as WatchFault | undefined;
    if (state === 'holding') {
      held.push(observation);
      // An overtaken event is let go by the first event of another object.
      if (held.every((one) => one.kind !== 'listed') && !isAboutSame(observation, held[0])) {
        held.reverse();
        release();
      }
      return;
    }
    switch (fault) {
      case undefined:
        return observe(observation);
      case 'event twice':
        observe(observation);
        return observe(observation);
      case 'event missing':
        return;
      case 'events reordered':
        state = 'holding';
        held.push(observation);
        void clock.sleep(OVERTAKEN_MS, both).then(release);
        return;
      case 'hang':
        state = 'silent';
        void clock
          .sleep(SILENCE_MS, both)
          .then(() => end(new ServiceError('unknown', 'TimeoutError', 'no answer to watch: the deadline has passed')));
        return;
      default:
        return end(apiFailing('watch', fault as ApiFault).error);
    }
  };
  watches.add(end);
  const following = store.follow(take, both);
  both.addEventListener('abort', () => end(), { once: true });
  try {
    await ended.promise;
  } finally {
    watches.delete(end);
    stop.abort();
    await following;
  }
}

function isAboutSame(a: Observation, b: Observation | undefined): boolean {
  const nameOf = (one: Observation | undefined) =>
    one?.kind === 'job' || one?.kind === 'job-gone'
      ? one.job.name
      : one?.kind === 'pod' || one?.kind === 'pod-gone'
        ? one.pod.name
        : '';
  return nameOf(a) === nameOf(b);
}
