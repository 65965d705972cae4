/** One task's story, from its queue to its record: what happened when, what it waits for, and what became of it. Pure. */

import { type CiResult, ciResultSchema } from '../contract/ci-result.ts';
import type { Diagnosis } from '../contract/diagnosis.ts';
import { ANNOTATION, LABEL, poisonQueueOf } from '../contract/identity.ts';
import { parseReport } from '../contract/runner-abi.ts';
import { fromIso, iso } from '../lib/clock.ts';
import { isOnAci } from '../operator/aci/attempts.ts';
import { cancellation, isBeingEnded, noteOn, usedAttempts } from '../operator/jobs/notes.ts';
import type { JobRecord, PodRecord } from '../operator/jobs/records.ts';
import { webhookState } from '../operator/settle/webhook-state.ts';
import { shortDuration } from './durations.ts';
import type { Task } from './jobs.ts';
import { attemptOf, clientOf, heldBackBy, livePods, outcome, type TaskState, taskState } from './task-state.ts';

/** Something that happened, or is to happen; `at` is ISO 8601, null where nobody wrote it down. */
export interface StoryEvent {
  readonly at: string | null;
  readonly what: string;
}

/** Where the webhook stands. */
export interface WebhookStory {
  readonly state: 'none' | 'not-yet' | 'due' | 'owed' | 'delivered' | 'given-up' | 'by-the-task';
  readonly text: string;
  readonly tries: number;
  readonly nextAt: string | null;
}

/** Who has the message. */
export interface LeaseStory {
  readonly state: 'held' | 'ran-out' | 'lost' | 'over';
  readonly text: string;
  readonly until: string | null;
}

/** A task's story. */
export interface Story {
  readonly task: string;
  readonly client: string;
  readonly type: string;
  readonly queue: string;
  readonly messageId: string;
  readonly job: string;
  readonly namespace: string;
  readonly state: TaskState;
  readonly settled: boolean;
  readonly attempt: number;
  readonly attempts: number;
  /** Null when there is nothing to diagnose. */
  readonly diagnosis: Diagnosis | null;
  /** Of a CI task that has ended; null of every other. */
  readonly result: CiResult | null;
  /** What it waits for; null when it is settled. */
  readonly waitsFor: string | null;
  readonly webhook: WebhookStory;
  readonly lease: LeaseStory;
  /** When Kubernetes removes the Job; null while it may not. */
  readonly recordUntil: string | null;
  readonly events: readonly StoryEvent[];
}

/** Tells a task's story as it stands at a moment (milliseconds since the epoch). */
export function storyOf(task: Task, namespace: string, now: number): Story {
  const { job } = task;
  const on = job.annotations;
  const ended = outcome(task);
  const noted = noteOn(job)?.diagnosis ?? cancellation(job) ?? null;
  const recordUntil = removalOf(job);
  return {
    task: job.labels[LABEL.taskId] ?? '',
    client: clientOf(job),
    type: job.labels[LABEL.taskType] ?? '',
    queue: on[ANNOTATION.queue] ?? '',
    messageId: on[ANNOTATION.messageId] ?? '',
    job: job.name,
    namespace: job.namespace || namespace,
    state: taskState(task),
    settled: job.settled,
    attempt: attemptOf(task),
    attempts: job.attempts,
    diagnosis: ended === undefined ? noted : ended.status === 'completed' ? null : ended.diagnosis,
    result: ciResultOf(ended),
    waitsFor: waitsFor(task, now),
    webhook: webhookStory(task),
    lease: leaseStory(job, now),
    recordUntil: recordUntil === undefined ? null : iso(recordUntil),
    events: eventsOf(task, now),
  };
}

function ciResultOf(ended: ReturnType<typeof outcome>): CiResult | null {
  return ciResultSchema.safeParse(ended?.result).data ?? null;
}

/** When Kubernetes removes the record; undefined while it has no time to live. */
function removalOf({ end, ttlSeconds }: JobRecord): number | undefined {
  return end === undefined || ttlSeconds === undefined ? undefined : end.at + ttlSeconds * 1000;
}

/** What it waits for now; null when it is settled. */
function waitsFor(task: Task, now: number): string | null {
  const { job, pods } = task;
  if (job.settled) return null;
  const state = taskState(task);
  if (job.end !== undefined) {
    const webhook = webhookState(job);
    return webhook?.kind === 'owed'
      ? `its webhook to be taken; the next try is ${moment(webhook.nextAt, now)}`
      : 'an operator to settle it: to delete its message, and what else is due';
  }
  if (job.deleting)
    return 'its Job to be gone: somebody deleted it, which counts as cancelling it once its pods have ended';
  if (isBeingEnded(job)) return 'its pods to end: it is being ended';
  if (cancellation(job) !== undefined) return 'an operator to cancel it, which takes seconds where one runs';
  const held = heldBackBy(job);
  if (held === 'slipway')
    return 'room: its type has none, as many tasks of it run as maxRunning of the type allows. Of those held back the oldest is started first';
  if (held === 'other')
    return `whoever suspended it, which was not Slipway: Kueue resumes it by itself, a person by kubectl patch job ${job.name} -p '{"spec":{"suspend":false}}'`;
  const note = noteOn(job);
  const live = livePods(task);
  if (state === 'running') return `its task to end${deadline(job, now)}`;
  if (state === 'retrying')
    return `its next attempt: Kubernetes waits 10 s after the first failure, 20 s after the second, and so on up to 10 minutes`;
  if (state === 'settling') return 'Kubernetes to write down that its Job has ended';
  if (isOnAci(job)) return waitsInAzure(live);
  if (live.some((pod) => pod.unschedulable !== undefined)) return 'a node that has room for its pod';
  if (note?.noPod === true) return 'Kubernetes to be allowed to make its pod';
  const waiting = live.map((pod) => pod.waiting).find((one) => one !== undefined);
  if (waiting !== undefined) return `its container to start, which is tried again: ${waiting.reason}`;
  if (pods.length === 0) return 'Kubernetes to make its pod';
  return live.some((pod) => pod.stageSince !== undefined)
    ? 'its container to start: its image is being pulled, or its volumes are being mounted'
    : 'its pod to get a node';
}

function waitsInAzure([group]: readonly PodRecord[]): string {
  if (group === undefined) return 'its turn: Azure makes only so many container groups at a time (aci.limits)';
  if (group.unschedulable !== undefined)
    return 'Azure to have room for its container group, which is asked for again and again';
  if (group.waiting !== undefined) return `its container group to start, which is tried again: ${group.waiting.reason}`;
  return group.stageSince === undefined
    ? 'Azure to take its container group'
    : 'its container group to start: its image is being pulled';
}

function deadline(job: JobRecord, now: number): string {
  if (job.startedAt === undefined || job.deadlineSeconds === undefined) return '';
  return `; Kubernetes ends its Job ${moment(job.startedAt + job.deadlineSeconds * 1000, now)} at the latest`;
}

function moment(at: number, now: number): string {
  const text = iso(at).replace(/\.\d+Z$/, 'Z');
  return at > now ? `at ${text} (in ${shortDuration(at - now)})` : `at ${text} (${shortDuration(now - at)} ago)`;
}

function webhookStory(task: Task): WebhookStory {
  const { job } = task;
  const url = job.annotations[ANNOTATION.webhookUrl];
  const plain = { tries: 0, nextAt: null };
  if (url === undefined) return { state: 'none', text: 'none was asked for', ...plain };
  const to = place(url);
  const state = webhookState(job);
  if (state?.kind === 'delivered')
    return {
      state: 'delivered',
      text: `delivered to ${to} by the operator, at try ${state.tries}`,
      tries: state.tries,
      nextAt: null,
    };
  if (state?.kind === 'given-up')
    return {
      state: 'given-up',
      text: `given up after ${counted(state.tries, 'try', 'tries')} at ${to}: ${state.detail}`,
      tries: state.tries,
      nextAt: null,
    };
  if (state?.kind === 'owed')
    return {
      state: 'owed',
      text: `owed to ${to}: ${counted(state.tries, 'try has', 'tries have')} failed (${state.detail})`,
      tries: state.tries,
      nextAt: iso(state.nextAt),
    };
  if (job.annotations[ANNOTATION.webhookMode] === 'none')
    return { state: 'by-the-task', text: `the task’s own matter (webhook: task), to ${to}`, ...plain };
  const ended = outcome(task);
  if (ended === undefined) return { state: 'not-yet', text: `to be sent to ${to} when the task ends`, ...plain };
  return ended.webhookDue
    ? { state: 'due', text: `due: the operator is to send it to ${to}`, ...plain }
    : { state: 'by-the-task', text: `sent to ${to} by the task itself`, ...plain };
}

/** Where a URL leads, without what may be a secret in it. */
function place(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? 'its webhook_url' : `${parsed.origin}${parsed.pathname}`;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

function leaseStory(job: JobRecord, now: number): LeaseStory {
  const until = fromIso(job.annotations[ANNOTATION.leaseUntil]);
  const lost = fromIso(job.annotations[ANNOTATION.leaseLost]);
  const told = { until: until === undefined ? null : iso(until) };
  if (lost !== undefined)
    return {
      state: 'lost',
      text: `lost, as was found ${moment(lost, now)}: somebody else may have received the message, and done the task too`,
      ...told,
    };
  if (job.settled) return { state: 'over', text: 'over: the message is deleted', ...told };
  const removal = webhookState(job);
  if (removal?.kind === 'owed') return { state: 'over', text: 'over: the message is deleted', ...told };
  if (until === undefined || until <= now)
    return {
      state: 'ran-out',
      text: `ran out${until === undefined ? '' : ` ${moment(until, now)}`}: no operator has renewed it, so none seems to run. The message is visible again; it finds this Job when it is received`,
      ...told,
    };
  return { state: 'held', text: `the message is hidden from others until ${moment(until, now).slice(3)}`, ...told };
}

interface Moment {
  readonly at: number | undefined;
  readonly what: string;
}

function eventsOf(task: Task, now: number): readonly StoryEvent[] {
  const { job } = task;
  const on = job.annotations;
  const ended = outcome(task);
  const note = noteOn(job);
  const queue = on[ANNOTATION.queue] ?? '';
  const receipts = Number(on[ANNOTATION.dequeueCount] ?? 1);
  const removal = removalOf(job);
  const told: Moment[] = [
    { at: fromIso(on[ANNOTATION.insertedOn]), what: `put into ${queue} as message ${on[ANNOTATION.messageId] ?? ''}` },
    {
      at: job.createdAt,
      what:
        receipts > 1 ? `received, and its Job made; received ${receipts} times by now` : 'received, and its Job made',
    },
    // Kubernetes sets the start anew when a Job is resumed; one that is resumed for its end alone has no pods.
    ...(job.startedAt !== undefined && job.startedAt - job.createdAt > RESUMED_AFTER_MS && job.parallelism > 0
      ? [{ at: job.startedAt, what: 'released: until then it was suspended' }]
      : []),
    ...attemptEvents(task),
    ...(note === undefined || note.diagnosis.category === 'Cancelled'
      ? []
      : [{ at: note.since, what: noteText(note.diagnosis) }]),
    ...cancelEvents(job),
  ];
  const after: Moment[] = [
    ...(job.end === undefined || ended === undefined
      ? []
      : [
          {
            at: job.end.at,
            what: `${ended.status}${ended.status === 'completed' ? '' : ` (${isBeingEnded(job) ? 'the operator ended its Job' : `Kubernetes: ${job.end.reason}`})`}`,
          },
        ]),
    ...(on[ANNOTATION.poisoned] === undefined
      ? []
      : [
          {
            at: fromIso(on[ANNOTATION.poisoned]),
            what: `copied into ${poisonQueueOf(queue)}: slipway poison show ${queue} ${on[ANNOTATION.messageId] ?? ''}`,
          },
        ]),
    ...(on[ANNOTATION.settled] === undefined
      ? []
      : [{ at: fromIso(on[ANNOTATION.settled]), what: 'settled: its message is deleted, nothing more is due' }]),
    ...(removal === undefined
      ? []
      : [
          {
            at: removal,
            what: removal > now ? 'Kubernetes will remove this record' : 'Kubernetes is about to remove this record',
          },
        ]),
  ];
  return [...inOrder(told), ...inOrder(after)].map(({ at, what }) => ({ at: at === undefined ? null : iso(at), what }));
}

/** When cancelling was asked for nobody writes down; when the operator carried it out is on the Job. */
function cancelEvents(job: JobRecord): readonly Moment[] {
  const wish = cancellation(job);
  if (wish === undefined) return [];
  const what = wish.message.replace('the task was cancelled', 'cancelling was asked for');
  const note = noteOn(job);
  return note?.diagnosis.category === 'Cancelled'
    ? [{ at: note.since, what: `${what}; the operator ended its Job` }]
    : [{ at: undefined, what }];
}

/** In a line: a registry's answer may fill a screen. */
function noteText({ category, message }: Diagnosis): string {
  return `${category} noted: ${message.length > 80 ? `${message.slice(0, 79)}…` : message}`;
}

const RESUMED_AFTER_MS = 2000;

/** By time; what has none stays behind what it was told after. */
function inOrder(told: readonly Moment[]): readonly Moment[] {
  let last = 0;
  return told
    .map((one) => {
      last = one.at ?? Math.max(last, ...told.map(({ at }) => at ?? 0));
      return { one, key: last };
    })
    .toSorted((a, b) => a.key - b.key)
    .map(({ one }) => one);
}

/** Its attempts: as its pods tell them, or, of pods that are gone, the outcome. */
function attemptEvents(task: Task): readonly Moment[] {
  const { job, pods } = task;
  const used = usedAttempts(job);
  const recorded = outcome(task)?.attempts ?? [];
  if (pods.length === 0 && recorded.length > used.length)
    return recorded.map(({ finishedAt, exitCode, reason }, at) => ({
      at: fromIso(finishedAt),
      what: `attempt ${at + 1} ended: ${exitCode === null ? reason : `exit code ${exitCode}, ${reason}`} (its pod is gone)`,
    }));
  let count = used.length;
  const numbers = new Map<string, number>();
  for (const pod of pods) {
    if (used.some(({ pod: name }) => name === pod.name)) continue;
    count++;
    numbers.set(pod.name, count);
    if (pod.disrupted) count--;
  }
  return [
    ...used.map(({ pod, finishedAt, reason }, at) => ({
      at: fromIso(finishedAt),
      what: `attempt ${at + 1} used up: pod ${pod} did not start (${reason}) and was deleted`,
    })),
    ...pods.flatMap((pod) => (numbers.has(pod.name) ? podEvents(pod, numbers.get(pod.name) ?? 0) : [])),
  ];
}

function podEvents(pod: PodRecord, number: number): readonly Moment[] {
  const container = pod.task;
  const startedAt = container !== undefined && container.kind !== 'waiting' ? container.startedAt : undefined;
  const isGroup = pod.shownBy !== undefined;
  const place = isGroup ? `container group ${pod.jobName}` : `pod ${pod.name}`;
  const made =
    startedAt === undefined || startedAt <= 0
      ? { at: pod.createdAt, what: `attempt ${number}: ${place} ${isGroup ? 'asked for' : 'made'}` }
      : { at: startedAt, what: `attempt ${number} started: ${place}` };
  if (container?.kind === 'terminated') {
    const said = parseReport(container.message)?.error?.message;
    const how = `exit code ${container.exitCode}${container.reason === '' ? '' : `, ${container.reason}`}`;
    const also = pod.disrupted
      ? `; it was taken away by ${isGroup ? 'Azure' : 'the cluster'}, which does not count`
      : '';
    return [
      made,
      {
        at: container.finishedAt,
        what: `attempt ${number} ended: ${how}${said === undefined ? '' : `: ${said}`}${also}`,
      },
    ];
  }
  if (pod.phase === 'Failed')
    return [
      made,
      {
        at: undefined,
        what: `attempt ${number} ended: ${pod.reason || 'failed'}${pod.message === '' ? '' : `: ${pod.message}`}`,
      },
    ];
  return [made];
}
