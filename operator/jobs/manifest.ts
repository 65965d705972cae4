/** A task as a Kubernetes Job. Pure; golden-tested. */
import type {
  V1Container,
  V1EnvVar,
  V1Job,
  V1PodFailurePolicyRule,
  V1PodSecurityContext,
  V1PodSpec,
  V1PodTemplateSpec,
  V1SecurityContext,
} from '@kubernetes/client-node';
import {
  ACI_MANAGER,
  ANNOTATION,
  jobName,
  LABEL,
  labelValue,
  MANAGED_BY,
  POD_ANNOTATION,
  STATE,
  SUSPENDED_BY,
  TASK_CONTAINER,
} from '../../contract/identity.ts';
import type { FoundEncoding } from '../../contract/message.ts';
import { PERMANENT_EXITS, REPORT_TO_STDOUT, RUNNER_ENV, TERMINATION_LOG_ENV } from '../../contract/runner-abi.ts';
import { rateOf } from '../../contract/usage.ts';
import { webhookIdBase } from '../../contract/webhook.ts';
import { iso } from '../../lib/clock.ts';
import { quantity } from '../../lib/quantity.ts';
import type { ReceivedMessage } from '../../queue/service.ts';
import { groupSize } from '../aci/size.ts';
import type { CiBuild } from '../ci/payload.ts';
import { ciAnnotations, ciLabels, ciPod } from '../ci/pod.ts';
import type { TaskPolicy } from '../config.ts';
import { patchTemplate } from './template-patch.ts';

/** A well-formed task in hand, and everything that its Job is made of. */
export interface TaskInHand {
  readonly account: string;
  readonly queue: string;
  readonly client: string;
  readonly message: Omit<ReceivedMessage, 'text'>;
  readonly taskId: string;
  readonly taskType: string;
  /** The decoded message text. */
  readonly taskData: string;
  readonly encoding: FoundEncoding;
  readonly webhookUrl: string | undefined;
  /** Its type has no room: the Job is made suspended, and Slipway starts it later. */
  readonly held?: boolean;
  /** What it builds and tests, where its type is a CI type. */
  readonly ci?: CiBuild;
}

/** What all Jobs of an installation share. */
export interface ManifestContext {
  readonly namespace: string;
  readonly instance: string;
  readonly installation: string;
  readonly configHash: string;
}

/**
 * The Job of a task. A function of its arguments: the same task gives the same Job.
 *
 * @throws Error when the type is a CI type and the task has no build
 */
export function manifest(task: TaskInHand, policy: TaskPolicy, context: ManifestContext): V1Job {
  const ref = { account: task.account, queue: task.queue, messageId: task.message.id };
  const labels = {
    [LABEL.name]: 'slipway',
    [LABEL.instance]: labelValue(context.instance),
    [LABEL.component]: 'task',
    [LABEL.managedBy]: MANAGED_BY,
    [LABEL.client]: labelValue(task.client),
    [LABEL.taskType]: labelValue(task.taskType),
    [LABEL.taskId]: labelValue(task.taskId),
    [LABEL.queue]: labelValue(task.queue),
    [LABEL.backend]: policy.backend,
    [LABEL.installation]: context.installation,
    ...(policy.ci === undefined ? {} : ciLabels({ ci: policy.ci })),
  };
  const { template, rate } = withRate(podTemplate(task, policy, labels, webhookIdBase(ref)), policy);
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: jobName(ref, task.taskType),
      namespace: policy.ci?.namespace ?? context.namespace,
      labels: { ...labels, [LABEL.state]: STATE.active },
      annotations: {
        ...deliveryAnnotations(task.message),
        [ANNOTATION.account]: task.account,
        [ANNOTATION.queue]: task.queue,
        [ANNOTATION.client]: task.client,
        [ANNOTATION.messageId]: task.message.id,
        [ANNOTATION.expiresOn]: iso(task.message.expiresOn),
        [ANNOTATION.insertedOn]: iso(task.message.insertedOn),
        [ANNOTATION.encoding]: task.encoding,
        [ANNOTATION.configHash]: context.configHash,
        [ANNOTATION.startTimeout]: String(policy.startTimeoutSeconds),
        [ANNOTATION.unschedulableTimeout]: String(policy.unschedulableTimeoutSeconds),
        [ANNOTATION.security]: policy.security,
        [ANNOTATION.webhookMode]: webhookMode(policy),
        [ANNOTATION.rate]: rate,
        ...(task.ci === undefined
          ? {}
          : {
              [ANNOTATION.ciImage]: task.ci.image,
              [ANNOTATION.buildTimeout]: String(policy.ci?.builder.timeoutSeconds),
              [ANNOTATION.testTimeout]: String(policy.timeoutSeconds),
            }),
        ...(task.webhookUrl === undefined ? {} : { [ANNOTATION.webhookUrl]: task.webhookUrl }),
        ...(task.held === true ? { [ANNOTATION.suspendedBy]: SUSPENDED_BY } : {}),
      },
    },
    spec: {
      ...(policy.backend === 'aci' ? { managedBy: ACI_MANAGER } : {}),
      completions: 1,
      parallelism: 1,
      ...(task.held === true ? { suspend: true } : {}),
      backoffLimit: policy.attempts - 1,
      activeDeadlineSeconds: jobDeadlineSeconds(policy),
      // No ttlSecondsAfterFinished: it is patched in when the task is settled, so that the record outlives every step of settling.
      podFailurePolicy: {
        rules: [
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          ...finalExits(policy),
        ],
      },
      template,
    },
  };
}

/** Exit codes after which there is no other attempt. Without containerName an init container's exit code would match too. */
function finalExits({ ci }: TaskPolicy): V1PodFailurePolicyRule[] {
  const final = (operator: string, values: number[]): V1PodFailurePolicyRule => ({
    action: 'FailJob',
    onExitCodes: { containerName: TASK_CONTAINER, operator, values },
  });
  if (ci === undefined) return [final('In', [...PERMANENT_EXITS])];
  // Tests that ran have given their result, whatever it is.
  return ci.test.retry ? [] : [final('NotIn', [0])];
}

/** The annotations that change with every receipt of the message. */
export function deliveryAnnotations(
  message: Pick<ReceivedMessage, 'popReceipt' | 'leaseUntil' | 'dequeueCount'>,
): Record<string, string> {
  return {
    [ANNOTATION.popReceipt]: message.popReceipt,
    [ANNOTATION.leaseUntil]: iso(message.leaseUntil),
    [ANNOTATION.dequeueCount]: String(message.dequeueCount),
  };
}

/** Seconds from a pod's start to its end by force: it counts image pull and init containers too. */
export function podDeadlineSeconds(policy: TaskPolicy): number {
  const building = policy.ci?.builder.timeoutSeconds ?? 0;
  return policy.startTimeoutSeconds + building + policy.timeoutSeconds + policy.graceSeconds;
}

/** Seconds that all attempts of a task may take, waiting, back-offs and an hour for disruptions included. */
export function jobDeadlineSeconds(policy: TaskPolicy): number {
  let backoffs = 0;
  for (let failures = 1; failures < policy.attempts; failures++) backoffs += Math.min(600, 10 * 2 ** (failures - 1));
  return policy.attempts * (podDeadlineSeconds(policy) + policy.unschedulableTimeoutSeconds) + backoffs + 3600;
}

/** Who reports, as it stands on the Job: `runner` (its reports are trusted), `exit-0` (a foreign image that is trusted when it exits 0), `operator`, `none`. */
export type WebhookMode = 'runner' | 'exit-0' | 'operator' | 'none';

function webhookMode(policy: TaskPolicy): WebhookMode {
  if (policy.webhook === 'operator') return 'operator';
  if (policy.webhook === 'task') return 'none';
  return policy.runner === 'slipway' ? 'runner' : 'exit-0';
}

function podTemplate(
  task: TaskInHand,
  policy: TaskPolicy,
  labels: Record<string, string>,
  webhookBase: string,
): V1PodTemplateSpec {
  const template: V1PodTemplateSpec = {
    metadata: {
      labels,
      annotations: {
        [POD_ANNOTATION.taskData]: task.taskData,
        [POD_ANNOTATION.taskId]: task.taskId,
        [POD_ANNOTATION.taskType]: task.taskType,
        ...(task.ci === undefined || policy.ci === undefined ? {} : ciAnnotations(task.ci.task, { ci: policy.ci })),
      },
    },
    spec: {
      restartPolicy: 'Never',
      activeDeadlineSeconds: podDeadlineSeconds(policy),
      terminationGracePeriodSeconds: policy.graceSeconds,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(policy.serviceAccountName === undefined ? {} : { serviceAccountName: policy.serviceAccountName }),
      ...(policy.nodeSelector === undefined ? {} : { nodeSelector: policy.nodeSelector }),
      ...(policy.tolerations === undefined ? {} : { tolerations: policy.tolerations }),
      ...containersOf(task, policy, webhookBase),
    },
  };
  // The result is what the API server judges: a patch that breaks the template is found by the dry run at start.
  return policy.podTemplate === undefined
    ? template
    : (patchTemplate(template, policy.podTemplate) as V1PodTemplateSpec);
}

/** What runs in the pod, and under which rights. */
function containersOf(task: TaskInHand, policy: TaskPolicy, webhookBase: string): Omit<V1PodSpec, 'restartPolicy'> {
  const { ci } = policy;
  if (ci !== undefined) {
    if (task.ci === undefined) throw new Error(`a task of the CI type ${policy.type} has no build`);
    return ciPod(task.ci.task, task.ci.image, task.client, { ...policy, ci });
  }
  return {
    ...(policy.imagePullSecrets.length === 0
      ? {}
      : { imagePullSecrets: policy.imagePullSecrets.map((name) => ({ name })) }),
    securityContext: podSecurity(policy),
    containers: [taskContainer(task, policy, webhookBase)],
    volumes: [{ name: 'tmp', emptyDir: {} }],
  };
}

/** What a second of the task takes, by what the template asks for after all. It stands on the pod too, for our runner to read. */
function withRate(template: V1PodTemplateSpec, { backend, prices }: TaskPolicy) {
  const rate = JSON.stringify(sizeRate(template.spec, backend, prices));
  const annotations = { ...template.metadata?.annotations, [POD_ANNOTATION.rate]: rate };
  return { rate, template: { ...template, metadata: { ...template.metadata, annotations } } };
}

function sizeRate(spec: V1PodSpec | undefined, backend: TaskPolicy['backend'], prices: TaskPolicy['prices']) {
  if (backend === 'aci') {
    const { cpu, memoryInGB } = groupSize(spec?.containers.find(({ name }) => name === TASK_CONTAINER)?.resources);
    return rateOf(cpu, memoryInGB, prices);
  }
  return rateOf(askedOf(spec, 'cpu'), askedOf(spec, 'memory') / 2 ** 30, prices);
}

/**
 * What a node keeps free for the pod, as the scheduler counts: its containers and sidecars together, or the init container that asks for
 * the most beside the sidecars that began before it.
 */
function askedOf({ containers = [], initContainers = [] }: Partial<V1PodSpec> = {}, resource: string): number {
  const asked = ({ resources }: V1Container) =>
    quantity(resources?.requests?.[resource] ?? resources?.limits?.[resource]) ?? 0;
  let sidecars = 0;
  let most = 0;
  for (const container of initContainers) {
    if (container.restartPolicy === 'Always') sidecars += asked(container);
    else most = Math.max(most, sidecars + asked(container));
  }
  return Math.max(most, sidecars + containers.reduce((sum, one) => sum + asked(one), 0));
}

function taskContainer(task: TaskInHand, policy: TaskPolicy, webhookBase: string): V1Container {
  const { cpu, memory, ephemeralStorage } = policy.resources;
  const storage = ephemeralStorage === undefined ? {} : { 'ephemeral-storage': ephemeralStorage };
  return {
    name: TASK_CONTAINER,
    image: policy.image,
    imagePullPolicy: policy.imagePullPolicy,
    ...(policy.command === undefined ? {} : { command: policy.command }),
    ...(policy.args === undefined ? {} : { args: policy.args }),
    env: [...slipwayEnv(task, policy, webhookBase), ...(policy.env as V1EnvVar[])],
    ...(policy.envFrom.length === 0 ? {} : { envFrom: policy.envFrom as NonNullable<V1Container['envFrom']> }),
    resources: { requests: { cpu, memory, ...storage }, limits: { memory, ...storage } },
    securityContext: containerSecurity(policy),
    // What a foreign image printed last tells whether it lacked a right; our runner writes its own message.
    ...(policy.runner === 'foreign' ? { terminationMessagePolicy: 'FallbackToLogsOnError' } : {}),
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
  };
}

const TASK_USER = 65532;

/** Under `baseline` the image's own user runs, root included. */
function podSecurity({ security }: TaskPolicy): V1PodSecurityContext {
  const seccompProfile = { type: 'RuntimeDefault' };
  if (security === 'baseline') return { seccompProfile };
  return { runAsNonRoot: true, runAsUser: TASK_USER, runAsGroup: TASK_USER, fsGroup: TASK_USER, seccompProfile };
}

/** A foreign image was not written for a read-only root; Pod Security `restricted` does not ask for it. */
function containerSecurity({ security, runner }: TaskPolicy): V1SecurityContext {
  if (security === 'baseline') return { allowPrivilegeEscalation: false };
  return {
    allowPrivilegeEscalation: false,
    ...(runner === 'slipway' ? { readOnlyRootFilesystem: true } : {}),
    capabilities: { drop: ['ALL'] },
  };
}

/**
 * What Slipway tells the task. Texts from the message go by fieldRef: Kubernetes expands `$(NAME)` and `$$` in plain values, so a payload
 * could read a secret of its container, and would not arrive byte for byte.
 */
function slipwayEnv(task: TaskInHand, policy: TaskPolicy, webhookBase: string): V1EnvVar[] {
  const { format, allow, signingSecret } = policy.webhookSettings;
  const fromAnnotation = (name: string, annotation: string): V1EnvVar => ({
    name,
    valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${annotation}']` } },
  });
  const env: V1EnvVar[] = [
    fromAnnotation(RUNNER_ENV.taskData, POD_ANNOTATION.taskData),
    fromAnnotation(RUNNER_ENV.taskId, POD_ANNOTATION.taskId),
    fromAnnotation(RUNNER_ENV.taskType, POD_ANNOTATION.taskType),
    { name: RUNNER_ENV.clientId, value: task.client },
    { name: RUNNER_ENV.taskTimeout, value: String(policy.timeoutSeconds) },
    { name: RUNNER_ENV.maxAttempts, value: String(policy.attempts) },
    { name: RUNNER_ENV.webhookId, value: webhookBase },
  ];
  if (policy.runner === 'foreign') return env;
  env.push(fromAnnotation(RUNNER_ENV.rate, POD_ANNOTATION.rate));
  if (policy.backend === 'aci') env.push({ name: TERMINATION_LOG_ENV, value: REPORT_TO_STDOUT });
  env.push({ name: RUNNER_ENV.webhookFormat, value: format });
  if (allow.length > 0) env.push({ name: RUNNER_ENV.webhookAllow, value: allow.join(',') });
  if (signingSecret !== undefined)
    env.push({ name: RUNNER_ENV.webhookSecret, valueFrom: { secretKeyRef: signingSecret } });
  return env;
}
