import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../contract/identity.ts';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { task, World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';
import { recordedOutcome } from './jobs/outcome.ts';

const QUEUE = 'acme-tasks';
const HOUR = 3_600_000;

/** A world with one long task that has just begun, and an operator that looks at its Job when told. */
async function setUp({ runMs = HOUR, ttlSeconds = 604_800 } = {}) {
  const world = new World();
  const id = world.queues.send(QUEUE, task('t-1', { runMs }), ttlSeconds);
  const life = world.rest();
  life.observe();
  await settled();
  await life.deliverNext();
  const { name } = await world.theJob();
  world.newEffects();
  const message = () => world.queues.messages(QUEUE)[0];
  const receiptOnJob = async () => (await world.theJob()).annotations[ANNOTATION.popReceipt];
  return { world, life, id, name, message, receiptOnJob, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', 'refused');
const receiptWrite = (name: string) => `patch ${name}: pop-receipt, lease-until`;

describe('the lease of a running task', () => {
  test('is renewed when two thirds have passed, and the new receipt stands on the Job', async () => {
    await using at = await setUp();
    expect(await at.life.reconcile()).toBe(40_000);
    await at.world.clock.advance(40_000);
    expect(await at.life.reconcile()).toBe(0);
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 600`, receiptWrite(at.name)]);
    expect(await at.receiptOnJob()).toBe(at.message()?.popReceipt);
    expect(at.life.passed).toContain('receipt-patched');
    expect(await at.life.reconcile()).toBe(400_000);
  });

  test('I3: a receipt that could not be written is written at the next look, before anything else', async () => {
    await using at = await setUp();
    await at.world.clock.advance(40_000);
    at.world.before = ({ method }) => {
      if (method === 'patch') throw refused('unavailable');
    };
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind: 'unavailable' });
    at.world.before = () => undefined;
    at.world.newEffects();
    await at.life.reconcile();
    expect(at.world.effects).toEqual([receiptWrite(at.name)]);
    expect(await at.receiptOnJob()).toBe(at.message()?.popReceipt);
  });

  test('I3: the receipt on the Job is the one that another operator needs to go on', async () => {
    await using at = await setUp();
    await at.world.clock.advance(40_000);
    await at.life.reconcile();
    at.life.kill();
    const next = at.world.rest();
    next.observe();
    await settled();
    await at.world.clock.advance(500_000);
    at.world.newEffects();
    await next.reconcile();
    expect(at.world.effects).toEqual([]);
    await at.world.clock.advance(90_000);
    await next.reconcile();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 600`, receiptWrite(at.name)]);
  });

  test.each<ErrorKind>(['unavailable', 'unknown', 'throttled'])(
    'a renewal that fails (%s) is tried again',
    async (kind) => {
      await using at = await setUp();
      await at.world.clock.advance(40_000);
      at.world.queues.before = () => {
        throw refused(kind);
      };
      await expect(at.life.reconcile()).rejects.toMatchObject({ kind });
      at.world.queues.before = () => undefined;
      expect(await at.life.reconcile()).toBe(0);
      expect((await at.world.theJob()).annotations).not.toHaveProperty(ANNOTATION.leaseLost);
    },
  );

  test('is kept for a suspended Job too', async () => {
    await using at = await setUp();
    at.life.view.observe = () => undefined;
    at.life.view.learn({ ...(await at.world.theJob()), resourceVersion: '999', suspended: true });
    await at.world.clock.advance(40_000);
    expect(await at.life.reconcile()).toBe(0);
  });

  test('is not renewed past the message’s expiry', async () => {
    await using at = await setUp({ ttlSeconds: 100 });
    await at.world.clock.advance(40_000);
    await at.life.reconcile();
    expect(at.world.newEffects()[0]).toBe(`renew ${QUEUE} ${at.id} 60`);
    expect(await at.life.reconcile()).toBe(60_000);
    await at.world.clock.advance(60_000);
    expect(await at.life.reconcile()).toBeUndefined();
    expect(at.world.effects).toEqual([]);
  });

  test('I5: is kept while the view is unknown: the last picture stays', async () => {
    await using at = await setUp();
    at.life.view.observe({ kind: 'unknown', error: new Error('lost') });
    await at.world.clock.advance(40_000);
    expect(await at.life.reconcile()).toBe(0);
    expect(at.world.effects).toContain(`renew ${QUEUE} ${at.id} 600`);
  });
});

describe('a lease that is lost', () => {
  test('is told on the Job, by an Event and by a metric; the Job goes on, and the message is not touched', async () => {
    await using at = await setUp();
    await at.world.clock.advance(60_000);
    const [theirs] = await at.world.queues.receive(QUEUE, 1, 600);
    expect(await at.life.reconcile()).toBe(0);
    at.world.before = ({ method }) => {
      if (method === 'patch') throw refused('unavailable');
    };
    await expect(at.life.reconcile(), 'it is told as soon as it can be').rejects.toMatchObject({ kind: 'unavailable' });
    at.world.before = () => undefined;
    expect(await at.life.reconcile()).toBe(0);
    expect((await at.world.theJob()).annotations[ANNOTATION.leaseLost]).toBe('2026-01-01T00:01:00.000Z');
    expect(at.world.store.notices).toMatchObject([{ reason: 'LeaseLost', type: 'Warning', about: { name: at.name } }]);
    expect(await at.life.metrics.leasesLost.get()).toMatchObject({ values: [{ value: 1, labels: { queue: QUEUE } }] });
    expect(await at.life.reconcile()).toBeUndefined();
    expect(at.message()?.popReceipt).toBe(theirs?.popReceipt);
    expect((await at.world.theJob()).end).toBeUndefined();
  });

  test('comes back with the message', async () => {
    await using at = await setUp();
    await at.world.clock.advance(60_000);
    await at.world.queues.receive(QUEUE, 1, 60);
    await at.life.reconcile();
    await at.world.clock.advance(60_000);
    await at.life.deliverNext();
    expect(await at.life.reconcile()).toBe(40_000);
    expect(at.life.leases.bound(at.name)?.condition).toBe('held');
  });

  test('I2: settles its Job without a delete, and keeps the record', async () => {
    await using at = await setUp({ runMs: 90_000 });
    await at.world.clock.advance(60_000);
    await at.world.queues.receive(QUEUE, 1, 600);
    await at.life.reconcile();
    await at.life.reconcile();
    await at.world.clock.advance(30_000);
    at.world.newEffects();
    await at.life.reconcile();
    expect(at.world.effects).toEqual([
      `patch ${at.name}: outcome`,
      expect.stringMatching(/^patch .*: settled, ttl 6047\d\d$/),
    ]);
    expect(recordedOutcome(await at.world.theJob())).toMatchObject({ status: 'completed', leaseLost: true });
    expect(at.message()).toBeDefined();
  });

  test('a stale receipt on the Job does not take the place of a newer one', async () => {
    await using at = await setUp();
    const before = await at.world.theJob();
    await at.world.clock.advance(40_000);
    await at.life.reconcile();
    const held = at.life.leases.bound(at.name)?.state;
    at.life.leases.of(before);
    expect(at.life.leases.bound(at.name)?.state).toEqual(held);
  });

  test('the receipt that another operator wrote is taken over', async () => {
    await using at = await setUp();
    const other = at.world.rest();
    other.observe();
    await settled();
    expect(await other.reconcile()).toBe(40_000);
    await at.world.clock.advance(40_000);
    await other.reconcile();
    await settled();
    at.world.newEffects();
    expect(await at.life.reconcile()).toBe(400_000);
    expect(at.world.effects).toEqual([]);
    expect(at.life.leases.bound(at.name)?.state.popReceipt).toBe(at.message()?.popReceipt);
  });
});

test('a settled Job is forgotten', async () => {
  await using at = await setUp({ runMs: 1000 });
  await at.world.clock.advance(1000);
  await at.life.reconcile();
  await at.life.reconcile();
  expect(at.life.leases.bound(at.name)).toBeUndefined();
  expect(at.life.leases.held()).toEqual([]);
});

test('I6: a Job that has ended frees its slot before it is settled', async () => {
  await using at = await setUp({ runMs: 1000 });
  expect(at.life.free).toBe(19);
  await at.world.clock.advance(1000);
  expect(at.life.free).toBe(20);
  let woken = 0;
  at.life.slots.freed.wake = () => {
    woken++;
  };
  await at.life.reconcile();
  expect(woken).toBeGreaterThan(0);
});
