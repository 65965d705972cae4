import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import type { ReceivedMessage } from '../queue/service.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { testConfig, testJob } from '../testing/jobs.ts';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { Slots } from './admission/slots.ts';
import { JobsView } from './jobs/view.ts';
import { createMetrics } from './metrics.ts';
import { idleWaitMs, receiveFrom } from './receive.ts';

const QUEUE = 'acme-tasks';
const { file } = testConfig();

/** A receiver of one queue. Tasks end when the test frees their slots. */
function setUp({ cap = 5, messages = 0, ready = true } = {}) {
  const clock = new VirtualClock();
  const queues = new FakeQueues(clock);
  queues.create(QUEUE);
  for (let at = 0; at < messages; at++) queues.send(QUEUE, String(at));
  const view = new JobsView(clock);
  view.observe({ kind: 'listed', jobs: [], pods: [] });
  const slots = new Slots(view, cap);
  const asked: number[] = [];
  const calls: number[] = [];
  const state = { ready, fail: undefined as ErrorKind | undefined };
  queues.before = ({ operation }) => {
    if (operation !== 'receive') return;
    calls.push(clock.monotonic());
    if (state.fail !== undefined) throw new ServiceError(state.fail, 'Code', 'refused');
  };
  const spied: typeof queues.receive = (queue, count, leaseSeconds, signal) => {
    asked.push(count);
    return FakeQueues.prototype.receive.call(queues, queue, count, leaseSeconds, signal);
  };
  queues.receive = spied;
  const handed: { readonly message: ReceivedMessage; readonly free: () => void }[] = [];
  let beats = 0;
  const stop = new AbortController();
  const abort = new AbortController();
  let ended = false;
  const tools = {
    queues,
    slots,
    clock,
    log: createLog('silent', {}),
    metrics: createMetrics(),
    settings: file,
    ready: () => state.ready,
    handOn: (_: unknown, message: ReceivedMessage, slot: { free(): void }) =>
      void handed.push({ message, free: () => slot.free() }),
    beat: () => {
      beats++;
    },
  };
  const source = { queue: QUEUE, client: 'acme', encoding: 'auto' } as const;
  const running = receiveFrom(source, tools, stop.signal, abort.signal).then(() => {
    ended = true;
  });
  return {
    clock,
    queues,
    view,
    slots,
    asked,
    calls,
    state,
    handed,
    stop,
    ended: () => ended,
    beats: () => beats,
    /** Milliseconds between the calls since call `from`. */
    waits: (from = 0) => calls.slice(from + 1).map((at, index) => at - (calls[from + index] ?? 0)),
    async [Symbol.asyncDispose]() {
      stop.abort();
      abort.abort();
      await settled();
      await running;
      expect(clock.sleepers).toBe(0);
    },
  };
}

describe('how many are received', () => {
  test('I6: no more than there are free slots', async () => {
    await using world = setUp({ cap: 5, messages: 20 });
    await settled();
    expect(world.asked).toEqual([5]);
    expect(world.handed).toHaveLength(5);
    await world.clock.advance(5000);
    expect(world.asked).toEqual([5]);
    world.handed[0]?.free();
    world.handed[1]?.free();
    await settled();
    expect(world.asked.slice(1).reduce((sum, count) => sum + count, 0)).toBe(2);
    expect(world.handed).toHaveLength(7);
  });

  test('no more than the service gives in one answer', async () => {
    await using world = setUp({ cap: 100, messages: 100 });
    await settled();
    expect(world.asked).toEqual([32, 32, 32, 4]);
    expect(world.handed).toHaveLength(100);
  });

  test('I5: nothing on an unknown view, and again when it is known', async () => {
    await using world = setUp({ messages: 3, cap: 3 });
    await settled();
    for (const { free } of world.handed.splice(0)) free();
    world.view.observe({ kind: 'unknown', error: new Error('lost') });
    world.queues.send(QUEUE, 'more');
    const before = world.calls.length;
    await world.clock.advance(60_000);
    expect(world.calls).toHaveLength(before);
    world.view.observe({ kind: 'listed', jobs: [], pods: [] });
    await world.clock.advance(1000);
    expect(world.handed.length).toBeGreaterThan(0);
  });

  test('nothing before the task types are known to the server', async () => {
    await using world = setUp({ messages: 3, ready: false });
    await world.clock.advance(10_000);
    expect(world.calls).toEqual([]);
    world.state.ready = true;
    await world.clock.advance(1000);
    expect(world.handed).toHaveLength(3);
  });

  test('slots that no message came for are given back', async () => {
    await using world = setUp({ messages: 2 });
    await settled();
    expect(world.slots.available()).toBe(3);
  });

  test('I6: Jobs that run already are counted', async () => {
    await using world = setUp({ cap: 3, messages: 9 });
    await settled();
    for (const { free } of world.handed) free();
    for (const name of ['a', 'b']) world.view.learn(testJob({ name, uid: name }));
    world.asked.length = 0;
    await world.clock.advance(1000);
    expect(Math.max(...world.asked)).toBe(1);
  });
});

describe('when it asks', () => {
  test('at once while messages come, slower and slower while none do, and fast again after the next', async () => {
    await using world = setUp();
    await world.clock.advance(30_000);
    expect(world.waits()).toEqual([1000, 2000, 4000, 5000, 5000, 5000, 5000]);
    const from = world.calls.length;
    world.queues.send(QUEUE, 'a task');
    await world.clock.advance(5000);
    expect(world.handed).toHaveLength(1);
    expect(world.waits(from)[0]).toBe(0);
    expect(world.waits(from)[1]).toBe(1000);
  });

  test.each<ErrorKind>(['unavailable', 'throttled', 'unknown', 'not-found', 'forbidden'])(
    'an error (%s) never shortens the wait, and a lasting one makes it longer',
    async (kind) => {
      await using world = setUp();
      await world.clock.advance(7000);
      const idle = world.waits().at(-1) ?? 0;
      const from = world.calls.length;
      world.state.fail = kind;
      await world.clock.advance(300_000);
      const waits = world.waits(from);
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(idle);
      expect(waits).toEqual(waits.toSorted((a, b) => a - b));
      expect(Math.max(...waits)).toBeLessThanOrEqual(30_000);
      expect(world.slots.available()).toBe(5);
      world.state.fail = undefined;
      world.queues.send(QUEUE, 'a task');
      await world.clock.advance(30_000);
      expect(world.handed).toHaveLength(1);
    },
  );

  test('messages without end do not turn an error into a hot loop', async () => {
    await using world = setUp({ cap: 1000, messages: 32 });
    await settled();
    world.state.fail = 'throttled';
    const before = world.calls.length;
    await world.clock.advance(10_000);
    expect(world.calls.length - before).toBeLessThanOrEqual(5);
  });

  test('I12: the loop beats, whatever it waits for', async () => {
    await using world = setUp({ cap: 1, messages: 2 });
    await settled();
    for (const kind of [undefined, 'unavailable'] as const) {
      world.state.fail = kind;
      const before = world.beats();
      await world.clock.advance(90_000);
      expect(world.beats() - before).toBeGreaterThanOrEqual(2);
      world.handed[0]?.free();
    }
  });
});

describe('idleWaitMs', () => {
  test('doubles from the shortest to the longest', () => {
    const polling = { minIntervalSeconds: 1, maxIntervalSeconds: 5 };
    expect([1, 2, 3, 4, 5, 100].map((empty) => idleWaitMs(empty, polling, 0.5))).toEqual([
      1000, 2000, 4000, 5000, 5000, 5000,
    ]);
  });

  test('stays within a tenth of that, so that queues spread', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1100 }), random, (empty, value) => {
        const plain = idleWaitMs(empty, file.polling, 0.5);
        expect(Math.abs(idleWaitMs(empty, file.polling, value) - plain)).toBeLessThanOrEqual(plain * 0.1 + 1e-6);
      }),
    );
  });
});

describe('stopping', () => {
  test('ends the wait, and asks no more', async () => {
    await using world = setUp();
    await world.clock.advance(500);
    world.stop.abort();
    await settled();
    expect(world.ended()).toBe(true);
  });

  test('messages of an answer that is under way are handed on: thrown away they would be hidden for a whole lease', async () => {
    await using world = setUp({ messages: 3 });
    world.queues.after = async () => void (await world.clock.sleep(1000, new AbortController().signal));
    await settled();
    world.stop.abort();
    await world.clock.advance(1000);
    expect([world.ended(), world.handed.length]).toEqual([true, 3]);
  });
});
