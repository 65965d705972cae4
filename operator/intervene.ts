/** What the operator does to a Job whose pod does not start, or whose task is cancelled. Effects only; `watchOver` decides. */
import type { Diagnosis } from '../contract/diagnosis.ts';
import { ANNOTATION } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Checkpoint } from './checkpoint.ts';
import { attemptsAnnotation, endingPatch, noteAnnotation } from './jobs/notes.ts';
import type { JobRecord, PodRecord } from './jobs/records.ts';
import { refusalTrouble, startLimits } from './jobs/start-trouble.ts';
import type { JobStore } from './jobs/store.ts';
import type { JobsView } from './jobs/view.ts';

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
  { diagnosis, pod }: { readonly diagnosis: Diagnosis; readonly pod?: PodRecord },
  signal: AbortSignal,
): Promise<void> {
  const { store, view, clock, log } = tools;
  view.learn(await store.patch(job.name, endingPatch(job, diagnosis, pod, clock.now()), signal));
  log.warn({ job: job.name, category: diagnosis.category, reason: diagnosis.message }, 'the task is ended');
  await tools.checkpoint('ended', job.name);
}

/** Deletes a pod that does not start: an attempt is used up. */
export async function useAttempt(
  tools: InterveneTools,
  job: JobRecord,
  pod: PodRecord,
  diagnosis: Diagnosis,
  signal: AbortSignal,
): Promise<void> {
  await keepEvidence(tools, job, diagnosis, attemptsAnnotation(job, pod, tools.clock.now()), signal);
  await tools.store.deletePod(pod, signal);
  await taken(tools, job, pod, diagnosis, 'an attempt is used up');
}

/** Evicts a pod that does not start for a reason that may pass: its Job makes another, and no attempt is used up. */
export async function retry(
  tools: InterveneTools,
  job: JobRecord,
  pod: PodRecord,
  diagnosis: Diagnosis,
  signal: AbortSignal,
): Promise<void> {
  await keepEvidence(tools, job, diagnosis, {}, signal);
  await tools.store.evictPod(pod, signal);
  await taken(tools, job, pod, diagnosis, 'no attempt is used up');
}

/** What is known of the pod goes with it, so it is written onto the Job first. */
async function keepEvidence(
  { store, view, clock }: InterveneTools,
  job: JobRecord,
  diagnosis: Diagnosis,
  more: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const annotations = { ...noteAnnotation(diagnosis, clock.now()), ...more };
  view.learn(await store.patch(job.name, { annotations }, signal));
}

async function taken(
  { log, checkpoint }: InterveneTools,
  job: JobRecord,
  pod: PodRecord,
  { category, message }: Diagnosis,
  what: string,
): Promise<void> {
  await checkpoint('pod-removed', job.name);
  log.warn(
    { job: job.name, pod: pod.name, category, reason: message },
    `the pod did not start in time and was removed: ${what}`,
  );
}
