/** Pods from their making to their removal: what the scheduler, a node and whoever deletes them do to each. */
import type { Clock } from '../../lib/clock.ts';
import { JOB_NAME_LABEL, JOB_UID_LABEL } from '../jobs/records.ts';
import { type RunPod, runToEnd } from './kubelet.ts';
import { type Condition, type LocalJob, type LocalPod, timestamp } from './objects.ts';
import type { Table } from './table.ts';

/** What pods are made with. */
export interface PodsTools {
  readonly clock: Clock;
  readonly table: Table<LocalPod>;
  /** Another one at each call. */
  readonly nextUid: () => string;
  /** The scheduler: why a pod gets no node, in its words; undefined when it gets one. Asked again and again. */
  readonly schedule: (pod: LocalPod) => string | undefined;
  readonly runPod: RunPod;
}

/** The longest that the scheduler leaves a pod alone when something in the cluster has changed. */
const SCHEDULE_AGAIN_MS = 10_000;
const NOTHING_SEEN: LocalPod['status'] = { phase: 'Pending', conditions: [], containerStatuses: [] };

/** The pods of all Jobs. */
export class Pods {
  readonly #tools: PodsTools;
  /** What ends a pod that has not ended, by its uid. */
  readonly #underWay = new Map<string, AbortController>();

  constructor(tools: PodsTools) {
    this.#tools = tools;
  }

  /** Makes a pod of a Job; {@link run} is what it needs next. */
  make(job: LocalJob): LocalPod {
    const { table, nextUid, clock } = this.#tools;
    const pod = newPod(job, nextUid(), timestamp(clock.now()));
    this.#underWay.set(pod.metadata.uid, new AbortController());
    return table.put({ ...pod, status: this.#scheduled(pod) });
  }

  /**
   * Runs a new pod to its end, as soon as it has a node. When it is deleted on the way, it is removed at its end.
   *
   * @returns its last status
   */
  async run(pod: LocalPod): Promise<LocalPod['status']> {
    const { clock, table, runPod } = this.#tools;
    const { uid } = pod.metadata;
    const stop = this.#underWay.get(uid)?.signal ?? AbortSignal.abort();
    const setStatus = (status: LocalPod['status']) => {
      const { conditions = [] } = table.get(pod.metadata.name)?.status ?? {};
      const whole = { ...status, conditions: merge(conditions, status.conditions) };
      table.setStatus(pod, whole);
      return whole;
    };
    let { status } = pod;
    while (status.startTime === undefined && !stop.aborted) {
      await clock.sleep(SCHEDULE_AGAIN_MS, stop);
      const next = this.#scheduled(pod);
      if (!stop.aborted && unscheduledFor(next) !== unscheduledFor(status)) status = setStatus(next);
    }
    const ended =
      status.startTime === undefined
        ? setStatus({ ...NOTHING_SEEN, phase: 'Failed' })
        : await runToEnd({ ...pod, status }, { clock, runPod, setStatus }, stop);
    this.#underWay.delete(uid);
    if (stop.aborted) table.remove(pod);
    return ended;
  }

  /**
   * Deletes a pod: its container is told to end, and the pod is removed when it has. One that has ended is removed at once; nothing
   * happens when there is none of this uid.
   *
   * @param why a condition for the pod, such as DisruptionTarget
   */
  delete({ name, uid }: { readonly name: string; readonly uid: string }, ...why: readonly Condition[]): void {
    const { clock, table } = this.#tools;
    const pod = table.get(name);
    if (pod?.metadata.uid !== uid) return;
    const end = this.#underWay.get(uid);
    if (end === undefined) {
      table.remove(pod);
      return;
    }
    const { metadata, spec, status } = pod;
    if (metadata.deletionTimestamp !== undefined && why.length === 0) return;
    const graceMs = status.startTime === undefined ? 0 : spec.terminationGracePeriodSeconds * 1000;
    const { deletionTimestamp = timestamp(clock.now() + graceMs) } = metadata;
    const conditions = merge(status.conditions, why);
    table.put({ ...pod, metadata: { ...metadata, deletionTimestamp }, status: { ...status, conditions } });
    end.abort();
  }

  /** Whether a pod is gone or about to go. */
  isDeleted({ metadata: { name, uid } }: LocalPod): boolean {
    const current = this.#tools.table.get(name)?.metadata;
    return current?.uid !== uid || current.deletionTimestamp !== undefined;
  }

  /** Deletes all pods of a Job, as the garbage collector does when the Job is gone. */
  deleteAll({ metadata: { uid } }: LocalJob): void {
    for (const { metadata } of this.#tools.table.all())
      if (metadata.labels[JOB_UID_LABEL] === uid) this.delete(metadata);
  }

  /** The status of a new pod after the scheduler has looked at it. */
  #scheduled(pod: LocalPod): LocalPod['status'] {
    const now = timestamp(this.#tools.clock.now());
    const message = this.#tools.schedule(pod);
    const scheduled = { type: 'PodScheduled', lastTransitionTime: now };
    if (message !== undefined)
      return { ...NOTHING_SEEN, conditions: [{ ...scheduled, status: 'False', reason: 'Unschedulable', message }] };
    const [{ name }] = pod.spec.containers;
    return {
      phase: 'Pending',
      startTime: now,
      conditions: [{ ...scheduled, status: 'True', reason: '', message: '' }],
      containerStatuses: [{ name, state: { waiting: { reason: 'ContainerCreating', message: '' } } }],
    };
  }
}

/** A name for a new pod of a Job, as Kubernetes makes it. */
export function podName(job: LocalJob, uid: string): string {
  return `${job.metadata.name}-${uid.slice(-5)}`;
}

function newPod(job: LocalJob, uid: string, creationTimestamp: string): LocalPod {
  const { metadata, spec } = job;
  const { template } = spec;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName(job, uid),
      namespace: metadata.namespace,
      uid,
      resourceVersion: '',
      creationTimestamp,
      labels: { ...template.metadata.labels, [JOB_NAME_LABEL]: metadata.name, [JOB_UID_LABEL]: metadata.uid },
      annotations: template.metadata.annotations,
    },
    spec: template.spec,
    status: NOTHING_SEEN,
  };
}

/** What the scheduler says about a pod without a node; undefined when it has one. */
function unscheduledFor({ conditions }: LocalPod['status']): string | undefined {
  return conditions.find(({ type, status }) => type === 'PodScheduled' && status === 'False')?.message;
}

/** Conditions by type: the later one counts. */
function merge(old: readonly Condition[], changed: readonly Condition[]): Condition[] {
  const types = new Set(changed.map(({ type }) => type));
  return [...old.filter(({ type }) => !types.has(type)), ...changed];
}
