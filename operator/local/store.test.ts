import type { V1Job } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { testConfig, testPolicy, testTask } from '#/testing/jobs.ts';
import { EPOCH, settled, VirtualClock } from '#/testing/virtual-clock.ts';
import { LABEL, STATE } from '../../contract/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import { manifest } from '../jobs/manifest.ts';
import type { JobRecord, PodRecord } from '../jobs/records.ts';
import type { Observation } from '../jobs/store.ts';
import type { ContainerEnd, RunPod } from './kubelet.ts';
import { createLocalStore, type LocalStore, type LocalStoreOptions } from './store.ts';

const config = testConfig(`
defaults: { timeoutSeconds: 60, graceSeconds: 5, startTimeoutSeconds: 10, unschedulableTimeoutSeconds: 10 }
taskTypes: { echo: {} }
`);
const policy = testPolicy(config, 'echo');
const POD_DEADLINE_MS = 75_000;
/** 3 × (75 + 10) + 30 + 3600 */
const JOB_DEADLINE_MS = 3_885_000;

function job(messageId = 'm1', changes: Partial<NonNullable<V1Job['spec']>> = {}): V1Job {
  const task = testTask();
  const made = manifest({ ...task, message: { ...task.message, id: messageId } }, policy, {
    namespace: 'jobs',
    instance: 'slipway',
    installation: config.installation,
    configHash: 'h',
  });
  return { ...made, spec: { ...made.spec!, ...changes } };
}

/** Pods that run for ten seconds and end as listed, one after another; the last one's way from then on. */
function script(...ends: readonly (ContainerEnd | number)[]): (clock: Clock) => RunPod {
  let pods = 0;
  return (clock) => async (_pod, life) => {
    const end = ends[Math.min(pods++, ends.length - 1)] ?? 0;
    life.started();
    await clock.sleep(10_000, life.stopping);
    if (life.stopping.aborted) return { exitCode: 143 };
    return typeof end === 'number' ? { exitCode: end } : end;
  };
}

/** A store with scripted pods, and everything that a follower has heard of it. */
function setUp(
  runPod: (clock: Clock) => RunPod = script(0),
  options: Pick<LocalStoreOptions, 'admit' | 'schedule'> = {},
) {
  const clock = new VirtualClock();
  const store = createLocalStore({ clock, runPod: runPod(clock), ...options });
  const heard: Observation[] = [];
  const listening = new AbortController();
  void store.follow((observation) => heard.push(observation), listening.signal);
  const jobs = () => heard.flatMap((one) => (one.kind === 'job' ? [one.job] : []));
  const pods = () => latest(heard.flatMap((one) => (one.kind === 'pod' ? [one.pod] : [])));
  return { clock, store, heard, jobs, pods };
}

function latest(pods: readonly PodRecord[]): PodRecord[] {
  return [...new Map(pods.map((pod) => [pod.name, pod])).values()];
}

async function record(store: LocalStore, name: string): Promise<JobRecord> {
  const found = await store.get(name);
  if (found === undefined) throw new Error(`no Job ${name}`);
  return found.record;
}

test("a created Job is the one that was asked for, with the server's additions", async () => {
  const { clock, store } = setUp();
  const asked = job();
  const created = await store.create(asked);
  expect(created).toMatchObject({
    name: asked.metadata?.name,
    labels: asked.metadata?.labels,
    annotations: asked.metadata?.annotations,
    createdAt: EPOCH,
    attempts: 3,
    settled: false,
    end: undefined,
  });
  expect(await store.get(created.name)).toMatchObject({ taskData: testTask().taskData });
  expect(await store.get('another')).toBeUndefined();
  await clock.advance(20_000);
});

test('a name is taken once, and by no other Job until that one is gone', async () => {
  const { clock, store } = setUp();
  const first = await store.create(job());
  await expect(store.create(job())).rejects.toMatchObject({ kind: 'conflict', code: 'AlreadyExists' });
  store.remove(first.name);
  const second = await store.create(job());
  expect(second.uid).not.toBe(first.uid);
  expect(BigInt(second.resourceVersion)).toBeGreaterThan(BigInt(first.resourceVersion));
  await clock.advance(20_000);
});

test.each([
  ['a label that is none', { ...job(), metadata: { name: 'x', labels: { a: 'not valid!' } } }, 'metadata.labels.a'],
  ['a name that is none', { ...job(), metadata: { name: 'No' } }, 'metadata.name'],
  ['no container', job('m', { template: { spec: { restartPolicy: 'Never', containers: [] } } }), 'containers'],
  [
    'restartPolicy Always',
    job('m', { template: { spec: { restartPolicy: 'Always', containers: [{ name: 'a', image: 'b' }] } } }),
    'restartPolicy',
  ],
])('refused as invalid: %s', async (_, refused, place) => {
  const { store, jobs } = setUp();
  for (const ask of [store.create, store.dryRun])
    await expect(ask(refused)).rejects.toMatchObject({ kind: 'invalid', message: expect.stringContaining(place) });
  await settled();
  expect(jobs()).toEqual([]);
});

test('a dry run makes nothing', async () => {
  const { store, jobs } = setUp();
  await store.dryRun(job());
  await settled();
  expect(jobs()).toEqual([]);
});

test.each([
  ['succeeds at once', script(0), 1, { kind: 'complete' }],
  ['succeeds with its last attempt', script(1, 1, 0), 3, { kind: 'complete' }],
  ['uses up its attempts', script(1), 3, { kind: 'failed', reason: 'BackoffLimitExceeded' }],
  ['is given up on bad data', script(1, 65), 2, { kind: 'failed', reason: 'PodFailurePolicy' }],
  ['is given up on a bad configuration', script(78), 1, { kind: 'failed', reason: 'PodFailurePolicy' }],
  ['is disrupted, which does not count', script({ exitCode: 143, disrupted: true }, 1, 1, 0), 4, { kind: 'complete' }],
  ['fails for a while', script(75, 137, 143), 3, { kind: 'failed', reason: 'BackoffLimitExceeded' }],
])('a Job that %s', async (_, runPod, starts, end) => {
  const { clock, store, pods } = setUp(runPod);
  const { name } = await store.create(job());
  await clock.advance(120_000);
  expect((await record(store, name)).end).toMatchObject(end);
  expect(pods()).toHaveLength(starts);
});

test('pods follow each other after ten seconds, then twenty', async () => {
  const { clock, store, pods } = setUp(script(1));
  await store.create(job());
  await clock.advance(120_000);
  const starts = pods().map(({ createdAt }) => (createdAt - EPOCH) / 1000);
  expect(starts).toEqual([0, 20, 50]);
});

test('a pod is seen to wait, to run and to end; then the Job ends', async () => {
  const { clock, store, heard } = setUp(script({ exitCode: 0, message: 'done' }));
  await store.create(job());
  await clock.advance(20_000);
  const story = heard.flatMap((one) => {
    if (one.kind === 'pod') return [`${one.pod.phase} ${one.pod.task?.kind}`];
    return one.kind === 'job' && one.job.end !== undefined ? [`Job ${one.job.end.kind}`] : [];
  });
  expect(story).toEqual(['Pending waiting', 'Running running', 'Succeeded terminated', 'Job complete']);
  const started = EPOCH;
  expect(heard.findLast((one) => one.kind === 'pod')?.pod.task).toEqual({
    kind: 'terminated',
    exitCode: 0,
    reason: 'Completed',
    message: 'done',
    startedAt: started,
    finishedAt: started + 10_000,
  });
});

test('a pod that passes its deadline is told to stop, and that is an attempt', async () => {
  const hang: RunPod = async (_pod, life) => {
    life.started();
    await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
    return { exitCode: 137 };
  };
  const { clock, store, pods } = setUp(() => hang);
  const { name } = await store.create(job());
  await clock.advance(4 * POD_DEADLINE_MS);
  expect(pods()).toHaveLength(3);
  expect(pods()[0]).toMatchObject({
    phase: 'Failed',
    reason: 'DeadlineExceeded',
    task: { exitCode: 137, reason: 'Error' },
  });
  expect((await record(store, name)).end).toMatchObject({ kind: 'failed', reason: 'BackoffLimitExceeded' });
});

test('a Job that passes its deadline loses its pod first and fails then', async () => {
  const { clock, store, heard } = setUp(script(0));
  const { name } = await store.create(job('m1', { activeDeadlineSeconds: 5 }));
  await clock.advance(6000);
  expect((await record(store, name)).end).toMatchObject({ kind: 'failed', reason: 'DeadlineExceeded' });
  expect(heard.slice(-2).map(({ kind }) => kind)).toEqual(['pod-gone', 'job']);
  await clock.advance(JOB_DEADLINE_MS);
});

test("a container that cannot start waits until its pod's deadline, and was never started", async () => {
  const stuck: RunPod = async (_pod, life) => {
    life.waiting('ErrImagePull', 'not found');
    await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
    return undefined;
  };
  const { clock, store, pods } = setUp(() => stuck);
  await store.create(job());
  await clock.advance(1000);
  expect(pods()[0]).toMatchObject({ phase: 'Pending', task: { kind: 'waiting', reason: 'ErrImagePull' } });
  await clock.advance(POD_DEADLINE_MS);
  expect(pods()[0]).toMatchObject({
    phase: 'Failed',
    reason: 'DeadlineExceeded',
    task: { exitCode: 137, reason: 'ContainerStatusUnknown', startedAt: undefined, finishedAt: undefined },
  });
});

test('a runner that throws is a container that could not be started', async () => {
  const { clock, store, pods } = setUp(() => () => Promise.reject(new Error('no such program')));
  await store.create(job());
  await clock.advance(1000);
  expect(pods()[0]?.task).toMatchObject({
    exitCode: 128,
    reason: 'StartError',
    message: 'no such program',
    startedAt: 0,
  });
});

test('a patch merges, null removes, and what changes nothing makes no version', async () => {
  const { store } = setUp();
  const created = await store.create(job());
  const patched = await store.patch(created.name, {
    labels: { [LABEL.state]: STATE.settled },
    annotations: { 'slipway.dev/a': '1', 'slipway.dev/pop-receipt': null },
    ttlSeconds: 60,
  });
  expect(patched).toMatchObject({ settled: true, ttlSeconds: 60, annotations: { 'slipway.dev/a': '1' } });
  expect(patched.annotations).not.toHaveProperty('slipway.dev/pop-receipt');
  expect(created.labels[LABEL.state]).toBe(STATE.active);
  const again = await store.patch(created.name, { annotations: { 'slipway.dev/a': '1' } });
  expect(again.resourceVersion).toBe(patched.resourceVersion);
});

test('a patch of an older version, or of no Job, is refused', async () => {
  const { store } = setUp();
  const { name, resourceVersion } = await store.create(job());
  await store.patch(name, { annotations: { 'slipway.dev/a': '1' } });
  const stale = store.patch(name, { resourceVersion, annotations: { 'slipway.dev/a': '2' } });
  await expect(stale).rejects.toMatchObject({ kind: 'conflict', code: 'Conflict' });
  const { record: current } = (await store.get(name))!;
  const fresh = await store.patch(name, {
    resourceVersion: current.resourceVersion,
    annotations: { 'slipway.dev/a': '3' },
  });
  expect(fresh.annotations['slipway.dev/a']).toBe('3');
  await expect(store.patch('none', {})).rejects.toMatchObject({ kind: 'not-found' });
});

test('the time to live counts from the finish, whenever it is patched in', async () => {
  const { clock, store, heard } = setUp();
  const { name } = await store.create(job());
  await clock.advance(40_000);
  expect((await record(store, name)).end).toBeDefined();
  await store.patch(name, { ttlSeconds: 60 });
  await clock.advance(29_000);
  expect(await store.get(name)).toBeDefined();
  await clock.advance(2000);
  expect(await store.get(name)).toBeUndefined();
  expect(
    heard
      .slice(-2)
      .map(({ kind }) => kind)
      .sort(),
  ).toEqual(['job-gone', 'pod-gone']);
});

test('a time to live that is over removes the Job at once, and one on an unfinished Job waits for its end', async () => {
  const { clock, store } = setUp();
  const [first, second] = [await store.create(job('m1')), await store.create(job('m2'))];
  await store.patch(first.name, { ttlSeconds: 30 });
  await clock.advance(39_000);
  expect(await store.get(first.name)).toBeDefined();
  await store.patch(second.name, { ttlSeconds: 1 });
  await clock.advance(2000);
  expect(await store.get(first.name)).toBeUndefined();
  expect(await store.get(second.name)).toBeUndefined();
});

test('a deleted Job is gone at once, its pod when its container has ended', async () => {
  const slow: (clock: Clock) => RunPod = (clock) => async (_pod, life) => {
    life.started();
    await clock.sleep(60_000, life.stopping);
    await clock.sleep(3000, new AbortController().signal);
    return { exitCode: 143 };
  };
  const { clock, store, heard } = setUp(slow);
  const { name } = await store.create(job());
  await clock.advance(1000);
  store.remove(name);
  await clock.advance(1000);
  expect(await store.get(name)).toBeUndefined();
  expect(heard.slice(-2)).toMatchObject([
    { kind: 'job-gone', job: { name } },
    { kind: 'pod', pod: { phase: 'Running', deletedBy: EPOCH + 6000 } },
  ]);
  await clock.advance(3000);
  expect(heard.at(-1)?.kind).toBe('pod-gone');
});

/** Pods that run until they are told to end, and take three seconds for it. */
const endless: (clock: Clock) => RunPod = (clock) => async (_pod, life) => {
  life.started();
  await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
  await clock.sleep(3000, new AbortController().signal);
  return { exitCode: 143 };
};

describe('a deadline that is patched', () => {
  test('counts from the start, and ends the pod before the Job', async () => {
    const { clock, store, heard } = setUp(endless);
    const { name } = await store.create(job());
    await clock.advance(10_000);
    expect(await store.patch(name, { activeDeadlineSeconds: 20 })).toMatchObject({ deadlineSeconds: 20 });
    await clock.advance(9000);
    expect((await record(store, name)).end).toBeUndefined();
    await clock.advance(1000);
    expect(heard.at(-1)).toMatchObject({ kind: 'pod', pod: { phase: 'Running', deletedBy: EPOCH + 25_000 } });
    await clock.advance(3000);
    expect(heard.slice(-3)).toMatchObject([
      { kind: 'pod', pod: { phase: 'Failed', task: { exitCode: 143 }, disrupted: false } },
      { kind: 'pod-gone' },
      { kind: 'job', job: { end: { kind: 'failed', reason: 'DeadlineExceeded', at: EPOCH + 23_000 } } },
    ]);
  });

  test('and has passed already ends the Job at once, also between two attempts', async () => {
    const { clock, store, pods } = setUp(script(1));
    const { name } = await store.create(job());
    await clock.advance(15_000);
    await store.patch(name, { activeDeadlineSeconds: 1 });
    await settled();
    expect((await record(store, name)).end).toMatchObject({ reason: 'DeadlineExceeded', at: EPOCH + 15_000 });
    await clock.advance(60_000);
    expect(pods()).toHaveLength(1);
  });

  test('can be put off', async () => {
    const { clock, store } = setUp(script(0));
    const { name } = await store.create(job('m1', { activeDeadlineSeconds: 5 }));
    await clock.advance(4000);
    await store.patch(name, { activeDeadlineSeconds: 60 });
    await clock.advance(10_000);
    expect((await record(store, name)).end).toMatchObject({ kind: 'complete' });
  });

  test('ends a suspended Job only when it is resumed, without a pod when its parallelism is 0', async () => {
    const { clock, store, pods } = setUp();
    const { name } = await store.create(job('m1', { suspend: true }));
    await store.patch(name, { activeDeadlineSeconds: 1 });
    await clock.advance(60_000);
    expect(await record(store, name)).toMatchObject({ suspended: true, startedAt: undefined, end: undefined });
    await store.patch(name, { suspend: false, parallelism: 0, activeDeadlineSeconds: 1 });
    await clock.advance(1000);
    const { startedAt, end, parallelism } = await record(store, name);
    expect({ startedAt, parallelism }).toEqual({ startedAt: EPOCH + 60_000, parallelism: 0 });
    expect(end).toMatchObject({ kind: 'failed', reason: 'DeadlineExceeded', at: EPOCH + 61_000 });
    expect(pods()).toEqual([]);
  });
});

describe('a suspended Job', () => {
  test('loses its pod, counts nothing, and starts anew when it is resumed', async () => {
    const { clock, store, heard, pods } = setUp(script(0));
    const { name } = await store.create(job('m1', { backoffLimit: 0, activeDeadlineSeconds: 15 }));
    await clock.advance(9000);
    await store.patch(name, { suspend: true });
    await clock.advance(3000);
    expect(heard.findLast(({ kind }) => kind === 'pod-gone')).toMatchObject({ pod: { phase: 'Failed' } });
    expect(await record(store, name)).toMatchObject({ suspended: true, startedAt: EPOCH, end: undefined });
    await store.patch(name, { suspend: false });
    await clock.advance(9000);
    expect(await record(store, name)).toMatchObject({ startedAt: EPOCH + 12_000, end: undefined });
    await clock.advance(1000);
    expect((await record(store, name)).end).toMatchObject({ kind: 'complete' });
    expect(pods()).toHaveLength(2);
  });

  test('is judged by its old start when it is resumed', async () => {
    const { clock, store, pods } = setUp(script(0));
    const { name } = await store.create(job('m1', { activeDeadlineSeconds: 15 }));
    await clock.advance(5000);
    await store.patch(name, { suspend: true });
    await clock.advance(15_000);
    expect((await record(store, name)).end).toBeUndefined();
    await store.patch(name, { suspend: false });
    await clock.advance(20_000);
    expect((await record(store, name)).end).toMatchObject({ reason: 'DeadlineExceeded', at: EPOCH + 20_000 });
    expect(pods()).toHaveLength(1);
  });

  test('gets no second pod before the first has ended', async () => {
    const { clock, store, pods } = setUp(endless);
    const { name } = await store.create(job());
    await clock.advance(1000);
    await store.patch(name, { suspend: true });
    await settled();
    await store.patch(name, { suspend: false });
    await clock.advance(2000);
    expect(pods()).toHaveLength(1);
    await clock.advance(1000);
    expect(pods()).toHaveLength(2);
    expect(await record(store, name)).toMatchObject({ end: undefined });
  });

  test('keeps its back-off', async () => {
    const { clock, store, pods } = setUp(script(1));
    const { name } = await store.create(job());
    await clock.advance(11_000);
    await store.patch(name, { suspend: true });
    await clock.advance(2000);
    await store.patch(name, { suspend: false });
    await clock.advance(6999);
    expect(pods()).toHaveLength(1);
    await clock.advance(1);
    expect(pods()).toHaveLength(2);
  });
});

test('a Job whose parallelism is 0 loses its pod, counts nothing, and keeps its start', async () => {
  const { clock, store, pods } = setUp(script(0));
  const { name } = await store.create(job('m1', { backoffLimit: 0 }));
  await clock.advance(1000);
  await store.patch(name, { parallelism: 0 });
  await clock.advance(60_000);
  expect(pods()).toHaveLength(1);
  await store.patch(name, { parallelism: 1 });
  await clock.advance(10_000);
  expect(await record(store, name)).toMatchObject({ startedAt: EPOCH, end: { kind: 'complete' } });
});

describe('a pod that is taken away', () => {
  test('by deletion ends within its grace, is removed, and was an attempt', async () => {
    const { clock, store, heard, pods } = setUp(endless);
    const { name } = await store.create(job('m1', { backoffLimit: 1 }));
    await clock.advance(1000);
    const [first] = pods() as [PodRecord];
    await store.deletePod(first);
    await settled();
    expect(pods()).toMatchObject([{ phase: 'Running', deletedBy: EPOCH + 6000 }]);
    await clock.advance(3000);
    expect(heard.filter(({ kind }) => kind === 'pod-gone')).toMatchObject([
      { pod: { uid: first.uid, phase: 'Failed', disrupted: false, task: { exitCode: 143 } } },
    ]);
    await clock.advance(9999);
    expect(pods()).toHaveLength(1);
    await clock.advance(1);
    expect(pods()).toHaveLength(2);
    await store.deletePod(pods()[1] as PodRecord);
    await clock.advance(3000);
    expect((await record(store, name)).end).toMatchObject({ kind: 'failed', reason: 'BackoffLimitExceeded' });
  });

  test('by eviction is disrupted, and was none', async () => {
    const { clock, store, heard, pods } = setUp(endless);
    const { name } = await store.create(job('m1', { backoffLimit: 0 }));
    for (const rounds of [1, 2, 3]) {
      await clock.advance(60_000);
      expect(pods()).toHaveLength(rounds);
      await store.evictPod(pods().at(-1) as PodRecord);
      await clock.advance(3000);
      expect(heard.findLast(({ kind }) => kind === 'pod-gone')).toMatchObject({ pod: { disrupted: true } });
    }
    expect((await record(store, name)).end).toBeUndefined();
  });

  test('by deletion and then by eviction is disrupted', async () => {
    const { clock, store, pods } = setUp(endless);
    const { name } = await store.create(job('m1', { backoffLimit: 0 }));
    await clock.advance(1000);
    const [pod] = pods() as [PodRecord];
    await store.deletePod(pod);
    await clock.advance(1000);
    await store.evictPod(pod);
    await clock.advance(2000);
    expect(pods()).toMatchObject([{ deletedBy: EPOCH + 6000, disrupted: true }]);
    expect((await record(store, name)).end).toBeUndefined();
  });

  test('counts, though its Job is suspended while it ends', async () => {
    const { clock, store, pods } = setUp(endless);
    const { name } = await store.create(job('m1', { backoffLimit: 0 }));
    await clock.advance(1000);
    await store.deletePod(pods()[0] as PodRecord);
    await store.patch(name, { suspend: true });
    await clock.advance(3000);
    expect((await record(store, name)).end).toMatchObject({ reason: 'BackoffLimitExceeded' });
  });

  test('and ends with success meanwhile has succeeded', async () => {
    const graceful: RunPod = async (_pod, life) => {
      life.started();
      await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
      return { exitCode: 0 };
    };
    const { clock, store, pods } = setUp(() => graceful);
    const { name } = await store.create(job());
    await clock.advance(1000);
    await store.deletePod(pods()[0] as PodRecord);
    await clock.advance(1000);
    expect((await record(store, name)).end).toMatchObject({ kind: 'complete' });
  });

  test('and has ended already is removed, and nothing else comes of it', async () => {
    const { clock, store, heard, pods } = setUp(script(0));
    const { name } = await store.create(job());
    await clock.advance(20_000);
    const before = await record(store, name);
    await store.deletePod(pods()[0] as PodRecord);
    await store.deletePod(pods()[0] as PodRecord);
    await settled();
    expect(heard.filter(({ kind }) => kind === 'pod-gone')).toHaveLength(1);
    expect(await record(store, name)).toEqual(before);
  });

  test('under another uid stays', async () => {
    const { clock, store, heard, pods } = setUp(endless);
    await store.create(job());
    await clock.advance(1000);
    const pod = pods()[0] as PodRecord;
    await store.deletePod({ ...pod, uid: 'another' });
    await store.evictPod({ ...pod, uid: 'another' });
    await clock.advance(60_000);
    expect(pods()).toMatchObject([{ phase: 'Running', deletedBy: undefined, disrupted: false }]);
    expect(heard.filter(({ kind }) => kind === 'pod-gone')).toEqual([]);
  });
});

describe('a pod without a node', () => {
  const NO_NODE = '0/3 nodes are available: 3 Insufficient cpu.';

  test('waits, in the words of the scheduler, and starts when it gets one', async () => {
    let message: string | undefined = NO_NODE;
    const { clock, store, heard } = setUp(script(0), { schedule: () => message });
    const { name } = await store.create(job());
    await clock.advance(600_000);
    expect(heard.filter(({ kind }) => kind === 'pod')).toMatchObject([
      { pod: { phase: 'Pending', unschedulable: NO_NODE, stageSince: undefined, task: undefined } },
    ]);
    message = undefined;
    await clock.advance(10_000);
    expect(heard.at(-1)).toMatchObject({
      pod: { phase: 'Running', stageSince: EPOCH + 610_000, unschedulable: undefined },
    });
    await clock.advance(10_000);
    expect((await record(store, name)).end).toMatchObject({ kind: 'complete' });
  });

  test.each([
    ['deleted', 'deletePod', false, { kind: 'failed', reason: 'BackoffLimitExceeded' }],
    ['evicted', 'evictPod', true, undefined],
  ] as const)('is %s like any other, at once', async (_, takeAway, disrupted, end) => {
    const { clock, store, heard, pods } = setUp(script(0), { schedule: () => NO_NODE });
    const { name } = await store.create(job('m1', { backoffLimit: 0 }));
    await clock.advance(1000);
    await store[takeAway](pods()[0] as PodRecord);
    await settled();
    expect(heard.find(({ kind }) => kind === 'pod-gone')).toMatchObject({
      pod: { phase: 'Failed', disrupted, deletedBy: EPOCH + 1000, task: undefined },
    });
    expect(await record(store, name)).toMatchObject({ end });
  });

  test('goes with its Job', async () => {
    const { clock, store, heard } = setUp(script(0), { schedule: () => NO_NODE });
    const { name } = await store.create(job());
    store.remove(name);
    await clock.advance(1000);
    expect(heard.at(-1)).toMatchObject({ kind: 'pod-gone', pod: { jobName: name } });
  });
});

test('a pod that is refused is tried again, later and later and at any change of its Job, until it is made', async () => {
  let message: string | undefined = 'exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4';
  const tries: number[] = [];
  const admit = () => {
    tries.push((clock.now() - EPOCH) / 1000);
    return message;
  };
  const { clock, store, pods } = setUp(script(0), { admit });
  const created = await store.create(job());
  expect(await store.podRefusal(created)).toMatch(
    new RegExp(`^Error creating: pods "${created.name}-[0-9a-z]{5}" is forbidden: exceeded quota: q, requested`),
  );
  expect(await store.podRefusal({ ...created, uid: 'another' })).toBeUndefined();
  await clock.advance(190_000);
  expect(tries).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
  expect(pods()).toEqual([]);
  message = undefined;
  await store.patch(created.name, { annotations: { 'slipway.dev/a': '1' } });
  await clock.advance(10_000);
  expect(await record(store, created.name)).toMatchObject({ startedAt: EPOCH, end: { kind: 'complete' } });
  expect(pods()).toHaveLength(1);
});

test('a pod that was made forgets how often one was refused before', async () => {
  const refusedUntil = [40_000, 0, 120_000];
  const tries: number[] = [];
  let made = 0;
  const { clock, store } = setUp(script(1), {
    admit: () => {
      const at = clock.now() - EPOCH;
      tries.push(at / 1000);
      if (at < (refusedUntil[made] ?? 0)) return 'exceeded quota';
      made++;
      return undefined;
    },
  });
  await store.create(job());
  await clock.advance(130_000);
  // Pods at 63 and 83 seconds, of ten seconds each; then a back-off of twenty.
  expect(tries).toEqual([0, 1, 3, 7, 15, 31, 63, 83, 113, 114, 116, 120]);
});

test('a pod tells when it got its node', async () => {
  const { clock, store, pods } = setUp(script(0));
  await store.create(job());
  await clock.advance(5000);
  expect(pods()).toMatchObject([{ stageSince: EPOCH, unschedulable: undefined, deletedBy: undefined }]);
});

test('a patch that no Job may have is refused', async () => {
  const { store } = setUp();
  const { name } = await store.create(job());
  for (const patch of [{ activeDeadlineSeconds: -1 }, { parallelism: -1 }])
    await expect(store.patch(name, patch)).rejects.toMatchObject({ kind: 'invalid' });
});

test('a follower hears of everything once: what there is, then each change under a higher version', async () => {
  const { clock, store, heard } = setUp();
  const early = await store.create(job('m1'));
  await clock.advance(1000);
  const late: Observation[] = [];
  const stop = new AbortController();
  const following = store.follow((observation) => late.push(observation), stop.signal);
  expect(late).toMatchObject([{ kind: 'listed', jobs: [{ name: early.name }], pods: [{ phase: 'Running' }] }]);
  await store.create(job('m2'));
  await clock.advance(20_000);
  const versions = heard.flatMap((one) => (one.kind === 'job' ? [BigInt(one.job.resourceVersion)] : []));
  expect(versions).toEqual([...new Set(versions)].sort((a, b) => Number(a - b)));
  expect(late.slice(1)).toEqual(heard.slice(-late.length + 1));
  stop.abort();
  await following;
  const count = late.length;
  await store.create(job('m3'));
  await clock.advance(20_000);
  expect(late).toHaveLength(count);
});

test('a call that is stopped gets no answer', async () => {
  const { store } = setUp();
  const stopped = AbortSignal.abort();
  await expect(store.create(job(), stopped)).rejects.toMatchObject({ kind: 'unknown' });
  await expect(store.get('x', stopped)).rejects.toMatchObject({ kind: 'unknown' });
  await expect(store.deletePod({ name: 'x', namespace: 'slipway', uid: 'u' }, stopped)).rejects.toMatchObject({
    kind: 'unknown',
  });
  await expect(store.evictPod({ name: 'x', namespace: 'slipway', uid: 'u' }, stopped)).rejects.toMatchObject({
    kind: 'unknown',
  });
  await expect(store.podRefusal({ name: 'x', uid: 'u' }, stopped)).rejects.toMatchObject({ kind: 'unknown' });
});

test('the same notice about the same object is one', async () => {
  const { store } = setUp();
  const notice = { reason: 'R', message: 'm', type: 'Warning', about: { kind: 'Job', name: 'n', uid: 'u' } } as const;
  await store.notify(notice);
  await store.notify({ ...notice });
  await store.notify({ ...notice, about: { ...notice.about, uid: 'v' } });
  expect(store.notices).toHaveLength(2);
});

test('disposing of the store ends its pods', async () => {
  const { clock, store } = setUp(script(0));
  await store.create(job('m1'));
  await store.create(job('m2'));
  await store.create(job('m3', { suspend: true }));
  await clock.advance(1000);
  await store[Symbol.asyncDispose]();
});
