/** What the operator does to a Job whose pod does not start, or whose task is cancelled. Effects only; `watchOver` decides. */
import type { Diagnosis } from '../contract/diagnosis.ts';
import { ANNOTATION } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { removalAnnotation } from './aci/attempts.ts';
import type { Checkpoint } from './checkpoint.ts';
import { attemptsAnnotation, endingPatch, noteAnnotation, noteOn } from './jobs/notes.ts';
import type { JobRecord, PodRecord } from './jobs/records.ts';
import { refusalTrouble, startLimits } from './jobs/start-trouble.ts';
import type { JobStore } from './jobs/store.ts';
import type { JobsView } from './jobs/view.ts';
import type { Decision } from './settle/decide.ts';

/** What intervening works with. */
export interface InterveneTools {
  readonly store: JobStore;
  readonly view: JobsView;
  readonly clock: Clock;
  readonly log: Log;
  readonly checkpoint: Checkpoint;
}

/** How often Events are asked why there is no pod. */
const INQUIRE_EVERY_MS = 30_000;

/** Writes down why no container runs, or that this has passed. */
export async function note(
  tools: InterveneTools,
  job: JobRecord,
  diagnosis: Diagnosis | undefined,
  signal: AbortSignal,
  noPod = false,
): Promise<void> {
  const { store, view, clock, log } = tools;
  const annotations =
    diagnosis === undefined ? { [ANNOTATION.diagnosis]: null } : noteAnnotation(diagnosis, clock.now(), noPod);
  view.learn(await store.patch(job.name, { annotations }, signal));
  if (diagnosis === undefined) return log.info({ job: job.name }, "what kept the task's pod from starting has passed");
  const { category, message, hint } = diagnosis;
  const what = category === 'NodeLost' ? 'The node of the task does not answer' : "The task's pod does not start";
  log.warn({ job: job.name, category, reason: message }, what);
  await store.notify({
    reason: category,
    message: `${what}: ${message}. ${hint}`,
    type: 'Warning',
    about: { kind: 'Job', name: job.name, uid: job.uid },
  });
}

/** Asks why there is no pod. Returns milliseconds until the next look. */
export async function inquire(tools: InterveneTools, job: JobRecord, signal: AbortSignal): Promise<number> {
  const { store, clock } = tools;
  const text = await store.podRefusal(job, signal);
  if (text === undefined) return INQUIRE_EVERY_MS;
  const now = clock.now();
  const { diagnosis, dueAt } = refusalTrouble(text, startLimits(job), now);
  if (dueAt <= now) await endJob(tools, job, { diagnosis }, signal);
  else await note(tools, job, diagnosis, signal, true);
  return 0;
}

/** Ends the Job with its reason on it, in one write. */
export async function endJob(
  tools: InterveneTools,
  job: JobRecord,
  { diagnosis, pod }: Pick<Extract<Decision, { kind: 'end' }>, 'diagnosis' | 'pod'>,
  signal: AbortSignal,
): Promise<void> {
  const { store, view, clock, log } = tools;
  view.learn(await store.patch(job.name, endingPatch(job, diagnosis, pod, clock.now()), signal));
  log.warn({ job: job.name, category: diagnosis.category, reason: diagnosis.message }, 'the task is ended');
  await tools.checkpoint('ended', job.name);
}

/**
 * Takes away a pod that does not start: deleted, it uses up an attempt; evicted, its Job makes another and none is used up. What is known of
 * the pod goes with it, so it is written onto the Job first.
 */
export async function removePod(
  tools: InterveneTools,
  job: JobRecord,
  { kind, pod, diagnosis }: Extract<Decision, { kind: 'use-attempt' | 'retry' }>,
  signal: AbortSignal,
): Promise<void> {
  const { store, view, clock, log } = tools;
  const counts = kind === 'use-attempt';
  const isGroup = pod.shownBy !== undefined;
  const now = clock.now();
  const known = noteOn(job)?.diagnosis;
  const annotations = {
    ...(known?.category === diagnosis.category && known.message === diagnosis.message
      ? {}
      : noteAnnotation(diagnosis, now)),
    ...(counts ? attemptsAnnotation(job, pod, now) : {}),
    ...(isGroup ? removalAnnotation(pod, counts) : {}),
  };
  // A write that changes nothing would be news to nobody but ourselves, again and again until the pod is seen to go.
  if (Object.keys(annotations).length > 0) view.learn(await store.patch(job.name, { annotations }, signal));
  // A container group is removed by who runs it, as the annotation asks.
  if (!isGroup) await (counts ? store.deletePod(pod, signal) : store.evictPod(pod, signal));
  await tools.checkpoint('pod-removed', job.name);
  log.warn(
    { job: job.name, pod: pod.name, category: diagnosis.category, reason: diagnosis.message },
    `the pod did not start in time and was removed: ${counts ? 'an' : 'no'} attempt is used up`,
  );
}

/** Ends a pod that has built, or tested, for as long as it may. That it was so is to be seen on the pod, which stays. */
export async function expirePod(
  { store, log }: Pick<InterveneTools, 'store' | 'log'>,
  job: JobRecord,
  pod: PodRecord,
  signal: AbortSignal,
): Promise<void> {
  await store.expirePod(pod, signal);
  log.warn(
    { job: job.name, pod: pod.name },
    'the pod is ended: clone and build, or the tests, have taken as long as they may',
  );
}
