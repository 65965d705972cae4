import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { testConfig } from '../testing/jobs.ts';
import { task, World } from '../testing/rig.ts';

const QUEUE = 'acme-tasks';

describe('a replica that does not lead', () => {
  test('I6: receives nothing and settles nothing, and brings on all of it once it leads', async () => {
    await using world = new World();
    const leader = await world.start();
    world.queues.send(QUEUE, task('t-1', { ends: [65] }));
    await world.clock.advance(1500);
    leader.kill();
    world.queues.send(QUEUE, task('t-2'));
    world.newEffects();
    const standby = await world.start({ leads: false });
    await world.clock.advance(40_000);
    expect(world.newEffects()).toEqual([]);
    expect(world.queues.messages(QUEUE).map(({ dequeueCount }) => dequeueCount)).toEqual([1, 0]);
    standby.lead(true);
    await world.clock.advance(30_000);
    expect(await world.endState()).toMatchObject({ queued: [], poisoned: [expect.stringContaining('TaskFailed')] });
    expect((await world.jobs()).map(({ settled }) => settled)).toEqual([true, true]);
  });

  test('I3: and that led before goes on with what another wrote meanwhile', async () => {
    await using world = new World();
    const first = await world.start();
    world.queues.send(QUEUE, task('t-1', { runMs: 300_000 }));
    await world.clock.advance(5000);
    first.lead(false);
    const second = await world.start();
    await world.clock.advance(100_000);
    second.kill();
    first.lead(true);
    await world.clock.advance(400_000);
    expect((await world.theJob()).annotations).not.toHaveProperty('slipway.dev/lease-lost');
    expect(await world.endState()).toMatchObject({ queued: [], jobs: [expect.stringContaining('complete, settled')] });
    expect(world.queues.messages(QUEUE)).toEqual([]);
  });

  test('I6: makes no Job of a message that it received before another began to lead', async () => {
    await using world = new World();
    const life = world.rest();
    life.observe();
    const id = world.queues.send(QUEUE, task('t-1'));
    await world.clock.advance(1);
    life.lead(false);
    await life.deliverNext();
    expect(await world.jobs()).toEqual([]);
    expect(world.newEffects()).toEqual([`release ${QUEUE} ${id}`]);
  });

  test('I1: gives back no message whose Job may be made yet: another consumer would do it too', async () => {
    await using world = new World();
    const life = world.rest();
    life.observe();
    world.queues.send(QUEUE, task('t-1'));
    await world.clock.advance(1);
    world.before = ({ method }) => {
      if (method === 'create') throw new ServiceError('unknown', 'TimeoutError', 'no answer');
    };
    const delivery = life.deliverNext();
    await world.clock.advance(100);
    life.lead(false);
    await world.clock.advance(20_000);
    await delivery;
    expect(world.newEffects()).toEqual([]);
    expect(world.queues.messages(QUEUE)[0]?.visibleOn).toBeGreaterThan(world.clock.now());
  });

  test('I7: cancels nothing for a Job whose deletion it saw while another worked', async () => {
    await using world = new World();
    const leader = await world.start();
    const standby = await world.start({ leads: false });
    world.queues.send(QUEUE, task('t-1', { runMs: 300_000 }));
    await world.clock.advance(5000);
    const { name } = await world.theJob();
    leader.kill();
    world.store.remove(name);
    await world.clock.advance(30_000);
    standby.lead(true);
    await world.clock.advance(400_000);
    expect((await world.theJob()).end).toMatchObject({ kind: 'complete' });
  });
});

describe('a configuration that changes', () => {
  const file = (rest: string) => testConfig(`ttl: { failedSeconds: 86400 }\n${rest}`);

  test('I10: is for new tasks: those that run go on under their own limits', async () => {
    await using world = new World('taskTypes: { echo: {} }');
    await world.start();
    world.queues.send(QUEUE, task('t-1', { runMs: 60_000 }));
    await world.clock.advance(3000);
    const before = await world.theJob();
    world.liveConfig.replace(file('taskTypes: { echo: { timeoutSeconds: 7 } }'));
    world.queues.send(QUEUE, task('t-2', { runMs: 60_000 }));
    await world.clock.advance(6000);
    const [old, fresh] = await world.jobs();
    expect([old?.uid, old?.deadlineSeconds]).toEqual([before.uid, before.deadlineSeconds]);
    expect(fresh?.deadlineSeconds).toBeLessThan(before.deadlineSeconds ?? 0);
    await world.clock.advance(120_000);
    expect((await world.jobs()).map(({ end }) => end?.kind)).toEqual(['complete', 'complete']);
  });

  test('receiving: false receives nothing more, and lets running and held tasks come to their end', async () => {
    await using world = new World('taskTypes: { echo: { maxRunning: 1 } }');
    await world.start();
    for (const id of ['t-1', 't-2']) world.queues.send(QUEUE, task(id, { runMs: 10_000 }));
    await world.clock.advance(4000);
    expect((await world.jobs()).map(({ suspended }) => suspended).toSorted()).toEqual([false, true]);
    world.liveConfig.replace(file('receiving: false\ntaskTypes: { echo: { maxRunning: 1 } }'));
    world.queues.send(QUEUE, task('t-3'));
    await world.clock.advance(120_000);
    expect((await world.jobs()).map(({ settled }) => settled)).toEqual([true, true]);
    expect(world.queues.messages(QUEUE).map(({ dequeueCount }) => dequeueCount)).toEqual([0]);
    world.liveConfig.replace(file('taskTypes: { echo: {} }'));
    await world.clock.advance(30_000);
    expect(world.queues.messages(QUEUE)).toEqual([]);
  });

  test('resumes a type that was paused for its images', async () => {
    await using world = new World('taskTypes: { echo: {} }');
    const life = await world.start();
    life.types.refuse('echo', 'wrong');
    world.liveConfig.replace(file('taskTypes: { echo: { image: "right:1" } }'));
    await world.clock.advance(1000);
    expect([life.types.checked, life.types.paused.size]).toEqual([true, 0]);
  });
});

test('I11: tasks of a type at its cap wait as suspended Jobs, whose leases are kept, and are started in the order in which they came', async () => {
  await using world = new World('taskTypes: { echo: { maxRunning: 1 } }');
  await world.start();
  const started: string[] = [];
  world.onJobChange = ({ job, patch }) => {
    if (patch?.suspend === false || (patch === undefined && !job.suspended))
      started.push(job.labels['slipway.dev/task-id'] ?? '');
  };
  for (const id of ['a', 'b', 'c']) {
    world.queues.send(QUEUE, task(id, { runMs: 200_000 }));
    await world.clock.advance(6000);
  }
  await world.clock.advance(900_000);
  expect(started).toEqual(['a', 'b', 'c']);
  expect((await world.jobs()).every(({ settled, end }) => settled && end?.kind === 'complete')).toBe(true);
  expect(world.doubles).toEqual([]);
});
