/** Jobs, pods and configurations to test with: complete, plausible, and changed where a test says so. */
import { ANNOTATION, LABEL, STATE } from '#/contract/identity.ts';
import { iso } from '#/lib/clock.ts';
import type { Caps } from '#/operator/admission/slots.ts';
import { type Config, parseConfig, policyFor, type TaskPolicy } from '#/operator/config.ts';
import type { TaskInHand } from '#/operator/jobs/manifest.ts';
import {
  JOB_NAME_LABEL,
  type JobEnd,
  type JobRecord,
  type PodRecord,
  podRecord,
  type RawPod,
} from '#/operator/jobs/records.ts';
import { type Behaviour, podStatus } from '#/testing/pod-status.ts';
import { EPOCH } from '#/testing/virtual-clock.ts';

export const ACCOUNT = 'devstoreaccount1';
const MESSAGE_ID = '3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f';
export const WEBHOOK_URL = 'https://backend.example/hook';

/** A configuration by its YAML, less what every configuration needs. */
export function testConfig(yaml = 'taskTypes: { echo: {} }', env: NodeJS.ProcessEnv = {}): Config {
  const queues = yaml.includes('queues:') ? '' : 'queues: [{ name: acme-tasks }]\n';
  const runner = yaml.includes('runner: {') ? '' : 'runner: { image: registry.example/runner:1 }\n';
  return parseConfig(`${queues}${runner}${yaml}`, {
    AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true',
    SLIPWAY_NAMESPACE: 'slipway',
    ...env,
  });
}

/** The policy of a task type, which must be there. */
export function testPolicy(config: Config, type: string): TaskPolicy {
  const policy = policyFor(config, type);
  if (policy === undefined) throw new Error(`no task type ${type}`);
  return policy;
}

/** One cap for all, and a task type by the Job's label. */
export function testCaps(total: number): Caps {
  return {
    total,
    ofClient: () => Number.POSITIVE_INFINITY,
    ofType: () => Number.POSITIVE_INFINITY,
    heldPerQueue: Number.POSITIVE_INFINITY,
    typeOf: ({ labels }) => labels[LABEL.taskType],
  };
}

/** A task of type echo. */
export function testTask(changes: Partial<TaskInHand> = {}): TaskInHand {
  return {
    account: ACCOUNT,
    queue: 'acme-tasks',
    client: 'acme',
    message: {
      id: MESSAGE_ID,
      popReceipt: 'receipt-1',
      dequeueCount: 1,
      insertedOn: EPOCH,
      expiresOn: EPOCH + 7 * 86_400_000,
      leaseUntil: EPOCH + 60_000,
    },
    taskId: 't-1',
    taskType: 'echo',
    taskData: '{"task_id":"t-1","task_type":"echo"}',
    encoding: 'plain',
    webhookUrl: undefined,
    ...changes,
  };
}

/** A running Job of the task above. */
export function testJob(changes: Partial<JobRecord> = {}): JobRecord {
  const { annotations, labels, ...rest } = changes;
  return {
    name: 'acme-echo-abcdefghijkl',
    namespace: 'slipway',
    uid: 'uid-1',
    resourceVersion: '100',
    labels: { [LABEL.state]: STATE.active, [LABEL.taskType]: 'echo', ...labels },
    annotations: {
      [ANNOTATION.account]: ACCOUNT,
      [ANNOTATION.queue]: 'acme-tasks',
      [ANNOTATION.client]: 'acme',
      [ANNOTATION.messageId]: MESSAGE_ID,
      [ANNOTATION.popReceipt]: 'receipt-1',
      [ANNOTATION.leaseUntil]: iso(EPOCH + 60_000),
      [ANNOTATION.expiresOn]: iso(EPOCH + 7 * 86_400_000),
      [ANNOTATION.insertedOn]: iso(EPOCH),
      [ANNOTATION.encoding]: 'plain',
      [ANNOTATION.webhookMode]: 'runner',
      ...annotations,
    },
    createdAt: EPOCH,
    startedAt: EPOCH,
    deleting: false,
    suspended: false,
    parallelism: 1,
    attempts: 3,
    deadlineSeconds: 18_000,
    end: undefined,
    ttlSeconds: undefined,
    settled: false,
    managed: undefined,
    ...rest,
  };
}

/** How the Job ended, at the moment that recorded pod statuses carry. */
export const COMPLETE: JobEnd = { kind: 'complete', at: EPOCH, reason: 'CompletionsReached', message: 'reached' };
export const FAILED: JobEnd = { kind: 'failed', at: EPOCH, reason: 'BackoffLimitExceeded', message: 'limit reached' };

/** A pod of the Job above in a state that a real kubelet gave. `attempt` tells the order of its pods. */
export function testPod(behaviour: Behaviour, attempt = 1, jobName = 'acme-echo-abcdefghijkl'): PodRecord {
  const raw: RawPod = {
    metadata: {
      name: `${jobName}-${attempt}`,
      uid: `uid-${jobName}-${attempt}`,
      creationTimestamp: iso(EPOCH + attempt * 1000),
      labels: { [JOB_NAME_LABEL]: jobName },
    },
    status: podStatus(behaviour),
  };
  return podRecord(raw);
}
