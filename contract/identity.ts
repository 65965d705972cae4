/**
 * Names, labels and annotations: how a message, its Job and its installation recognise each other. The name function is frozen by golden
 * files: a release that names a message differently would start its task a second time.
 */
import { createHash } from 'node:crypto';

/** Where a message stands. The account's name, never a URL: a URL changes with its SAS. */
export interface MessageRef {
  readonly account: string;
  readonly queue: string;
  readonly messageId: string;
}

/** Labels that Slipway sets on Jobs and pods, beside the recommended `app.kubernetes.io/*`. */
export const LABEL = {
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  component: 'app.kubernetes.io/component',
  managedBy: 'app.kubernetes.io/managed-by',
  client: 'slipway.dev/client',
  taskType: 'slipway.dev/task-type',
  taskId: 'slipway.dev/task-id',
  queue: 'slipway.dev/queue',
  backend: 'slipway.dev/backend',
  state: 'slipway.dev/state',
  installation: 'slipway.dev/installation',
  /** Of pods and Jobs of CI tasks: `CI_KIND`. */
  kind: 'slipway.dev/kind',
} as const;

/** Value of `LABEL.kind`. */
export const CI_KIND = 'ci';

/** Values of `LABEL.state`. */
export const STATE = { active: 'active', settled: 'settled' } as const;

/** Annotations that Slipway sets on a Job. Times are ISO 8601 in UTC. */
export const ANNOTATION = {
  account: 'slipway.dev/account',
  /** The raw queue name: a label value may be cut. */
  queue: 'slipway.dev/queue',
  client: 'slipway.dev/client',
  messageId: 'slipway.dev/message-id',
  popReceipt: 'slipway.dev/pop-receipt',
  leaseUntil: 'slipway.dev/lease-until',
  leaseLost: 'slipway.dev/lease-lost',
  expiresOn: 'slipway.dev/expires-on',
  insertedOn: 'slipway.dev/inserted-on',
  dequeueCount: 'slipway.dev/dequeue-count',
  encoding: 'slipway.dev/encoding',
  webhookUrl: 'slipway.dev/webhook-url',
  webhookMode: 'slipway.dev/webhook-mode',
  webhookState: 'slipway.dev/webhook-state',
  configHash: 'slipway.dev/config-hash',
  /** `restricted` or `baseline`: what the task type asked for. */
  security: 'slipway.dev/security',
  /** Seconds that a pod with a node may take until its first container runs. */
  startTimeout: 'slipway.dev/start-timeout',
  /** Seconds that the Job may wait for a node, or for a quota. */
  unschedulableTimeout: 'slipway.dev/unschedulable-timeout',
  /** What keeps the task's pod from starting, while it can be seen; on a Job that the operator has ended, why. */
  diagnosis: 'slipway.dev/diagnosis',
  /** Attempts whose pods the operator deleted because they did not start: their evidence goes with them. */
  attempts: 'slipway.dev/attempts',
  /** `slipway`: the Job was made suspended because its type had no room, and Slipway starts it. Whom anybody else suspends, they resume. */
  suspendedBy: 'slipway.dev/suspended-by',
  /** Set by whoever wants the task cancelled; its value is the reason. */
  cancel: 'slipway.dev/cancel',
  /** The container groups that the task has had, one for each attempt, on a Job that runs on Azure Container Instances. */
  groups: 'slipway.dev/groups',
  /** The attempt whose container group is to be removed because it does not start, and whether that uses it up. */
  removeGroup: 'slipway.dev/remove-group',
  /** The image that a CI task builds and tests, with its tag. */
  ciImage: 'slipway.dev/ci-image',
  /** Seconds that the tests of a CI task may run, once they do. */
  testTimeout: 'slipway.dev/test-timeout',
  /** Of a CI task: seconds that clone and build may take together. */
  buildTimeout: 'slipway.dev/build-timeout',
  outcome: 'slipway.dev/outcome',
  /** What a second of the task takes, and has cost when the Job was made. */
  rate: 'slipway.dev/rate',
  /** What all of its attempts have taken. */
  usage: 'slipway.dev/usage',
  poisoned: 'slipway.dev/poisoned',
  settled: 'slipway.dev/settled',
} as const;

/** Annotations of the pod, which the container reads by fieldRef: plain env values would be expanded by Kubernetes. */
export const POD_ANNOTATION = {
  taskData: 'slipway.dev/task-data',
  taskId: 'slipway.dev/task-id',
  taskType: 'slipway.dev/task-type',
  rate: 'slipway.dev/rate',
  /** What the sidecar of a CI task is to collect, as JSON. */
  ciCollect: 'slipway.dev/ci-collect',
} as const;

/** `app.kubernetes.io/managed-by`: the watch selects by it, not by release, so that a release installed anew adopts what runs. */
export const MANAGED_BY = 'slipway';
/** `spec.managedBy` of a Job that runs on Azure Container Instances: Kubernetes' own controller leaves it alone. */
export const ACI_MANAGER = 'slipway.dev/aci';
/** Tags of a container group. Tag names must have none of < > % & \ ? / and dots are kept out for the sake of queries. */
export const TAG = {
  installation: 'slipway-installation',
  namespace: 'slipway-namespace',
  job: 'slipway-job',
  /** The Job's uid. */
  jobUid: 'slipway-job-uid',
  message: 'slipway-message',
  queue: 'slipway-queue',
  attempt: 'slipway-attempt',
  /** Hash of what the group was made of, without its secrets' values. */
  spec: 'slipway-spec',
} as const;
/** Value of `ANNOTATION.suspendedBy`. */
export const SUSPENDED_BY = 'slipway';
/** The container of the pod that runs the task; its exit code and termination message count, no other's. */
export const TASK_CONTAINER = 'task';

/** The longest client name whose poison queue, `{client}-tasks-poison`, fits into the 63 characters of a queue name. */
export const MAX_CLIENT_LENGTH = 50;

/**
 * The name of a message's Job (and, on ACI, container group): `<client>-<type>-<hash>`, at most 52 characters, a DNS label.
 *
 * A function of account, queue and message id alone as far as uniqueness goes; client and type are there for people.
 *
 * @param taskType the raw `task_type` of the message, '' when it has none
 */
export function jobName(ref: MessageRef, taskType: string): string {
  const hash = base32(createHash('sha256').update(`${ref.account}\n${ref.queue}\n${ref.messageId}`).digest()).slice(
    0,
    12,
  );
  return [readable(clientOf(ref.queue) ?? ref.queue, 'queue'), readable(taskType, 'task'), hash].join('-');
}

/** The client of a queue named `{client}-tasks`; undefined for a queue named otherwise, whose client the configuration must give. */
export function clientOf(queue: string): string | undefined {
  return /^(.+)-tasks$/.exec(queue)?.[1];
}

/** The poison queue of a task queue: Azure Functions' convention. */
export function poisonQueueOf(queue: string): string {
  return `${queue}-poison`;
}

/**
 * An installation's identity: 12 characters from account, release namespace and the configured suffix. It does not depend on the
 * release's name and needs no cluster-wide right.
 */
export function installationId(account: string, namespace: string, suffix: string): string {
  return base32(createHash('sha256').update(`${account}\n${namespace}\n${suffix}`).digest()).slice(0, 12);
}

/** The Lease by which an installation's replicas agree on the one that works. */
export function leaderLeaseName(installation: string): string {
  return `slipway-${installation}`;
}

/**
 * A label value for any text: itself when it is a valid one, else its valid characters and a hash of the whole, at most 63 characters.
 */
export function labelValue(text: string): string {
  if (/^([a-z0-9]([a-z0-9._-]*[a-z0-9])?)?$/i.test(text) && text.length <= 63) return text;
  const hash = base32(createHash('sha256').update(text).digest()).slice(0, 8);
  const kept = text
    .replace(/[^a-z0-9._-]+/gi, '-')
    .slice(0, 54)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, '');
  return kept === '' ? hash : `${kept}-${hash}`;
}

function readable(text: string, fallback: string): string {
  const kept = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 16)
    .replace(/^-+|-+$/g, '');
  return kept === '' ? fallback : kept;
}

// Lower-case RFC 4648 alphabet: valid in DNS labels.
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >> (bits - 5)) & 31];
  }
  return text;
}
