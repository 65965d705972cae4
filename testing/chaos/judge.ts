/** Whether a chaos run has kept every promise. Pure: it knows nothing but the history. */
import { clientOf } from '#/contract/identity.ts';
import type { Cap, Delivery, Groups, History, JobVersion, PutMessage, QueueCall } from '#/testing/chaos/history.ts';
import { isUnseenEnd, runningSteps } from '#/testing/chaos/running.ts';

/** The promises, each with what it says. */
export const PROMISES = {
  'not-lost': 'every well-formed message has a Job, which is settled; none is left in its queue',
  'one-job': 'no message has a second Job',
  'no-invention': 'no Job and no poison copy without a message that calls for it',
  'right-end': 'a Job ends as its task does',
  poison: 'a message that failed has a poison copy under its id, and no other has one',
  webhook: 'a webhook that is asked for arrives, with the right status and one webhook-id, which no other task has',
  'delete-last': 'a message is removed after its Job has ended, and after its poison copy was put',
  'one-group': 'a task on Azure has one container group, made once, and in the end none is left',
  cap: 'Jobs that run, all or of a client or a type, are never more than may run, but for an overlap of operators',
} as const;
export type Promised = keyof typeof PROMISES;

/** A promise that was broken. */
export interface Violation {
  readonly promise: Promised;
  /** Of the message, its id in the run and by the queue service; of the cap: none. */
  readonly task: string;
  readonly evidence: string;
}

/** What a judge found. */
export interface Verdict {
  readonly violations: readonly Violation[];
  /** Messages by kind, and what became of them. */
  readonly outcomes: Readonly<Record<string, Readonly<Record<Outcome, number>>>>;
  /** Jobs of a message that had one before, and how many of them while that one had not ended. */
  readonly secondJobs: { readonly all: number; readonly concurrent: number };
  readonly caps: readonly CapVerdict[];
  /** Repetitions that are allowed: more deliveries of one webhook, more copies under one id. */
  readonly repeated: { readonly webhooks: number; readonly poison: number };
  /** Jobs of which Kubernetes itself had two pods alive at one moment: it may start a program twice. */
  readonly twinPods: number;
}
/** What became of a cap. */
export interface CapVerdict {
  readonly cap: Cap;
  /** That ran at once. */
  readonly most: number;
  /** How often the number rose above the cap, and for how long all in all. */
  readonly times: number;
  readonly overMs: number;
}
type Outcome = 'completed' | 'failed' | 'rejected' | 'unfinished';

/** Judges. */
export function judge(history: History): Verdict {
  const violations: Violation[] = [];
  const jobs = Map.groupBy(history.jobs, ({ messageId }) => messageId);
  const copies = Map.groupBy(history.poison, ({ messageId }) => messageId);
  const deliveries = Map.groupBy(history.deliveries, ({ id }) => id);
  const calls = Map.groupBy(history.calls, ({ messageId }) => messageId);
  const outcomes: Record<string, Record<Outcome, number>> = {};
  const known = new Map(history.puts.map((put) => [put.messageId, put]));

  const secondJobs = { all: 0, concurrent: 0 };
  for (const put of history.puts) {
    const say = (promise: Promised, evidence: string) =>
      violations.push({ promise, task: `${put.id} (${put.kind}, message ${put.messageId} of ${put.queue})`, evidence });
    const lives = livesOf(jobs.get(put.messageId) ?? []);
    const ofIt = calls.get(put.messageId) ?? [];
    for (const [at, life] of lives.entries()) {
      const before = lives[at - 1];
      if (before === undefined) continue;
      secondJobs.all++;
      if (isConcurrent(before, life)) secondJobs.concurrent++;
    }
    judgeJobs(put, lives, say);
    judgePoison(put, copies.get(put.messageId)?.length ?? 0, say);
    judgeWebhooks(put, deliveries.get(put.id) ?? [], say);
    judgeRemoval(put, lives, ofIt, say);
    const row = outcomes[put.kind] ?? { completed: 0, failed: 0, rejected: 0, unfinished: 0 };
    row[outcomeOf(put, lives, ofIt)]++;
    outcomes[put.kind] = row;
  }

  for (const [queue, count] of Object.entries(history.left))
    if (count > 0) violations.push({ promise: 'not-lost', task: queue, evidence: `${count} messages are left in it` });
  for (const [messageId, versions] of jobs)
    if (messageId === undefined || !known.has(messageId))
      violations.push({
        promise: 'no-invention',
        task: messageId ?? 'no message',
        evidence: `Job ${versions[0]?.name} stands for no message that was put`,
      });
  for (const { messageId, queue } of history.poison)
    if (messageId === undefined || !known.has(messageId))
      violations.push({ promise: 'no-invention', task: messageId ?? 'no message', evidence: `a copy in ${queue}` });
  violations.push(...sharedIds(history.deliveries));

  if (history.groups !== undefined) violations.push(...judgeGroups(history.groups, history.jobs));

  const caps = history.caps.map((cap) => judgeCap(history, cap, known));
  violations.push(...caps.flatMap(({ broken }) => broken));
  return {
    violations,
    outcomes,
    secondJobs,
    caps: caps.map(({ verdict }) => verdict),
    repeated: {
      webhooks: history.deliveries.length - new Set(history.deliveries.map(({ webhookId }) => webhookId)).size,
      poison: history.poison.length - copies.size,
    },
    twinPods: twinPods(history),
  };
}

/** How long after (or, by the log's times, before) a leader's kill or another's first write two operators may overlap. */
const OVERLAP_MS = 5_000;

type Say = (promise: Promised, evidence: string) => void;

/** One Job from its first version to its last. */
interface Life {
  readonly name: string;
  readonly uid: string;
  readonly createdAt: number;
  readonly end: 'completed' | 'failed' | undefined;
  /** At the earliest. */
  readonly endedAt: number | undefined;
  readonly settled: boolean;
  readonly goneAt: number | undefined;
}

/** The Jobs of a message in the order of their first versions. */
function livesOf(versions: readonly JobVersion[]): readonly Life[] {
  const ordered = versions.toSorted((a, b) => a.revision - b.revision);
  return [...Map.groupBy(ordered, ({ uid }) => uid).values()].map((ofOne) => {
    const [first, last] = [ofOne[0] as JobVersion, ofOne.at(-1) as JobVersion];
    const ending = ofOne.find(({ end }) => end !== undefined);
    return {
      name: first.name,
      uid: first.uid,
      createdAt: first.createdAt,
      end: ending?.end,
      endedAt: ending && (isUnseenEnd(ending) ? ending.endedAt : ending.askedAt),
      settled: last.settled,
      goneAt: ofOne.find(({ gone }) => gone)?.answeredAt,
    };
  });
}

/** Whether a Job was created before an earlier one of its message was over. */
function isConcurrent({ endedAt, goneAt }: Life, { createdAt }: Life): boolean {
  const over = endedAt ?? goneAt;
  return over === undefined || over > createdAt;
}

function judgeJobs({ expected }: PutMessage, lives: readonly Life[], say: Say): void {
  if (expected === 'malformed') {
    if (lives.length > 0) say('no-invention', `Job ${lives[0]?.name} for a message that is malformed`);
    return;
  }
  for (const [at, later] of lives.entries()) {
    const earlier = lives[at - 1];
    if (earlier === undefined) continue;
    const concurrent = isConcurrent(earlier, later) ? 'while' : 'after';
    say(
      'one-job',
      `Job ${later.name} (uid ${later.uid}) was created at ${time(later.createdAt)}, ${concurrent} Job ${earlier.name} ` +
        `(uid ${earlier.uid}, created at ${time(earlier.createdAt)}) ran`,
    );
  }
  if (lives.length === 0) say('not-lost', 'it never had a Job');
  for (const { name, end, settled, goneAt } of lives) {
    if (end === undefined) say('not-lost', `Job ${name} has not ended${goneAt === undefined ? '' : ', and is gone'}`);
    else if (end !== expected) say('right-end', `Job ${name} ended as ${end}, not as ${expected}`);
    if (end !== undefined && !settled) say('not-lost', `Job ${name} has ended, and is not settled`);
  }
}

function judgePoison({ expected }: PutMessage, copies: number, say: Say): void {
  if (expected === 'completed' && copies > 0) say('poison', `${copies} poison copies of a task that completed`);
  if (expected !== 'completed' && copies === 0) say('poison', 'no poison copy');
}

function judgeWebhooks({ expected, webhook }: PutMessage, deliveries: readonly Delivery[], say: Say): void {
  if (!webhook) {
    if (deliveries.length > 0) say('webhook', `${deliveries.length} webhooks that nobody asked for`);
    return;
  }
  if (deliveries.length === 0) {
    say('webhook', 'none arrived');
    return;
  }
  const right = expected === 'completed' ? 'completed' : 'failed';
  const statuses = [...new Set(deliveries.map(({ status }) => status))];
  if (statuses.some((status) => status !== right)) say('webhook', `told as ${statuses.join(' and ')}, not as ${right}`);
  const ids = [...new Set(deliveries.map(({ webhookId }) => webhookId))];
  if (ids.length > 1) say('webhook', `under several ids: ${ids.join(', ')}`);
}

function judgeRemoval({ expected }: PutMessage, lives: readonly Life[], calls: readonly QueueCall[], say: Say): void {
  const removed = first(calls, 'removed');
  if (removed === undefined) {
    say('not-lost', 'it was never removed from its queue');
    return;
  }
  const endedAt = lives.map((life) => life.endedAt).find((at) => at !== undefined);
  if (expected !== 'malformed' && (endedAt === undefined || endedAt > removed))
    say(
      'delete-last',
      `it was removed at ${time(removed)}, and its Job ${endedAt === undefined ? 'never ended' : `ended at ${time(endedAt)}`}`,
    );
  const poisoned = first(calls, 'poisoned');
  if (expected !== 'completed' && (poisoned === undefined || poisoned > removed))
    say(
      'delete-last',
      `it was removed at ${time(removed)}, and its poison copy ${poisoned === undefined ? 'never put' : `put at ${time(poisoned)}`}`,
    );
}

function first(calls: readonly QueueCall[], kind: QueueCall['kind']): number | undefined {
  const moments = calls.filter((call) => call.kind === kind).map(({ at }) => at);
  return moments.length === 0 ? undefined : Math.min(...moments);
}

/** Ids that webhooks of several tasks have in common. */
function sharedIds(deliveries: readonly Delivery[]): readonly Violation[] {
  return [...Map.groupBy(deliveries, ({ webhookId }) => webhookId)].flatMap(([webhookId, ofId]) => {
    const tasks = [...new Set(ofId.map(({ id }) => id))];
    if (tasks.length < 2) return [];
    return [{ promise: 'webhook' as const, task: tasks.join(', '), evidence: `share the id ${webhookId}` }];
  });
}

function outcomeOf({ expected }: PutMessage, lives: readonly Life[], calls: readonly QueueCall[]): Outcome {
  if (expected === 'malformed') return first(calls, 'removed') === undefined ? 'unfinished' : 'rejected';
  const [life] = lives;
  return life?.settled ? (life.end ?? 'unfinished') : 'unfinished';
}

/** Whose a Job is, is told by the message that was put, not by the Job. */
function judgeCap(
  { jobs, overlap, changes }: History,
  cap: Cap,
  puts: ReadonlyMap<string, PutMessage>,
): { readonly verdict: CapVerdict; readonly broken: readonly Violation[] } {
  const broken: Violation[] = [];
  const say = (evidence: string) => broken.push({ promise: 'cap', task: nameOf(cap), evidence });
  const isUnder = ({ messageId = '' }: JobVersion) => {
    if (cap.of === 'all') return true;
    const put = puts.get(messageId);
    return put !== undefined && (cap.of === 'client' ? clientOf(put.queue) : put.kind) === cap.name;
  };
  let [most, times, overMs, before] = [0, 0, 0, 0];
  let since: number | undefined;
  for (const { at, running } of runningSteps(jobs.filter(isUnder))) {
    const rises = running > before;
    before = running;
    most = Math.max(most, running);
    if (running > cap.most) {
      if (since === undefined) {
        times++;
        since = at;
      }
      const isOverlap = overlap > 0 && changes.some((change) => Math.abs(at - change) <= OVERLAP_MS);
      if (rises && !isOverlap)
        say(`${running} of ${cap.most} ran at ${time(at)}, when no operator had just followed another`);
    } else if (since !== undefined) {
      overMs += Math.max(0, at - since);
      since = undefined;
    }
  }
  if (most > cap.most + overlap)
    say(`${most} Jobs ran at once; ${cap.most} may, and an overlap may bring ${overlap} more`);
  return { verdict: { cap, most, times, overMs }, broken };
}

/** Each task has one attempt, and Azure loses no group of its own accord: a second one would be the operator's doing. */
function judgeGroups({ starts, overwritten, left }: Groups, jobs: readonly JobVersion[]): readonly Violation[] {
  const names = new Set(jobs.map(({ name }) => name));
  const found = (task: string, evidence: string): Violation => ({ promise: 'one-group', task, evidence });
  return [
    ...[...names]
      .filter((name) => (starts[name] ?? 0) !== 1)
      .map((name) => found(name, `its group was made ${starts[name] ?? 0} times`)),
    ...Object.keys(starts)
      .filter((name) => !names.has(name))
      .map((name) => found(name, 'a group without a Job')),
    ...overwritten.map((name) => found(name, 'its group was asked for while it was there')),
    ...left.map((name) => found(name, 'its group is left')),
  ];
}

/** Such as `all`, `client acme`. */
export function nameOf({ of, name }: Cap): string {
  return name === '' ? of : `${of} ${name}`;
}

function twinPods({ pods }: History): number {
  const twins = new Set<string>();
  const alive = new Map<string, Set<string>>();
  for (const { pod, jobUid, step } of pods.toSorted((a, b) => a.at - b.at)) {
    const ofJob = alive.get(jobUid) ?? new Set();
    alive.set(jobUid, ofJob);
    if (step === 'over') ofJob.delete(pod);
    else ofJob.add(pod);
    if (ofJob.size > 1) twins.add(jobUid);
  }
  return twins.size;
}

function time(at: number): string {
  return new Date(at).toISOString().slice(11, 23);
}
