import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../contract/identity.ts';
import { parseEnvelope } from '../contract/poison.ts';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { WEBHOOK_URL } from '../testing/jobs.ts';
import { type Plan, report, task, World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';
import { reconcile } from './reconcile.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';
const HOUR = 3_600_000;

/** A world with one task that has just begun, to be reported to a webhook, and an operator that looks at its Job when told. */
async function setUp(plan: Plan = { runMs: HOUR }, yaml?: string) {
  const world = new World(yaml);
  world.queues.create(POISON);
  const message = task('t-1', plan, { webhook_url: WEBHOOK_URL });
  const id = world.queues.send(QUEUE, message, 604_800);
  const life = world.rest();
  life.observe();
  await settled();
  await life.deliverNext();
  const { name } = await world.theJob();
  world.newEffects();
  const look = () => reconcile(life.tools, name, new AbortController().signal);
  return {
    ...{ world, life, id, name, look, message },
    queued: () => world.queues.messages(QUEUE),
    copies: () => world.queues.messages(POISON).map(({ text }) => parseEnvelope(text)),
    reported: () => world.webhooks.map(({ body }) => JSON.parse(body) as unknown),
    /** `kubectl delete job`, seen by the operator. */
    remove: async () => {
      world.store.remove(name);
      await settled();
    },
    /** The same, while the operator's watch is broken; then it lists again. */
    removeUnseen: async () => {
      for (const end of world.watches) end(new ServiceError('unknown', 'TypeError', 'read ECONNRESET'));
      world.store.remove(name);
      await world.clock.advance(1000);
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', 'refused');

describe('an unfinished Job that is seen to be deleted', () => {
  test('I7: cancels its task: no poison copy, a report, and the message is deleted last', async () => {
    await using at = await setUp();
    await at.remove();
    expect(await at.look()).toBeUndefined();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 600`, 'webhook delivered', `remove ${QUEUE} ${at.id}`]);
    expect(at.reported()).toMatchObject([
      {
        task_id: 't-1',
        task_type: 'echo',
        client_id: 'acme',
        status: 'failed',
        error: { code: 'Cancelled', message: 'the task was cancelled: its Job was deleted' },
      },
    ]);
    expect(at.copies()).toEqual([]);
    expect([at.life.leases.bound(at.name), at.life.view.tombstone(at.name)]).toEqual([undefined, undefined]);
    expect(at.world.store.notices).toMatchObject([{ reason: 'Cancelled', type: 'Normal', about: { name: at.name } }]);
    const { values } = await at.life.metrics.settled.get();
    expect(values).toMatchObject([{ value: 1, labels: { client: 'acme', type: 'echo', status: 'cancelled' } }]);
    at.world.newEffects();
    await at.look();
    expect(at.world.effects).toEqual([]);
  });

  test('is reported as cancelled where that is wanted', async () => {
    await using at = await setUp(undefined, 'webhook: { sendCancelled: true }\ntaskTypes: { echo: {} }');
    await at.remove();
    await at.look();
    expect(at.reported()).toMatchObject([{ status: 'cancelled' }]);
  });

  test('gives the reason of an earlier cancellation', async () => {
    await using at = await setUp();
    await at.world.store.patch(at.name, { annotations: { [ANNOTATION.cancel]: 'ordered twice' } });
    await at.remove();
    await at.look();
    expect(at.reported()).toMatchObject([{ error: { message: 'the task was cancelled: ordered twice' } }]);
  });

  test('I1: nothing is done before its pod is gone, and the lease is kept', async () => {
    await using at = await setUp({ runMs: HOUR, stopMs: 25_000 });
    await at.world.clock.advance(20_000);
    await at.remove();
    expect(await at.look()).toBe(20_000);
    await at.world.clock.advance(20_000);
    expect(await at.look()).toBe(0);
    expect(at.world.newEffects()).toEqual([`renew ${QUEUE} ${at.id} 600`]);
    await at.look();
    expect(at.world.effects).toEqual([]);
    await at.world.clock.advance(10_000);
    await at.look();
    expect(at.world.effects).toContain(`remove ${QUEUE} ${at.id}`);
  });

  test('I5: nothing is done while nobody knows what is there', async () => {
    await using at = await setUp();
    await at.remove();
    at.life.view.observe({ kind: 'unknown', error: new Error('lost') });
    expect(await at.look()).toBe(1000);
    expect(at.world.effects).toEqual([]);
    expect(at.life.leases.bound(at.name)?.condition).toBe('held');
  });

  test('I7: whose task has succeeded by then is completed', async () => {
    await using at = await setUp({ ends: [{ exitCode: 0, message: report('completed', 'delivered') }] });
    const job = await at.world.theJob();
    await at.world.clock.advance(1000);
    at.world.newEffects();
    at.life.view.observe({ kind: 'job-gone', job, taskData: '{}' });
    at.world.store.remove(at.name);
    await settled();
    await at.look();
    expect([at.world.webhooks, at.queued()]).toEqual([[], []]);
  });
});

describe('a finished Job that is seen to be deleted before it is settled', () => {
  test('I2: has its real outcome: a poison copy, then its report, and the message is deleted last', async () => {
    await using at = await setUp({ ends: [65] });
    await at.world.clock.advance(1000);
    await at.remove();
    await at.look();
    expect(at.world.effects).toEqual([
      `renew ${QUEUE} ${at.id} 600`,
      `put ${POISON}`,
      'webhook delivered',
      `remove ${QUEUE} ${at.id}`,
    ]);
    expect(at.life.passed.slice(-3)).toEqual(['poisoned', 'webhook-sent', 'deleted']);
    expect(at.copies()).toMatchObject([
      {
        id: at.id,
        diagnosis: { category: 'TaskFailed' },
        attempts: [{ exitCode: 65 }],
        original: JSON.stringify(at.message),
      },
    ]);
    expect(at.reported()).toMatchObject([{ task_id: 't-1', status: 'failed', error: { code: 'TaskFailed' } }]);
  });

  test('I8: is told that it completed, with its result', async () => {
    await using at = await setUp({ ends: [{ exitCode: 0, message: report('completed', 'owed', { result: 7 }) }] });
    await at.world.clock.advance(1000);
    await at.remove();
    await at.look();
    expect(at.reported()).toMatchObject([{ status: 'completed', result: 7 }]);
    expect([at.copies(), at.queued()]).toEqual([[], []]);
  });

  test('I8: with a webhook owed: it is tried a few times more', async () => {
    await using at = await setUp({ ends: [65] });
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.world.clock.advance(1000);
    await at.look();
    expect(at.copies()).toHaveLength(1);
    at.world.newEffects();
    await at.remove();
    at.world.answer = () => ({ kind: 'delivered', status: 200 });
    await at.look();
    expect(at.world.effects).toEqual(['webhook delivered']);
    expect(new Set(at.world.webhooks.map(({ id }) => id)).size).toBe(1);
  });
});

describe('its webhook', () => {
  test('I8: is tried three times while the message is kept, and then given up visibly', async () => {
    await using at = await setUp();
    at.world.liveConfig.replace({ ...at.world.config, podName: 'operator-1' });
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.remove();
    expect(await at.look()).toBe(1000);
    await at.world.clock.advance(1000);
    expect(await at.look()).toBe(5000);
    expect(at.queued()).toHaveLength(1);
    await at.world.clock.advance(5000);
    expect(await at.look()).toBeUndefined();
    expect([at.world.webhooks.length, at.queued().length]).toEqual([3, 0]);
    expect(new Set(at.world.webhooks.map(({ id }) => id)).size).toBe(1);
    expect(at.world.store.notices).toMatchObject([
      {
        reason: 'WebhookGivenUp',
        message: 'The webhook of a task whose Job was deleted in acme-tasks was not delivered: 503',
        about: { kind: 'Pod', name: 'operator-1' },
      },
      { reason: 'Cancelled' },
    ]);
    const { values } = await at.life.metrics.webhooks.get();
    expect(values).toMatchObject([{ value: 1, labels: { result: 'given-up' } }]);
  });

  test('I3: is not sent again when only the delete failed', async () => {
    await using at = await setUp();
    await at.remove();
    at.world.queues.before = ({ operation }) => {
      if (operation === 'remove') throw refused('unavailable');
    };
    await expect(at.look()).rejects.toMatchObject({ kind: 'unavailable' });
    at.world.queues.before = () => undefined;
    await at.look();
    expect([at.world.webhooks.length, at.queued().length]).toEqual([1, 0]);
  });

  test('I3: after a crash between it and the delete the message comes back, and the task runs again', async () => {
    await using world = new World();
    const id = world.queues.send(QUEUE, task('t-1', { runMs: HOUR }, { webhook_url: WEBHOOK_URL }));
    const life = await world.start({ crashAt: { checkpoint: 'webhook-sent' } });
    await world.clock.advance(5000);
    world.store.remove((await world.theJob()).name);
    await world.clock.advance(1000);
    expect([life.dead, world.webhooks.length]).toEqual([true, 1]);
    await world.start();
    await world.clock.advance(650_000);
    expect((await world.theJob()).annotations[ANNOTATION.messageId]).toBe(id);
    expect(world.doubles).toEqual([]);
  });
});

describe('nothing is cancelled', () => {
  test('I7: in a namespace that is being deleted: the message is released', async () => {
    await using at = await setUp();
    at.world.store.terminating = true;
    await at.remove();
    await at.look();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 600`, `release ${QUEUE} ${at.id}`]);
    expect(at.life.leases.bound(at.name)).toBeUndefined();
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toHaveLength(1);
  });

  test.each<ErrorKind>(['forbidden', 'unavailable', 'unknown', 'not-found'])(
    'I5: as long as that cannot be read (%s): the message is kept, and it is asked again',
    async (kind) => {
      await using at = await setUp();
      await at.remove();
      at.world.before = ({ method }) => {
        if (method === 'isTerminating') throw refused(kind);
      };
      await expect(at.look()).rejects.toMatchObject({ kind });
      await at.world.clock.advance(450_000);
      expect(await at.look()).toBe(0);
      await expect(at.look()).rejects.toMatchObject({ kind });
      expect(new Set(at.world.effects)).toEqual(new Set([`renew ${QUEUE} ${at.id} 600`]));
      expect(await at.world.queues.receive(QUEUE, 1, 60)).toEqual([]);
      at.world.before = () => undefined;
      await at.look();
      expect(at.queued()).toEqual([]);
    },
  );

  test('I7: by a Job that is only not there any more: its message is released', async () => {
    await using at = await setUp();
    await at.removeUnseen();
    expect(at.life.view.state.kind).toBe('known');
    await at.look();
    expect(at.world.effects).toEqual([`release ${QUEUE} ${at.id}`]);
    expect(at.life.leases.bound(at.name)).toBeUndefined();
  });

  test('I1: and is not released before the pods are gone', async () => {
    await using at = await setUp({ runMs: HOUR, stopMs: 25_000 });
    await at.removeUnseen();
    await at.look();
    expect(at.world.effects).toEqual([]);
    await at.world.clock.advance(25_000);
    await at.look();
    expect(at.world.effects).toEqual([`release ${QUEUE} ${at.id}`]);
  });

  test('I5: by an absence while nobody knows what is there', async () => {
    await using at = await setUp();
    await at.removeUnseen();
    at.life.view.observe({ kind: 'unknown', error: new Error('lost') });
    await at.look();
    expect(at.world.effects).toEqual([]);
    expect(at.life.leases.bound(at.name)?.condition).toBe('held');
  });

  test('I7: while no operator ran: the task runs again', async () => {
    await using world = new World();
    world.queues.send(QUEUE, task('t-1', { runMs: HOUR }, { webhook_url: WEBHOOK_URL }));
    const life = await world.start();
    await world.clock.advance(5000);
    life.kill();
    const before = await world.theJob();
    world.store.remove(before.name);
    await world.start();
    await world.clock.advance(65_000);
    expect((await world.theJob()).uid).not.toBe(before.uid);
    expect([world.webhooks, world.doubles]).toEqual([[], []]);
  });

  test('I1: where the message was received again meanwhile: that is a new delivery', async () => {
    await using at = await setUp();
    await at.world.clock.advance(61_000);
    await at.remove();
    const [theirs] = await at.world.queues.receive(QUEUE, 1, 600);
    await at.look();
    await at.look();
    expect(at.world.webhooks).toEqual([]);
    expect(at.queued()).toMatchObject([{ popReceipt: theirs?.popReceipt }]);
    expect(at.life.view.tombstone(at.name)).toBeUndefined();
  });

  test('I7: where the Job is there, and only got out of sight', async () => {
    await using at = await setUp();
    const job = await at.world.theJob();
    at.life.view.observe({ kind: 'job-gone', job, taskData: '{}' });
    for (const pod of at.life.view.pods(at.name)) at.life.view.observe({ kind: 'pod-gone', pod });
    await at.look();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 600`, `release ${QUEUE} ${at.id}`]);
  });

  test('I7: before a deletion in the foreground is done', async () => {
    await using at = await setUp({ stuck: { reason: 'InvalidImageName', message: 'Not An Image' } });
    at.life.view.learn({ ...(await at.world.theJob()), resourceVersion: '999', deleting: true });
    await at.world.clock.advance(1000);
    expect(await at.look()).toBeGreaterThan(0);
    expect(at.world.effects).toEqual([]);
    await at.world.clock.advance(39_000);
    await at.look();
    expect(at.world.effects).toContain(`renew ${QUEUE} ${at.id} 600`);
  });
});

test('a Job of somebody else that took the name meanwhile is left alone, and the task is cancelled', async () => {
  await using at = await setUp();
  await at.remove();
  // It has none of the labels by which Jobs are seen.
  at.life.view.observe = () => undefined;
  await at.world.store.create({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: at.name },
    spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'task', image: 'other:1' }] } } },
  });
  await at.look();
  expect(at.reported()).toMatchObject([{ error: { code: 'Cancelled' } }]);
  expect(at.queued()).toEqual([]);
  expect(await at.world.jobs()).toHaveLength(1);
});
