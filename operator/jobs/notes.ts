/** What the operator notes on a Job about its start and its end, while the evidence can be seen: the note outlives the pods. */
import { z } from 'zod';
import { type Diagnosis, diagnose, HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { fromIso, iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { JobRecord, PodRecord } from './records.ts';
import type { JobPatch } from './store.ts';

const noteSchema = z.object({
  category: z.enum(Object.keys(HINTS) as (keyof typeof HINTS)[]),
  message: z.string(),
  hint: z.string(),
  since: z.string().optional(),
  /** That no pod could be made, as Kubernetes said in an Event. */
  noPod: z.boolean().optional(),
});

/** A diagnosis with the moment (milliseconds since the epoch) from which it is known. */
export interface Note {
  readonly diagnosis: Diagnosis;
  readonly since: number;
  readonly noPod: boolean;
}

/** The note on a Job; undefined when there is none that can be read. */
export function noteOn(job: JobRecord): Note | undefined {
  const text = job.annotations[ANNOTATION.diagnosis];
  const parsed = text === undefined ? undefined : noteSchema.safeParse(tryParseJson(text));
  if (!parsed?.success) return undefined;
  const { since, noPod = false, ...diagnosis } = parsed.data;
  return { diagnosis, since: fromIso(since) ?? job.createdAt, noPod };
}

/** A note as an annotation. */
export function noteAnnotation(diagnosis: Diagnosis, now: number, noPod = false): Record<string, string> {
  return {
    [ANNOTATION.diagnosis]: JSON.stringify({ ...diagnosis, since: iso(now), ...(noPod ? { noPod } : {}) }),
  };
}

const attemptSchema = z.object({ pod: z.string(), finishedAt: z.string(), reason: z.string() });

/** An attempt whose pod the operator deleted. */
export type UsedAttempt = z.infer<typeof attemptSchema>;

/** The attempts that were used up by deleting their pods, oldest first. */
export function usedAttempts(job: JobRecord): readonly UsedAttempt[] {
  const text = job.annotations[ANNOTATION.attempts];
  const parsed = text === undefined ? undefined : z.array(attemptSchema).safeParse(tryParseJson(text));
  return parsed?.success ? parsed.data : [];
}

/** The attempts with that of a pod that is about to be deleted; writing one twice changes nothing. */
export function attemptsAnnotation(job: JobRecord, pod: PodRecord, now: number): Record<string, string> {
  const before = usedAttempts(job);
  if (before.some((one) => one.pod === pod.name)) return {};
  const reason = pod.waiting?.reason ?? (pod.task?.kind === 'waiting' ? pod.task.reason : pod.phase);
  const attempt: UsedAttempt = { pod: pod.name, finishedAt: iso(now), reason };
  return { [ANNOTATION.attempts]: JSON.stringify([...before, attempt].slice(-20)) };
}

/** No task type can have a deadline as short: a Job that has it was ended by the operator. */
const ENDED_DEADLINE_S = 1;

/**
 * Ends a Job and says why, in one write, so that it never ends without its reason: its pods are killed, its record stays. A suspended Job
 * does not feel a deadline, so it is resumed, with no pod to be made.
 */
export function endingPatch(job: JobRecord, diagnosis: Diagnosis, pod: PodRecord | undefined, now: number): JobPatch {
  return {
    annotations: { ...noteAnnotation(diagnosis, now), ...(pod === undefined ? {} : attemptsAnnotation(job, pod, now)) },
    activeDeadlineSeconds: ENDED_DEADLINE_S,
    ...(job.suspended ? { suspend: false, parallelism: 0 } : {}),
  };
}

/** True for a Job that the operator has ended, or is just ending. */
export function isBeingEnded(job: JobRecord): boolean {
  return job.deadlineSeconds === ENDED_DEADLINE_S;
}

/** Why somebody wants the task cancelled; undefined when nobody does. */
export function cancellation(job: JobRecord): Diagnosis | undefined {
  const reason = job.annotations[ANNOTATION.cancel];
  if (reason === undefined) return undefined;
  const why = /^(|true|yes|1)$/i.test(reason.trim()) ? '' : `: ${reason.trim().slice(0, 500)}`;
  return diagnose('Cancelled', `the task was cancelled${why}`);
}
