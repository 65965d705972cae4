import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { Lease } from './lease.ts';
import type { ReceivedMessage } from './service.ts';

const QUEUE = 'acme-tasks';

/** A message in hand, its lease, and everything that was done to the queue. */
async function setUp({ leaseSeconds = 60, ttlSeconds = 3600 } = {}) {
  const clock = new VirtualClock();
  const effects: string[] = [];
  const queues = new FakeQueues(clock, effects);
  queues.create(QUEUE);
  queues.send(QUEUE, 'text', ttlSeconds);
  const take = async (seconds = 60): Promise<ReceivedMessage> => {
    const [message] = await queues.receive(QUEUE, 1, seconds);
    if (message === undefined) throw new Error('nothing to receive');
    return message;
  };
  const message = await take(leaseSeconds);
  const lease = new Lease(
    queues,
    clock,
    { queue: QUEUE, id: message.id, expiresOn: message.expiresOn },
    { popReceipt: message.popReceipt, until: message.leaseUntil },
  );
  const stored = () => queues.messages(QUEUE)[0];
  return { clock, queues, effects, lease, message, take, stored };
}

const state = (message: ReceivedMessage) => ({
  popReceipt: message.popReceipt,
  until: message.leaseUntil,
});

describe('renewing', () => {
  test('is due when two thirds have passed, and hides the message on with a new receipt', async () => {
    const { clock, lease, message, stored } = await setUp();
    expect(lease.renewAt - clock.now()).toBe(40_000);
    await clock.advance(40_000);
    expect(await lease.renew(600)).toBe(true);
    expect(lease.state).toEqual({
      popReceipt: stored()?.popReceipt,
      until: clock.now() + 600_000,
    });
    expect(lease.state.popReceipt).not.toBe(message.popReceipt);
    expect(lease.renewAt - clock.now()).toBe(400_000);
  });

  test('I12: is due when it is due, whatever somebody does to the clock meanwhile', async () => {
    for (const jump of [1_800_000, -3_600_000]) {
      const { clock, lease } = await setUp();
      clock.jump(jump);
      expect(lease.renewAt - clock.now()).toBe(40_000);
      await clock.advance(39_000);
      expect(lease.renewAt - clock.now()).toBe(1000);
    }
  });

  test('never asks for a time past the message’s own expiry, and is not due again before that', async () => {
    const { clock, lease, stored, effects } = await setUp({ ttlSeconds: 100 });
    await clock.advance(50_500);
    expect(await lease.renew(600)).toBe(true);
    expect(effects.at(-1)).toMatch(/ 49$/);
    expect(lease.renewAt).toBe(lease.expiresOn);
    await clock.advance(49_500);
    expect(stored()).toBeUndefined();
    expect(await lease.renew(600)).toBe(false);
    expect(lease.condition).toBe('lost');
  });

  test('a lease that another consumer has taken over is lost, and is not touched any more', async () => {
    const { clock, lease, take, effects } = await setUp();
    await clock.advance(60_000);
    const theirs = await take();
    expect(await lease.renew(600)).toBe(false);
    expect(lease.condition).toBe('lost');
    expect(await lease.renew(600)).toBe(false);
    expect(await lease.remove()).toBe('unsure');
    await lease.release(0);
    expect(effects).toEqual([]);
    expect(theirs.dequeueCount).toBe(2);
  });

  test('a queue that is gone takes its leases with it', async () => {
    const { queues, lease } = await setUp();
    queues.drop(QUEUE);
    expect(await lease.renew(600)).toBe(false);
    expect(lease.condition).toBe('lost');
  });

  test('without an answer it throws, and the lease is kept', async () => {
    const { queues, lease } = await setUp();
    queues.before = () => {
      throw new ServiceError('unavailable', 'ServerBusy', 'busy');
    };
    await expect(lease.renew(600)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(lease.condition).toBe('held');
    queues.before = () => undefined;
    expect(await lease.renew(600)).toBe(true);
  });

  test('a renewal whose answer was lost makes the receipt stale: the lease is lost, not stuck', async () => {
    const { queues, lease } = await setUp();
    queues.after = () => {
      throw new ServiceError('unknown', 'ECONNRESET', 'reset');
    };
    await expect(lease.renew(600)).rejects.toMatchObject({ kind: 'unknown' });
    queues.after = () => undefined;
    expect(await lease.renew(600)).toBe(false);
    expect(lease.condition).toBe('lost');
  });
});

test('I3: a queue that is said to be gone, and is there, keeps the message for another try', async () => {
  const { queues, lease, stored } = await setUp();
  queues.before = ({ operation }) => {
    if (operation === 'remove') throw new ServiceError('not-found', 'QueueNotFound', 'no such queue');
  };
  await expect(lease.remove()).rejects.toMatchObject({ code: 'QueueNotFound' });
  queues.before = () => undefined;
  expect(await lease.remove()).toBe('deleted');
  expect(stored()).toBeUndefined();
});

describe('adopting a receipt', () => {
  test('brings a lost lease back', async () => {
    const { clock, lease, take } = await setUp();
    await clock.advance(60_000);
    const again = await take();
    await lease.renew(600);
    expect(lease.adopt(state(again))).toBe(true);
    expect(lease.condition).toBe('held');
    expect(await lease.remove()).toBe('deleted');
  });

  test('a former receipt of our own, as an old view of the Job shows it, changes nothing', async () => {
    const { lease, message } = await setUp();
    await lease.renew(600);
    const current = lease.state;
    expect(lease.adopt(state(message))).toBe(false);
    expect(lease.adopt(current)).toBe(false);
    expect(lease.state).toBe(current);
  });

  test('after the delete there is nothing to adopt', async () => {
    const { lease, message } = await setUp();
    await lease.remove();
    expect(lease.adopt(state({ ...message, popReceipt: 'newer' }))).toBe(false);
    expect(lease.condition).toBe('gone');
  });

  test('while a renewal with the old receipt is under way, its refusal does not spoil the new one', async () => {
    const { clock, queues, lease, take } = await setUp();
    await clock.advance(60_000);
    const again = await take();
    let answer = () => {};
    queues.before = ({ operation }) =>
      operation === 'renew' ? new Promise<void>((resolve) => (answer = resolve)) : undefined;
    const renewal = lease.renew(600);
    await settled();
    lease.adopt(state(again));
    answer();
    expect(await renewal).toBe(true);
    expect(lease.condition).toBe('held');
    queues.before = () => undefined;
    expect(await lease.remove()).toBe('deleted');
  });
});

describe('deleting', () => {
  test('is done once, and repeating it is harmless', async () => {
    const { lease, effects, message } = await setUp();
    expect([await lease.remove(), await lease.remove()]).toEqual(['deleted', 'deleted']);
    expect(effects).toEqual([`remove ${QUEUE} ${message.id}`]);
    expect(await lease.renew(600)).toBe(false);
  });

  test('uses the receipt that renewing gave', async () => {
    const { lease } = await setUp();
    await lease.renew(600);
    await lease.renew(600);
    expect(await lease.remove()).toBe('deleted');
  });

  test('a message that the service does not know under the receipt may be gone or not', async () => {
    const { clock, lease, take } = await setUp();
    await clock.advance(60_000);
    await take();
    expect(await lease.remove()).toBe('unsure');
  });

  test('a queue that is gone needs no delete', async () => {
    const { queues, lease } = await setUp();
    queues.drop(QUEUE);
    expect(await lease.remove()).toBe('queue-gone');
  });

  test('without an answer it throws, and the next try finds out', async () => {
    const { queues, lease } = await setUp();
    queues.after = () => {
      throw new ServiceError('unknown', 'ECONNRESET', 'reset');
    };
    await expect(lease.remove()).rejects.toMatchObject({ kind: 'unknown' });
    queues.after = () => undefined;
    expect(await lease.remove()).toBe('unsure');
  });
});

test('a released message is visible again, and no longer ours', async () => {
  const { clock, lease, take } = await setUp();
  await lease.release(300);
  expect(lease.condition).toBe('lost');
  await clock.advance(300_000);
  expect((await take()).dequeueCount).toBe(2);
  expect(await lease.remove()).toBe('unsure');
});

test('what is done to one message is done one after the other, whatever comes at once', async () => {
  type Act = 'renew' | 'remove' | 'release';
  const acts = fc.array(fc.constantFrom<Act>('renew', 'remove', 'release'), { minLength: 2, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(acts, async (wanted) => {
      const { clock, queues, lease, effects } = await setUp();
      let open = 0;
      queues.before = async () => {
        expect(++open).toBe(1);
        await clock.sleep(10, new AbortController().signal);
        open--;
      };
      const all = Promise.all(
        wanted.map((act) =>
          act === 'renew' ? lease.renew(600) : act === 'remove' ? lease.remove() : lease.release(5),
        ),
      );
      await clock.advance(1000);
      await all;
      // Every call had a live receipt, and none came after the message was deleted or given back.
      const last = wanted.findIndex((act) => act !== 'renew');
      expect(effects).toHaveLength(last === -1 ? wanted.length : last + 1);
    }),
    { numRuns: 50 },
  );
});
