/** A Job from its start to its end: pods one after another, until one succeeds or no further one may be started. */
import type { Clock } from '../../lib/clock.ts';
import { Wakeup } from '../../lib/wakeup.ts';
import { verdictOn } from '../jobs/failure-policy.ts';
import { LONGEST_TIMER_MS } from './kubelet.ts';
import { type Condition, type LocalJob, type LocalPod, timestamp } from './objects.ts';
import type { Pods } from './pods.ts';
import type { Table } from './table.ts';

/** What the controller works with. */
export interface JobControllerTools {
  readonly clock: Clock;
  readonly jobs: Table<LocalJob>;
  readonly pods: Pods;
  /** Whether a pod of the Job may be made now. The controller tells why it may not. */
  readonly mayMakePod: (job: LocalJob) => boolean;
  /** Milliseconds before the next pod, after so many have failed. */
  readonly backoffMs: (failedPods: number) => number;
}

/** A Job that is being run. */
export interface JobRun {
  /** The Job has changed: it is looked at again. */
  readonly changed: () => void;
  /** Resolves when the Job has ended, or is gone and its pods are. */
  readonly ended: Promise<void>;
}

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/**
 * Runs a Job to its end.
 *
 * @param stop the Job is deleted, and so are its pods
 */
export function runJob(tools: JobControllerTools, job: LocalJob, stop: AbortSignal): JobRun {
  const wakeup = new Wakeup();
  return { changed: () => wakeup.wake(), ended: control(tools, job, wakeup, stop) };
}

async function control(tools: JobControllerTools, job: LocalJob, wakeup: Wakeup, stop: AbortSignal): Promise<void> {
  const { clock, jobs, pods } = tools;
  let { spec, status } = job;
  let suspended = spec.suspend;
  /** This, and all moments below, on the monotonic clock; undefined before the first start. */
  let startedAt: number | undefined;
  let nextPodAt = clock.monotonic();
  let [counted, failed, refusals] = [0, 0, 0];

  const tell = (change: LocalJob['status']) => {
    status = { ...status, ...change };
    jobs.setStatus(job, status);
  };
  const end = (type: 'Complete' | 'Failed', reason: string, message: string, more: LocalJob['status'] = {}) => {
    const at = timestamp(clock.now());
    const conditions: Condition[] = [{ type, status: 'True', reason, message, lastTransitionTime: at }];
    tell({ ...more, ...(type === 'Complete' ? { completionTime: at } : {}), active: 0, conditions });
  };
  const endLate = () => end('Failed', 'DeadlineExceeded', 'Job was active longer than specified deadline');
  const begin = () => {
    startedAt = clock.monotonic();
    suspended = false;
    tell({ startTime: timestamp(clock.now()) });
  };
  const leftMs = () =>
    spec.suspend || startedAt === undefined || spec.activeDeadlineSeconds === undefined
      ? Number.POSITIVE_INFINITY
      : startedAt + spec.activeDeadlineSeconds * 1000 - clock.monotonic();
  /** Waits for a change of the Job, for its deadline, or for `ms`. */
  const wait = async (ms = LONGEST_TIMER_MS) => {
    await wakeup.sleep(Math.min(ms, leftMs(), LONGEST_TIMER_MS), clock, stop);
    const current = jobs.get(job.metadata.name);
    if (current?.metadata.uid === job.metadata.uid) spec = current.spec;
  };

  while (!stop.aborted) {
    if (spec.suspend) {
      suspended = true;
      await wait();
      continue;
    }
    if (startedAt === undefined) begin();
    // A resumed Job is judged by its old start first, and only then gets a new one: so does Kubernetes.
    if (leftMs() <= 0) return endLate();
    if (suspended) begin();
    const backoffMs = nextPodAt - clock.monotonic();
    if (spec.parallelism === 0 || backoffMs > 0) {
      await wait(spec.parallelism === 0 ? undefined : backoffMs);
      continue;
    }
    if (!tools.mayMakePod(job)) {
      await wait(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** refusals++));
      continue;
    }
    refusals = 0;

    const pod = pods.make(job);
    tell({ active: 1 });
    let over = false;
    const running = pods.run(pod).finally(() => {
      over = true;
      wakeup.wake();
    });
    const isLate = () => leftMs() <= 0;
    const isHeld = () => (spec.suspend || spec.parallelism === 0) && !pods.isDeleted(pod);
    while (!over && !stop.aborted && !isLate() && !isHeld()) await wait();
    const [late, withdrawn] = [isLate(), !over];
    if (withdrawn) pods.delete(pod.metadata);
    const last = await running;
    if (stop.aborted) return;
    if (withdrawn) {
      if (late) return endLate();
      tell({ active: 0 });
      continue;
    }
    if (last.phase === 'Succeeded')
      return end('Complete', 'CompletionsReached', 'Reached expected number of succeeded pods', { succeeded: 1 });

    const { action, index } = verdictOn(spec.podFailurePolicy.rules, {
      conditions: last.conditions,
      containers: last.containerStatuses.flatMap(({ name, state }) =>
        'terminated' in state ? [{ name, exitCode: state.terminated.exitCode }] : [],
      ),
    });
    if (action !== 'Ignore') counted++;
    failed++;
    if (action === 'FailJob') return end('Failed', 'PodFailurePolicy', failedBy(index, pod, last), { failed });
    if (counted > spec.backoffLimit)
      return end('Failed', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit', { failed });
    tell({ active: 0, failed });
    nextPodAt = clock.monotonic() + tools.backoffMs(failed);
  }
}

function failedBy(index: number, { metadata }: LocalPod, { containerStatuses }: LocalPod['status']): string {
  const [container] = containerStatuses;
  const exitCode = container !== undefined && 'terminated' in container.state ? container.state.terminated.exitCode : 0;
  return `Container ${container?.name} for pod ${metadata.namespace}/${metadata.name} failed with exit code ${exitCode} matching FailJob rule at index ${index}`;
}
