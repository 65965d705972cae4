/** A Job from its start to its end: pods one after another, until one succeeds or no further one may be started. */
import type { Clock } from '../../lib/clock.ts';
import { JOB_NAME_LABEL } from '../jobs/records.ts';
import { LONGEST_TIMER_MS, type RunPod, runToEnd } from './kubelet.ts';
import { type Condition, type FailureRule, type LocalJob, type LocalPod, timestamp } from './objects.ts';
import type { Table } from './table.ts';

/** The label on a Job's pods that tells which Job of that name made them. */
export const CONTROLLER_UID_LABEL = 'batch.kubernetes.io/controller-uid';

/** What the controller works with. */
export interface JobControllerTools {
  readonly clock: Clock;
  readonly jobs: Table<LocalJob>;
  readonly pods: Table<LocalPod>;
  readonly runPod: RunPod;
  /** Another one at each call. */
  readonly nextUid: () => string;
  /** Milliseconds before the next pod, after so many have failed. */
  readonly backoffMs: (failedPods: number) => number;
}

/**
 * Runs a Job to its end.
 *
 * @param stop the Job is deleted: its pod is ended and removed
 */
export async function runJob(tools: JobControllerTools, job: LocalJob, stop: AbortSignal): Promise<void> {
  const { clock, jobs, pods } = tools;
  const { spec } = job;
  if (spec.suspend || spec.parallelism === 0) return;
  let status: LocalJob['status'] = { startTime: timestamp(clock.now()) };
  const tell = (change: LocalJob['status']) => {
    status = { ...status, ...change };
    jobs.setStatus(job, status);
  };
  const end = (type: 'Complete' | 'Failed', reason: string, message: string, more: LocalJob['status'] = {}) => {
    const at = timestamp(clock.now());
    const conditions: Condition[] = [{ type, status: 'True', reason, message, lastTransitionTime: at }];
    tell({ ...more, ...(type === 'Complete' ? { completionTime: at } : {}), active: 0, conditions });
  };
  const endEarly = () => {
    if (!stop.aborted) end('Failed', 'DeadlineExceeded', 'Job was active longer than specified deadline');
  };
  const limitMs = Math.min(LONGEST_TIMER_MS, (spec.activeDeadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000);
  const stopping = clock.deadline(limitMs, stop);

  for (let failures = 0, failed = 0; ; ) {
    const pod = pods.put(newPod(job, tools.nextUid(), timestamp(clock.now())));
    tell({ active: 1 });
    const kubelet = { ...tools, setStatus: (changed: LocalPod['status']) => pods.setStatus(pod, changed) };
    const ended = await runToEnd(pod, kubelet, stopping);
    if (stopping.aborted) {
      pods.remove(pod);
      return endEarly();
    }
    if (ended.phase === 'Succeeded')
      return end('Complete', 'CompletionsReached', 'Reached expected number of succeeded pods', { succeeded: 1 });

    const index = spec.podFailurePolicy.rules.findIndex((rule) => fits(rule, ended));
    const action = spec.podFailurePolicy.rules[index]?.action ?? 'Count';
    if (action !== 'Ignore') failures++;
    failed++;
    if (action === 'FailJob') return end('Failed', 'PodFailurePolicy', failedBy(index, pod, ended), { failed });
    if (failures > spec.backoffLimit)
      return end('Failed', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit', { failed });
    tell({ active: 0, failed });
    await clock.sleep(tools.backoffMs(failed), stopping);
    if (stopping.aborted) return endEarly();
  }
}

/** Whether a rule of the pod failure policy is about this end of a pod. */
function fits({ onExitCodes, onPodConditions = [] }: FailureRule, pod: LocalPod['status']): boolean {
  if (onExitCodes === undefined)
    return onPodConditions.some(({ type, status }) =>
      pod.conditions?.some((one) => one.type === type && one.status === status),
    );
  const { containerName, operator, values } = onExitCodes;
  return pod.containerStatuses.some(({ name, state }) => {
    // A container that ended with 0 has not failed, whatever the pod did.
    if (!('terminated' in state) || state.terminated.exitCode === 0) return false;
    if (containerName !== undefined && containerName !== name) return false;
    return values.includes(state.terminated.exitCode) === (operator === 'In');
  });
}

function failedBy(index: number, { metadata }: LocalPod, { containerStatuses }: LocalPod['status']): string {
  const [container] = containerStatuses;
  const exitCode = container !== undefined && 'terminated' in container.state ? container.state.terminated.exitCode : 0;
  return `Container ${container?.name} for pod ${metadata.namespace}/${metadata.name} failed with exit code ${exitCode} matching FailJob rule at index ${index}`;
}

function newPod({ metadata, spec }: LocalJob, uid: string, now: string): LocalPod {
  const { template } = spec;
  const [container] = template.spec.containers;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${metadata.name}-${uid.slice(-5)}`,
      namespace: metadata.namespace,
      uid,
      resourceVersion: '',
      creationTimestamp: now,
      labels: { ...template.metadata.labels, [JOB_NAME_LABEL]: metadata.name, [CONTROLLER_UID_LABEL]: metadata.uid },
      annotations: template.metadata.annotations,
    },
    spec: template.spec,
    status: {
      phase: 'Pending',
      startTime: now,
      containerStatuses: [{ name: container.name, state: { waiting: { reason: 'ContainerCreating', message: '' } } }],
    },
  };
}
