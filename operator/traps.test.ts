/** What other systems of this kind fell into, each under its name. */
import { describe, expect, test } from 'vitest';
import { ANNOTATION, POD_ANNOTATION } from '../contract/identity.ts';
import { API_STEPS, type Cell, cellName, QUEUE_STEPS, type Step } from '../testing/model/faults.ts';
import { type Life, task, World } from '../testing/rig.ts';
import { type JobRecord, jobRecord } from './jobs/records.ts';

const QUEUE = 'acme-tasks';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const creates = (world: World) => world.effects.filter((effect) => effect.startsWith('create acme-echo'));
const calls = (world: World, step: Step, sinceMs = 0) =>
  world.faults.calls.filter((call) => call.step === step && call.at >= sinceMs).length;

test('I6: a failed list counted as zero: a new operator that cannot list starts nothing beside what runs', async () => {
  await using world = new World('limits: { maxRunning: 2 }\ntaskTypes: { echo: {} }');
  for (const id of ['a', 'b', 'c', 'd']) world.queues.send(QUEUE, task(id, { runMs: HOUR }));
  const first = await world.start();
  await world.clock.advance(MINUTE);
  first.kill();
  world.faults.setOutage({ step: 'list', fault: '503 ServiceUnavailable' });
  await world.start();
  await world.clock.advance(10 * MINUTE);
  expect(calls(world, 'list')).toBeGreaterThan(10);
  expect(creates(world)).toHaveLength(2);
  world.faults.clear();
  await world.clock.advance(10 * MINUTE);
  expect(creates(world)).toHaveLength(2);
});

describe('Jobs made from a count', () => {
  test('I1: no message in hand, no Job: what another consumer has is none of ours', async () => {
    await using world = new World();
    world.queues.send(QUEUE, task('a'));
    await world.queues.receive(QUEUE, 1, 3600);
    await world.start();
    await world.clock.advance(30 * MINUTE);
    expect(calls(world, 'receive')).toBeGreaterThan(100);
    expect(calls(world, 'create')).toBe(0);
  });

  test('I1: one message stays one Job however often the queue is asked while its pod does not start', async () => {
    await using world = new World();
    world.queues.send(QUEUE, task('a', { unschedulable: '0/3 nodes are available' }));
    await world.start();
    await world.clock.advance(20 * MINUTE);
    expect(calls(world, 'receive')).toBeGreaterThan(100);
    expect(calls(world, 'create')).toBe(1);
  });
});

test('I7: a lost watch event: the end of a Job that nobody told of is found by the next list', async () => {
  await using world = new World();
  world.queues.send(QUEUE, task('a', { runMs: MINUTE }));
  await world.start();
  await world.clock.advance(10_000);
  world.faults.setOutage({ step: 'watch', fault: 'event missing' });
  await world.clock.advance(2 * MINUTE);
  const lost = await world.theJob();
  expect([lost.end?.kind, lost.settled]).toEqual(['complete', false]);
  await world.clock.advance(4 * MINUTE);
  expect((await world.theJob()).settled).toBe(true);
});

test('I2: a stale receipt: a task that ends while its lease is being renewed is deleted with the new receipt', async () => {
  await using world = new World();
  const id = world.queues.send(QUEUE, task('a', { runMs: 42_000 }));
  await world.start();
  const slow = new AbortController();
  world.queues.after = async ({ operation }) => {
    if (operation === 'renew') await world.clock.sleep(10_000, slow.signal);
  };
  await world.clock.advance(45_000);
  // The Job has ended, the message has its new receipt, and the operator does not know it yet.
  expect(world.effects.filter((effect) => effect.includes(id))).toEqual([`renew ${QUEUE} ${id} 600`]);
  await world.clock.advance(30_000);
  expect(world.queues.messages(QUEUE)).toEqual([]);
  const job = await world.theJob();
  expect(job.settled).toBe(true);
  expect(job.annotations[ANNOTATION.leaseLost]).toBeUndefined();
});

test('I2: acknowledged before the work: the message is there as long as its Job is not finished', async () => {
  await using world = new World();
  world.queues.send(QUEUE, task('a', { runMs: 20 * MINUTE, ends: [1, 0] }));
  await world.start();
  for (let minute = 0; minute < 40; minute++) {
    await world.clock.advance(MINUTE);
    if ((await world.theJob()).end === undefined) expect(world.queues.messages(QUEUE)).toHaveLength(1);
  }
  await world.clock.advance(5 * MINUTE);
  expect(world.queues.messages(QUEUE)).toEqual([]);
});

describe('retry storms', () => {
  /** Calls a minute to a server that fails: a third of a second and more between two of one kind, for the tasks of this test. */
  const MOST_A_MINUTE = 20;
  const faults: readonly Cell[] = [
    ...QUEUE_STEPS.map((step): Cell => ({ step, fault: '503 ServerBusy' })),
    ...API_STEPS.map((step): Cell => ({ step, fault: '403 Forbidden' })),
    { step: 'patch receipt', fault: '404 NotFound' },
    { step: 'patch close', fault: '404 NotFound' },
    { step: 'list', fault: '500 InternalError' },
    { step: 'watch', fault: '410 Expired' },
  ];

  test.each(faults.map((cell) => [cellName(cell), cell] as const))(
    'I12: %s is not answered by a loop',
    async (_, cell) => {
      await using world = new World('defaults: { startTimeoutSeconds: 60 }\ntaskTypes: { echo: {} }');
      world.queues.send(QUEUE, task('a', { ends: [65] }));
      world.queues.send(QUEUE, task('b', { runMs: 20 * MINUTE }));
      world.queues.send(QUEUE, task('c', { stuck: { reason: 'ErrImagePull', message: 'manifest unknown' } }));
      world.faults.setOutage(cell);
      await world.start();
      await world.clock.advance(10 * MINUTE);
      expect(world.faults.storms).toEqual([]);
      for (const step of [...QUEUE_STEPS, ...API_STEPS]) {
        const perMinute = Array.from({ length: 9 }, (_, at) => {
          const since = (at + 1) * MINUTE;
          return calls(world, step, since) - calls(world, step, since + MINUTE);
        });
        // An idle queue is asked each five seconds, jitter included.
        expect(Math.max(...perMinute), `${step}: ${perMinute}`).toBeLessThanOrEqual(MOST_A_MINUTE);
      }
    },
  );

  test.each([-HOUR, -MINUTE, MINUTE, HOUR])('I12: a clock that is off by %i ms starts no loop', async (skewMs) => {
    await using world = new World();
    world.queues.send(QUEUE, task('a', { runMs: 30 * MINUTE }));
    const life = await world.start();
    life.clock.skewMs = skewMs;
    await world.clock.advance(20 * MINUTE);
    expect(world.faults.storms).toEqual([]);
    expect(calls(world, 'renew')).toBeLessThan(10);
    expect(world.queues.messages(QUEUE)[0]?.dequeueCount).toBe(1);
  });
});

describe('memory that grows with finished Jobs', () => {
  const MANY = 10_000;
  const finished = (at: number): JobRecord =>
    jobRecord({
      metadata: {
        name: `acme-echo-${at}`,
        uid: `uid-${at}`,
        resourceVersion: String(at + 1),
        labels: { 'slipway.dev/state': 'settled' },
        annotations: { [ANNOTATION.messageId]: `id-${at}`, 'example.com/note': 'x'.repeat(60_000) },
      },
      spec: { template: { metadata: { annotations: { [POD_ANNOTATION.taskData]: 'x'.repeat(60_000) } } } },
      status: { conditions: [{ type: 'Complete', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }] },
    });
  const left = ({ view, leases, free }: Life, jobs: readonly JobRecord[]) => ({
    jobs: [...view.jobs()].length,
    pods: jobs.filter(({ name }) => view.pods(name).length > 0).length,
    ages: jobs.filter(({ name }) => view.endAgeMs(name) > 0).length,
    leases: jobs.filter(({ name }) => leases.bound(name) !== undefined).length,
    slots: free,
  });

  test('I6: of ten thousand finished Jobs little is kept, and nothing when they are gone', async () => {
    await using world = new World();
    const life = await world.start();
    const jobs = Array.from({ length: MANY }, (_, at) => finished(at));
    for (const job of jobs) life.view.observe({ kind: 'job', job });
    await world.clock.advance(MINUTE);
    expect(JSON.stringify(jobs[0]).length).toBeLessThan(1000);
    expect(left(life, jobs)).toEqual({ jobs: MANY, pods: 0, ages: MANY, leases: 0, slots: 20 });
    for (const job of jobs) life.view.observe({ kind: 'job-gone', job });
    await world.clock.advance(MINUTE);
    expect(left(life, jobs)).toEqual({ jobs: 0, pods: 0, ages: 0, leases: 0, slots: 20 });
  });

  test('I6: tasks that were run to their end leave nothing behind', async () => {
    await using world = new World('ttl: { completedSeconds: 60, failedSeconds: 60 }\ntaskTypes: { echo: {} }');
    for (let at = 0; at < 100; at++) world.queues.send(QUEUE, task(`t-${at}`, at % 3 === 0 ? { ends: [65] } : {}));
    const life = await world.start();
    const jobs = new Map<string, JobRecord>();
    for (let at = 0; at < 20; at++) {
      await world.clock.advance(10_000);
      for (const job of life.view.jobs()) jobs.set(job.name, job);
    }
    expect(jobs.size).toBe(100);
    expect(left(life, [...jobs.values()])).toEqual({ jobs: 0, pods: 0, ages: 0, leases: 0, slots: 20 });
  });
});
