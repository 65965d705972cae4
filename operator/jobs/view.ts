/**
 * The operator's picture of the Jobs of its installation, kept by list and watch.
 *
 * States: `unknown` (nothing listed yet, or contact lost) ⇄ `known`. In `unknown` the last picture stays readable, so that leases can be
 * renewed, but nobody may conclude from a Job's absence that there is none.
 */
import { ANNOTATION } from '../../contract/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import { assertNever } from '../../lib/errors.ts';
import { groupsAsPods, isOnAci, ownPods } from '../aci/attempts.ts';
import type { Progress } from '../conclude.ts';
import type { JobRecord, PodRecord } from './records.ts';
import type { Observation } from './store.ts';

/** Whether the picture can be trusted; `since` is monotonic milliseconds. */
export type ViewState =
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown'; readonly since: number; readonly reason: string };

/**
 * What is left of a Job that was seen to be deleted before it was settled. It stands until the Job's message is dealt with, in place of the
 * record that the Job was.
 */
export interface Tombstone {
  /** The Job at its end. */
  readonly job: JobRecord;
  /** The decoded message text. */
  readonly taskData: string;
  /** Milliseconds since the epoch. */
  readonly seenAt: number;
  /** Its pods as they were last seen, also those that are gone, by name. */
  readonly pods: ReadonlyMap<string, PodRecord>;
  /** What of its settling is done: nobody else would know. */
  readonly progress: Progress;
}

export class JobsView {
  readonly #clock: Clock;
  readonly #jobs = new Map<string, JobRecord>();
  readonly #pods = new Map<string, Map<string, PodRecord>>();
  readonly #endSeen = new Map<string, number>();
  readonly #tombstones = new Map<string, Tombstone & { readonly pods: Map<string, PodRecord> }>();
  readonly #listeners: ((jobName: string) => void)[] = [];
  #state: ViewState;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#state = { kind: 'unknown', since: clock.monotonic(), reason: 'no list of Jobs yet' };
  }

  get state(): ViewState {
    return this.#state;
  }

  job(name: string): JobRecord | undefined {
    return this.#jobs.get(name);
  }

  jobs(): IterableIterator<JobRecord> {
    return this.#jobs.values();
  }

  /**
   * The pods of a Job, oldest first, without those that a deleted one of its name has left behind. Of a Job on Azure Container Instances:
   * its container groups, as they stand on it.
   */
  podsOf(job: JobRecord): readonly PodRecord[] {
    return ownPods(job, this.pods(job.name));
  }

  /** The pods of all Jobs that have or had this name, oldest first. */
  pods(jobName: string): readonly PodRecord[] {
    return [...(this.#pods.get(jobName)?.values() ?? [])].sort((a, b) => a.createdAt - b.createdAt);
  }

  /** What is left of the Job of that name, when it was seen to be deleted before it was settled. */
  tombstone(name: string): Tombstone | undefined {
    return this.#tombstones.get(name);
  }

  /** The message of a deleted Job is dealt with. */
  dismiss(tombstone: Tombstone): void {
    const { name } = tombstone.job;
    if (this.#tombstones.get(name) === tombstone) this.#tombstones.delete(name);
  }

  /** Calls `listener` with the name of each Job that, or whose pods, may have changed. */
  onChange(listener: (jobName: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Forgets all tombstones: of what happened while another worked, that one has seen the end. */
  dismissAll(): void {
    this.#tombstones.clear();
  }

  /** Milliseconds since a Job was first seen finished; its pods' last words may come by the other watch a moment later. */
  endAgeMs(name: string): number {
    const seen = this.#endSeen.get(name);
    return seen === undefined ? 0 : this.#clock.monotonic() - seen;
  }

  /** Takes in a version of a Job: from the watch, or, ahead of it, the answer to the operator's own write. */
  learn(job: JobRecord): void {
    if (newer(job, this.#jobs.get(job.name)) !== job) return;
    this.#setJob(job);
    this.#changed(job.name);
  }

  /** Takes in what the store reports. */
  observe(observation: Observation): void {
    switch (observation.kind) {
      case 'listed':
        this.#replace(observation);
        break;
      case 'unknown':
        if (this.#state.kind === 'known')
          this.#state = { kind: 'unknown', since: this.#clock.monotonic(), reason: observation.error.message };
        break;
      case 'job':
        this.learn(observation.job);
        break;
      case 'job-gone':
        this.#removeJob(observation);
        this.#changed(observation.job.name);
        break;
      case 'pod':
        this.#setPod(observation.pod);
        this.#changed(observation.pod.jobName);
        break;
      case 'pod-gone':
        this.#removePod(observation.pod);
        this.#changed(observation.pod.jobName);
        break;
      default:
        assertNever(observation);
    }
  }

  /** The operator's own writes may be newer than a list: what it learned from them stays, also a Job that the list does not have yet. */
  #replace({ jobs, pods, versionOf }: Extract<Observation, { kind: 'listed' }>): void {
    const before = new Map(this.#jobs);
    const touched = new Set([...before.keys(), ...this.#pods.keys(), ...this.#tombstones.keys()]);
    this.#jobs.clear();
    this.#pods.clear();
    for (const job of jobs) this.#setJob(newer(job, before.get(job.name)));
    for (const job of before.values()) {
      const version = versionOf?.(job.namespace);
      if (version !== undefined && !this.#jobs.has(job.name) && BigInt(job.resourceVersion) > BigInt(version))
        this.#setJob(job);
    }
    for (const name of this.#endSeen.keys()) if (!this.#jobs.has(name)) this.#endSeen.delete(name);
    for (const pod of pods) this.#setPod(pod);
    for (const one of this.#tombstones.values())
      if (isOnAci(one.job)) for (const pod of one.pods.values()) this.#setPod(pod);
    this.#state = { kind: 'known' };
    for (const name of new Set([...touched, ...this.#jobs.keys()])) this.#changed(name);
  }

  #removeJob({ job, taskData }: Extract<Observation, { kind: 'job-gone' }>): void {
    const { name } = job;
    const known = this.#jobs.get(name);
    // Another one has taken its place.
    if (known !== undefined && known.uid !== job.uid) return;
    this.#jobs.delete(name);
    this.#endSeen.delete(name);
    if (taskData === undefined || job.settled || this.#tombstones.has(name)) return;
    // A container group is gone when whoever runs it says so.
    for (const pod of groupsAsPods(job)) this.#setPod(pod);
    const pods = new Map(this.#pods.get(name));
    this.#tombstones.set(name, { job, taskData, seenAt: this.#clock.now(), pods, progress: {} });
  }

  #setJob(job: JobRecord): void {
    const tombstone = this.#tombstones.get(job.name);
    // An answer that was under way, or an old list: what is gone does not come back.
    if (tombstone?.job.uid === job.uid) return;
    if (tombstone !== undefined && isOfSameMessage(job, tombstone.job)) this.#tombstones.delete(job.name);
    this.#jobs.set(job.name, job);
    if (job.end === undefined) this.#endSeen.delete(job.name);
    else if (!this.#endSeen.has(job.name)) this.#endSeen.set(job.name, this.#clock.monotonic());
  }

  #setPod(pod: PodRecord): void {
    const ofJob = this.#pods.get(pod.jobName) ?? new Map<string, PodRecord>();
    this.#pods.set(pod.jobName, ofJob.set(pod.name, pod));
    this.#tombstones.get(pod.jobName)?.pods.set(pod.name, pod);
  }

  #removePod(pod: PodRecord): void {
    const tombstone = this.#tombstones.get(pod.jobName);
    // Listed by nobody, it would come back with the next list.
    if (tombstone !== undefined && isOnAci(tombstone.job)) tombstone.pods.set(pod.name, { ...pod, phase: 'Failed' });
    const ofJob = this.#pods.get(pod.jobName);
    ofJob?.delete(pod.name);
    if (ofJob?.size === 0) this.#pods.delete(pod.jobName);
  }

  #changed(name: string): void {
    for (const listener of this.#listeners) listener(name);
  }
}

/** Whether one Job has taken the other's place: its message was received again, or somebody made it anew. */
function isOfSameMessage(a: JobRecord, b: JobRecord): boolean {
  return a.annotations[ANNOTATION.messageId] === b.annotations[ANNOTATION.messageId];
}

/**
 * The watch may bring an older version of a Job than the answer to the operator's own write did. Versions of one resource can be compared
 * as numbers (guaranteed by Kubernetes since 1.35, true of etcd before).
 */
function newer(job: JobRecord, known: JobRecord | undefined): JobRecord {
  if (known === undefined || known.uid !== job.uid) return job;
  return BigInt(job.resourceVersion) >= BigInt(known.resourceVersion) ? job : known;
}
