/** The tasks of a namespace as its Jobs tell them: read once, found by a name, or followed. */
import { ANNOTATION, LABEL, labelValue, MANAGED_BY } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { ownPods } from '../operator/aci/attempts.ts';
import { createKubernetesStore } from '../operator/jobs/kubernetes.ts';
import type { JobRecord, PodRecord } from '../operator/jobs/records.ts';
import type { JobStore, Observation } from '../operator/jobs/store.ts';
import type { Cluster } from './cluster.ts';

/** A Job with its pods, oldest first. */
export interface Task {
  readonly job: JobRecord;
  readonly pods: readonly PodRecord[];
}

/** The Jobs of every installation in the cluster's namespaces. */
export function storeOf({ api, namespace, others }: Cluster, clock: Clock, selector?: string): JobStore {
  // The log is for Events that could not be written, and the command line writes none.
  return createKubernetesStore(api, {
    namespace,
    namespaces: others,
    installation: undefined,
    selector,
    clock,
    log: createLog('silent', {}),
  });
}

/** Label selector for tasks with these properties. */
export function selectorOf(of: {
  readonly client?: string;
  readonly type?: string;
  readonly task?: string;
}): string | undefined {
  const parts = [
    ...(of.client === undefined ? [] : [`${LABEL.client}=${labelValue(of.client)}`]),
    ...(of.type === undefined ? [] : [`${LABEL.taskType}=${labelValue(of.type)}`]),
    ...(of.task === undefined ? [] : [`${LABEL.taskId}=${labelValue(of.task)}`]),
  ];
  return parts.length === 0 ? undefined : parts.join(',');
}

/** What is known of the tasks while they are followed. */
export class Tasks {
  #jobs = new Map<string, JobRecord>();
  #pods = new Map<string, PodRecord>();

  /** Takes in what the store reports. */
  observe(observation: Observation): void {
    switch (observation.kind) {
      case 'listed':
        this.#jobs = new Map(observation.jobs.map((job) => [job.name, job]));
        this.#pods = new Map(observation.pods.map((pod) => [pod.name, pod]));
        break;
      case 'job':
        this.#jobs.set(observation.job.name, observation.job);
        break;
      case 'job-gone':
        this.#jobs.delete(observation.job.name);
        break;
      case 'pod':
        this.#pods.set(observation.pod.name, observation.pod);
        break;
      case 'pod-gone':
        this.#pods.delete(observation.pod.name);
    }
  }

  /** All tasks, newest last. */
  all(): Task[] {
    const pods = Map.groupBy([...this.#pods.values()].toSorted(byAge), ({ jobName }) => jobName);
    return [...this.#jobs.values()]
      .toSorted(byAge)
      .map((job) => ({ job, pods: ownPods(job, pods.get(job.name) ?? []) }));
  }
}

function byAge(a: JobRecord | PodRecord, b: JobRecord | PodRecord): number {
  return a.createdAt - b.createdAt || (a.name < b.name ? -1 : 1);
}

/**
 * Reads tasks once, newest last.
 *
 * @throws ServiceError when they cannot be read, or it is stopped before they are
 */
export async function listTasks(
  cluster: Cluster,
  clock: Clock,
  stopping: AbortSignal,
  selector?: string,
): Promise<Task[]> {
  let found: Task[] = [];
  await followTasks(cluster, clock, { stopping, selector }, (tasks) => {
    found = tasks.all();
    return false;
  });
  return found;
}

/** How tasks are followed. */
export interface Following {
  readonly stopping: AbortSignal;
  readonly selector?: string | undefined;
  /** Told when contact is lost after it was had: what was seen may be out of date until it sees again. */
  readonly onLost?: (error: Error) => void;
}

/**
 * Follows tasks. Ends when it is stopped, or when `see`, called after each change, gives false.
 *
 * @throws ServiceError when the first reading fails; later failures are tried again
 */
export async function followTasks(
  cluster: Cluster,
  clock: Clock,
  { stopping, selector, onLost }: Following,
  see: (tasks: Tasks) => boolean,
): Promise<void> {
  const tasks = new Tasks();
  const end = new AbortController();
  let read = false;
  let fault: Error | undefined;
  const observe = (observation: Observation) => {
    if (end.signal.aborted) return;
    if (observation.kind === 'unknown') {
      if (read) return onLost?.(observation.error);
      fault = observation.error;
      return end.abort();
    }
    if (observation.kind === 'listed') read = true;
    tasks.observe(observation);
    if (!see(tasks)) end.abort();
  };
  await storeOf(cluster, clock, selector).follow(observe, AbortSignal.any([stopping, end.signal]));
  if (fault !== undefined) throw fault;
}

/**
 * The tasks that a person means by a task id, a Job's name or a message id; of all but the Job's name there may be several.
 *
 * @throws ServiceError
 */
export async function findTasks(cluster: Cluster, clock: Clock, stopping: AbortSignal, text: string): Promise<Task[]> {
  if (JOB_NAME.test(text)) {
    const named = (await storeOf(cluster, clock).get(text, stopping))?.record;
    if (named !== undefined && named.labels[LABEL.managedBy] === MANAGED_BY) {
      const siblings = await listTasks(cluster, clock, stopping, `${LABEL.taskId}=${named.labels[LABEL.taskId] ?? ''}`);
      return siblings.filter(({ job }) => job.name === text);
    }
  }
  const byId = await listTasks(cluster, clock, stopping, selectorOf({ task: text }));
  if (byId.length > 0 || !MESSAGE_ID.test(text)) return byId;
  return (await listTasks(cluster, clock, stopping)).filter(({ job }) => messageIdOf(job) === text);
}

/** Names as `jobName` makes them. Nothing else is asked for by name: a task id may hold anything. */
const JOB_NAME = /^[a-z0-9-]{1,39}-[a-z2-7]{12}$/;
/** The service's ids are GUIDs. */
const MESSAGE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function messageIdOf({ annotations }: JobRecord): string {
  return annotations[ANNOTATION.messageId] ?? '';
}
