/** A pod from its start to its end, with the statuses that a kubelet gives it on the way. What its container does is `RunPod`'s affair. */
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import { type Condition, type ContainerState, type LocalPod, timestamp } from './objects.ts';

/** How a container ended. */
export interface ContainerEnd {
  readonly exitCode: number;
  /** Default: `Completed` for 0, else `Error`. */
  readonly reason?: string;
  /** The termination message. */
  readonly message?: string;
  /** The pod was taken away (a drain, an eviction by API): such an end uses up no attempt. */
  readonly disrupted?: boolean;
}

/** What a container is told, and what it tells. */
export interface ContainerLife {
  /** Aborts when the container is to end: SIGTERM now, SIGKILL when the pod's grace period is over. */
  readonly stopping: AbortSignal;
  /** The container runs. */
  started(): void;
  /** The container cannot be started, for one of Kubernetes' reasons such as ErrImagePull. */
  waiting(reason: string, message: string): void;
}

/**
 * Runs the container of a pod. Gives its end; undefined when it never started and is to stop. A throw is a container that could not be
 * started.
 */
export type RunPod = (pod: LocalPod, life: ContainerLife) => Promise<ContainerEnd | undefined>;

/** What a kubelet works with. */
export interface KubeletTools {
  readonly clock: Clock;
  readonly runPod: RunPod;
  /** Takes each new status, and gives it as it is stored: with the conditions that others have set. */
  readonly setStatus: (status: LocalPod['status']) => LocalPod['status'];
}

/** The longest timer that there is: about 25 days. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Runs a pod. Its own deadline ends it as `DeadlineExceeded`.
 *
 * @param stop the pod is deleted: its container is to end, and whoever deletes it removes it then
 * @returns its last status
 */
export async function runToEnd(pod: LocalPod, tools: KubeletTools, stop: AbortSignal): Promise<LocalPod['status']> {
  const { clock, runPod, setStatus } = tools;
  const { activeDeadlineSeconds, containers } = pod.spec;
  const limitMs = Math.min(LONGEST_TIMER_MS, (activeDeadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000);
  const stopping = clock.deadline(limitMs, stop);
  const at = () => timestamp(clock.now());
  let startedAt: string | undefined;
  const { startTime = at() } = pod.status;
  const tell = (
    status: Pick<LocalPod['status'], 'phase' | 'reason' | 'message'>,
    state: ContainerState,
    ...set: Condition[]
  ) => setStatus({ ...status, startTime, conditions: set, containerStatuses: [{ name: containers[0].name, state }] });
  const end = await runPod(pod, {
    stopping,
    started: () => {
      startedAt = at();
      tell({ phase: 'Running' }, { running: { startedAt } });
    },
    waiting: (reason, message) => void tell({ phase: 'Pending' }, { waiting: { reason, message } }),
  }).catch((error: unknown) => ({ exitCode: 128, reason: 'StartError', message: messageOf(error), disrupted: false }));

  const timedOut = stopping.aborted && !stop.aborted;
  return tell(
    {
      phase: end?.exitCode === 0 && !timedOut ? 'Succeeded' : 'Failed',
      ...(timedOut ? DEADLINE_EXCEEDED : {}),
    },
    { terminated: end === undefined ? NEVER_STARTED : terminated(end, startedAt ?? EPOCH, at()) },
    ...(end?.disrupted ? [evicted(at())] : []),
  );
}

const EPOCH = '1970-01-01T00:00:00Z';
const DEADLINE_EXCEEDED = {
  reason: 'DeadlineExceeded',
  message: 'Pod was active on the node longer than the specified deadline',
};
/** What a kubelet writes for a container of an ended pod that it knows nothing of. */
const NEVER_STARTED = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was terminated',
  startedAt: null,
  finishedAt: null,
};

function terminated({ exitCode, reason, message = '' }: ContainerEnd, startedAt: string, finishedAt: string) {
  return { exitCode, reason: reason ?? (exitCode === 0 ? 'Completed' : 'Error'), message, startedAt, finishedAt };
}

/** The condition of a pod that was evicted by API. */
export function evicted(at: string): Condition {
  return {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: at,
  };
}
