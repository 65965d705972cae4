/**
 * Why a pod does not start, and what is to be done about it. Pure. The kubelet and the scheduler say it only while they try: of a pod that
 * is gone nothing is left.
 */
import { type Diagnosis, diagnose } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import type { JobRecord, PodRecord } from './records.ts';

/**
 * What to do when the trouble lasts.
 *
 * - `fail`: no attempt can mend it, so the Job ends
 * - `use-attempt`: the pod is deleted, which Kubernetes counts as a failed attempt
 * - `retry`: the pod is evicted and made anew, which counts as nothing
 * - `wait`: nothing but telling; it is not the operator's to end
 */
export type Remedy = 'fail' | 'use-attempt' | 'retry' | 'wait';

/** Trouble of a start: what it is, the remedy, and from when on (milliseconds since the epoch) the remedy is due. */
export interface StartTrouble {
  readonly diagnosis: Diagnosis;
  readonly remedy: Remedy;
  readonly dueAt: number;
}

/** Limits of a start, in seconds, as they stand on the Job: a changed configuration is for new Jobs. */
export interface StartLimits {
  readonly startTimeoutSeconds: number;
  readonly unschedulableTimeoutSeconds: number;
}

/** How long a pod that was to be gone may still be there before its node is called lost. */
const LOST_AFTER_MS = 60_000;

/** How the start of a pod goes: trouble; or none so far, and when it would be some though nothing changes (`lookAt`, if ever). */
export type Start =
  | { readonly trouble: StartTrouble }
  | { readonly trouble?: never; readonly lookAt: number | undefined };

/** Looks at the start of a pod. */
export function judgeStart(
  pod: PodRecord,
  { startTimeoutSeconds, unschedulableTimeoutSeconds }: StartLimits,
  now: number,
): Start {
  if (pod.phase === 'Succeeded' || pod.phase === 'Failed') return { lookAt: undefined };
  if (pod.deletedBy !== undefined) return judgeDeletion(pod, pod.deletedBy, now);
  if (pod.unschedulable !== undefined) {
    const category = QUOTA.test(pod.unschedulable) ? 'QuotaExceeded' : 'Unschedulable';
    const diagnosis = diagnose(category, pod.unschedulable || 'no node fits');
    return {
      trouble: { diagnosis, remedy: 'fail', dueAt: pod.createdAt + unschedulableTimeoutSeconds * 1000 },
    };
  }
  if (pod.stageSince === undefined) return { lookAt: undefined };
  const dueAt = pod.stageSince + startTimeoutSeconds * 1000;
  const known = waitingTrouble(pod);
  if (known !== undefined) return { trouble: { ...known, dueAt: known.remedy === 'fail' ? now : dueAt } };
  // What has begun has deadlines of its own.
  if (pod.begun || now < dueAt) return { lookAt: pod.begun ? undefined : dueAt };
  const waiting = pod.task?.kind === 'waiting' ? pod.task.reason : 'the kubelet says nothing of it';
  const what = pod.shownBy === undefined ? 'pod has had a node' : 'container group has been there';
  const how = pod.shownBy ?? `kubectl get events -n ${pod.namespace} --field-selector involvedObject.name=${pod.name}`;
  const text = `the ${what} for ${startTimeoutSeconds} s (startTimeoutSeconds) and no container of it runs (${waiting}); ${how} shows why`;
  return { trouble: { diagnosis: diagnose('ContainerConfig', text), remedy: 'use-attempt', dueAt } };
}

/** Why Kubernetes makes no pod of a Job, by what it says in its Event. */
export function refusalTrouble(text: string, { unschedulableTimeoutSeconds }: StartLimits, now: number): StartTrouble {
  const message = text.slice(0, 1000);
  const waiting = { remedy: 'fail', dueAt: now + unschedulableTimeoutSeconds * 1000 } as const;
  if (/exceeded quota|failed quota/i.test(text)) return { diagnosis: diagnose('QuotaExceeded', message), ...waiting };
  if (/violates PodSecurity/i.test(text)) {
    const remedy = 'what the task type asks for is more than the namespace allows';
    return { diagnosis: diagnose('InvalidSpec', `${message}; ${remedy}`), remedy: 'fail', dueAt: now };
  }
  if (/\bis invalid\b/i.test(text)) return { diagnosis: diagnose('InvalidSpec', message), remedy: 'fail', dueAt: now };
  if (/service ?account/i.test(text)) return { diagnosis: diagnose('ContainerConfig', message), ...waiting };
  return { diagnosis: diagnose('BackendError', message), ...waiting };
}

/** The limits that stand on a Job; on one of an earlier version, the defaults of that. */
export function startLimits({ annotations }: JobRecord): StartLimits {
  return {
    startTimeoutSeconds: Number(annotations[ANNOTATION.startTimeout] ?? 600),
    unschedulableTimeoutSeconds: Number(annotations[ANNOTATION.unschedulableTimeout] ?? 3600),
  };
}

/** What the kubelet says it waits for, where that means trouble. Any other reason is a stage of an ordinary start. */
export function waitingTrouble({
  waiting,
  ci,
}: Pick<PodRecord, 'waiting' | 'ci'>): Omit<StartTrouble, 'dueAt'> | undefined {
  if (waiting === undefined) return undefined;
  const { reason, message: detail } = waiting;
  const message = (detail === '' ? reason : `${reason}: ${detail}`).slice(0, 1000);
  switch (reason) {
    case 'InvalidImageName':
      return { diagnosis: diagnose('InvalidImage', message), remedy: 'fail' };
    case 'ErrImagePull':
    case 'ImagePullBackOff':
      if (ci?.build?.exitCode === 0 && NO_PLATFORM.test(detail)) return ofOtherPlatform(message);
      // A registry that does not answer, or is throttling, is no fault of the task: it may pass, or be another node's luck.
      return { diagnosis: diagnose('ImagePull', message), remedy: IMAGE_FAULT.test(detail) ? 'use-attempt' : 'retry' };
    case 'ErrImageNeverPull':
      return { diagnosis: diagnose('ImagePull', message), remedy: 'use-attempt' };
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
      // Of an image that the task itself has built: no fault of the type, which it must not pause.
      if (reason === 'CreateContainerError' && ci?.build?.exitCode === 0) return troubleOfBuilt(message);
      return ROOT_REFUSED.test(detail)
        ? {
            diagnosis: diagnose('ContainerConfig', `${message}; security: baseline in the task type would allow it`),
            remedy: 'fail',
          }
        : { diagnosis: diagnose('ContainerConfig', message), remedy: 'use-attempt' };
    // Of a container group on Azure Container Instances.
    case 'GroupRefused':
      return { diagnosis: diagnose('InvalidSpec', message), remedy: 'fail' };
    case 'ProvisioningFailed':
    case 'InitFailed':
      return { diagnosis: diagnose('ContainerConfig', message), remedy: 'use-attempt' };
    default:
      return undefined;
  }
}

/** A quota in the words of Azure; Kubernetes makes no pod beyond one. */
const QUOTA = /quota/i;

/** Answers of registries that say: there is no such image, or not for you. */
const IMAGE_FAULT =
  /not found|manifest unknown|name unknown|does not exist|unauthorized|authentication required|denied|forbidden|no basic auth|insufficient_scope/i;

function troubleOfBuilt(message: string): Omit<StartTrouble, 'dueAt'> {
  const text = `the tests could not start: ${message}`;
  return NO_USER.test(message)
    ? { diagnosis: diagnose('TaskFailed', `${text}; the image names a USER that it does not have`), remedy: 'fail' }
    : { diagnosis: diagnose('TaskFailed', text), remedy: 'use-attempt' };
}

function ofOtherPlatform(message: string): Omit<StartTrouble, 'dueAt'> {
  const text = `the tests could not start: ${message}; the image was built for another platform than that of its node`;
  return { diagnosis: diagnose('TaskFailed', text), remedy: 'fail' };
}

/** Containerd's words for an index without an image for it. A single image of another platform is pulled all the same, and fails when it runs. */
const NO_PLATFORM = /no match for platform/;

/** Containerd's and CRI-O's words for an image whose USER is not in its own list of users. */
const NO_USER = /no (?:users|groups) found|unable to find (?:user|group)|no matching entries in (?:passwd|group)/i;

/** The kubelet's words for an image that would run as root, or as a user whose number it cannot tell, under runAsNonRoot. */
const ROOT_REFUSED = /runAsNonRoot/;

/** A kubelet that does not confirm a deletion is not there any more; only the node's return, or its removal, ends the pod. */
function judgeDeletion(pod: PodRecord, deletedBy: number, now: number): Start {
  if (now < deletedBy + LOST_AFTER_MS) return { lookAt: deletedBy + LOST_AFTER_MS };
  const text = `pod ${pod.name} was to be gone ${Math.round((now - deletedBy) / 1000)} s ago, and its node does not say that it is; the task may still run there. Once the node is known to be off: kubectl delete pod -n ${pod.namespace} ${pod.name} --force`;
  return { trouble: { diagnosis: diagnose('NodeLost', text), remedy: 'wait', dueAt: Number.POSITIVE_INFINITY } };
}
