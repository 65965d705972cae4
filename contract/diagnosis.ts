/**
 * Why a task ended as it did: one taxonomy for the Job's annotation, Events, webhooks, poison copies and metrics, each with a line for the
 * person who reads it.
 */
export const HINTS = {
  Completed: 'Nothing to do.',
  TaskFailed: "The task itself failed: read its message and the pod's log (kubectl logs -n NAMESPACE job/NAME).",
  TaskTimedOut:
    'The task ran longer than it may: raise timeoutSeconds of its type (of clone and build, ci.builder.timeoutSeconds), or give it less work.',
  OutOfMemory:
    'The container was killed, most likely for memory: raise resources.memory of its type (of clone and build, ci.builder.resources.memory).',
  ImagePull:
    'The image could not be pulled: check its name and tag, and runner.imagePullSecrets (of an image that a CI task has built, ci.registrySecret).',
  InvalidImage: 'The image reference is not valid: correct image of its type.',
  ContainerConfig:
    'The container could not be made: check that the Secrets, ConfigMaps, volumes and service account it names exist; an image that must run as root needs security: baseline in its task type.',
  Unschedulable: 'No node had room: add nodes, or lower resources of its type.',
  QuotaExceeded: "The namespace's quota is used up: raise it, or lower limits.maxRunning.",
  Evicted:
    'The node ran short and put the pod out: set resources.ephemeralStorage (of clone and build, ci.builder.resources.ephemeralStorage), or use larger nodes.',
  NodeLost: "The pod's node went away: look at the nodes' health.",
  InvalidSpec: "The API server refuses the Job or its pod as rendered: correct the task type's settings.",
  Malformed: 'The message is not a task: correct the producer. The original text is in the poison queue.',
  UnknownTaskType: 'No task type of that name is configured: add it under taskTypes, or name a type default.',
  RedeliveredTooOften:
    "The message was received again and again without becoming a Job: it may be what ends the operator. Look at the operator's log before putting it back.",
  Cancelled: 'Somebody cancelled the task: nothing to do.',
  CloneFailed:
    "The repository could not be cloned: check its address, the commit or ref, and the task type's Secret for git; for a private address, networkPolicy.ci.allow.",
  BuildFailed:
    "The image could not be built: read the build's last lines; a base image must be one that the pod can pull.",
  RegistryFailed:
    "A registry gave no base image, or did not answer: check the image's name, the registry, and the task type's registrySecret; for a private address, networkPolicy.ci.allow.",
  PushFailed:
    "The image could not be pushed: check the registry's Secret, its rights, and the image's name; for a private address, networkPolicy.ci.allow.",
  BackendError: 'The engine that runs tasks reported an error: see the message.',
} as const;

/** A reason from the taxonomy. */
export type Category = keyof typeof HINTS;

/** Whether a text names one. */
export function isCategory(text: string): text is Category {
  return Object.hasOwn(HINTS, text);
}

/** A category with what happened in this case and what to do about it. */
export interface Diagnosis {
  readonly category: Category;
  readonly message: string;
  readonly hint: string;
}

/** A diagnosis with the hint that belongs to its category. */
export function diagnose(category: Category, message: string): Diagnosis {
  return { category, message, hint: HINTS[category] };
}
