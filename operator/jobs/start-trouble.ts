/** Why a pod does not start. Pure. The kubelet says it only while it tries: after the pod's deadline nothing of it is left. */
import { z } from 'zod';
import { type Diagnosis, diagnose, HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { JobRecord, PodRecord } from './records.ts';

/** Reasons of a waiting container that mean trouble. Any other is a stage of an ordinary start. */
const WAITING: Readonly<Record<string, keyof typeof HINTS>> = {
  ErrImagePull: 'ImagePull',
  ImagePullBackOff: 'ImagePull',
  ErrImageNeverPull: 'ImagePull',
  InvalidImageName: 'InvalidImage',
  CreateContainerConfigError: 'ContainerConfig',
  CreateContainerError: 'ContainerConfig',
};

const diagnosisSchema = z.object({
  category: z.enum(Object.keys(HINTS) as (keyof typeof HINTS)[]),
  message: z.string(),
  hint: z.string(),
});

/** What keeps the newest pod from starting; undefined when nothing is known to. */
export function startTrouble(pods: readonly PodRecord[]): Diagnosis | undefined {
  const task = pods.at(-1)?.task;
  const category = task?.kind === 'waiting' ? WAITING[task.reason] : undefined;
  return task?.kind !== 'waiting' || category === undefined
    ? undefined
    : diagnose(category, task.message === '' ? task.reason : `${task.reason}: ${task.message}`.slice(0, 1000));
}

/** The trouble that was noted on the Job while it could be seen. */
export function notedTrouble(job: JobRecord): Diagnosis | undefined {
  const text = job.annotations[ANNOTATION.diagnosis];
  const parsed = text === undefined ? undefined : diagnosisSchema.safeParse(tryParseJson(text));
  return parsed?.success ? parsed.data : undefined;
}
