import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import type { ReceivedMessage } from '../queue/service.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { testCaps, testConfig, testJob } from '../testing/jobs.ts';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { type Caps, Slots } from './admission/slots.ts';
import type { Source } from './config.ts';
import { JobsView } from './jobs/view.ts';
import { createMetrics } from './metrics.ts';
import { idleWaitMs, Receiver } from './receive.ts';

const QUEUE = 'acme-tasks';
const { file } = testConfig();

interface Options {
  readonly cap?: number;
  /** Messages in each queue. */
  readonly messages?: number;
  readonly ready?: boolean;
  readonly sources?: readonly Source[];
  readonly caps?: Partial<Caps>;
}

const source = (queue: string): Source => ({ queue, client: queue.replace(/-tasks$/, ''), encoding: 'auto' });

/** A receiver of some queues. Tasks end when the test frees their slots. */
function setUp({ cap = 5, messages = 0, ready = true, sources = [source(QUEUE)], caps = {} }: Options = {}) {
  const clock = new VirtualClock();
  const queues = new FakeQueues(clock);
  for (const { queue } of sources) {
    queues.create(queue);
    for (let at = 0; at < messages; at++) queues.send(queue, String(at));
  }
  const view = new JobsView(clock);
  view.observe({ kind: 'listed', jobs: [], pods: [] });
  const slots = new Slots(view, () => ({ ...testCaps(cap), ...caps }));
  const asked: number[] = [];
  const calls: number[] = [];
  /** Each call in order: `receive acme-tasks`. */
  const log: string[] = [];
  const state = { ready, fail: undefined as ErrorKind | undefined, sources, paused: new Set<string>() };
  queues.before = ({ operation, queue }) => {
    log.push(`${operation} ${queue}`);
    if (operation === 'receive') calls.push(clock.monotonic());
    if (state.fail !== undefined) throw new ServiceError(state.fail, 'Code', 'refused');
  };
  const spied: typeof queues.receive = (queue, count, leaseSeconds, signal) => {
    asked.push(count);
    return FakeQueues.prototype.receive.call(queues, queue, count, leaseSeconds, signal);
  };
  queues.receive = spied;
  const handed: { readonly queue: string; readonly message: ReceivedMessage; readonly free: () => void }[] = [];
  const started: string[] = [];
  let beats = 0;
  const stop = new AbortController();
  const abort = new AbortController();
  let ended = false;
  const receiver = new Receiver({
    queues,
    slots,
    clock,
    log: createLog('silent', {}),
    metrics: createMetrics(),
    settings: file,
    sources: () => state.sources,
    terms: ({ queue }) => ({ receiving: !state.paused.has(queue), weight: 1 }),
    ready: () => state.ready,
    mayStart: (type) => type !== 'paused',
    handOn: ({ queue }, message, slot) => void handed.push({ queue, message, free: () => slot.free() }),
    startHeld: ({ name }, slot) => {
      started.push(name);
      const job = view.job(name);
      if (job !== undefined) view.learn({ ...job, suspended: false, resourceVersion: '101' });
      slot.free();
    },
    beat: () => {
      beats++;
    },
    end: () => undefined,
  });
  const running = receiver.run(stop.signal, abort.signal).then(() => {
    ended = true;
  });
  return {
    clock,
    queues,
    view,
    slots,
    receiver,
    asked,
    calls,
    log,
    state,
    handed,
    started,
    stop,
    free: () => slots.census()?.room.total,
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
    expect(world.free()).toBe(3);
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
      expect(world.free()).toBe(5);
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

describe('several queues', () => {
  const [acme, globex, initech] = [source('acme-tasks'), source('globex-tasks'), source('initech-tasks')];

  test('I11: one that is flooded delays the only message of another by no more than a round', async () => {
    await using world = setUp({ cap: 2, sources: [acme, globex] });
    for (let at = 0; at < 5000; at++) world.queues.send('acme-tasks', String(at));
    await world.clock.advance(30_000);
    expect(world.handed.map(({ queue }) => queue)).toEqual(['acme-tasks', 'acme-tasks']);
    world.queues.send('globex-tasks', 'the only one');
    // It is seen, though nothing is free.
    await world.clock.advance(6000);
    for (const { free } of world.handed.slice(0, 2)) {
      free();
      await settled();
    }
    expect(world.handed.map(({ queue }) => queue).slice(2)).toEqual(['acme-tasks', 'globex-tasks']);
  });

  test('I11: the turn passes on from each to the next', async () => {
    await using world = setUp({ cap: 1, messages: 50, sources: [acme, globex, initech] });
    await world.clock.advance(20_000);
    for (let at = 0; at < 12; at++) {
      world.handed.at(-1)?.free();
      await settled();
      await world.clock.advance(1);
    }
    const order = world.handed.slice(4).map(({ queue }) => queue);
    expect(order).toHaveLength(9);
    for (let at = 0; at < order.length; at += 3) expect(new Set(order.slice(at, at + 3)).size).toBe(3);
  });

  test('without a free slot, idle ones are only looked into: no message is hidden, none is counted as delivered', async () => {
    await using world = setUp({ cap: 1, messages: 1, sources: [acme] });
    await settled();
    expect(world.handed).toHaveLength(1);
    world.state.sources = [acme, globex];
    world.queues.create('globex-tasks');
    world.queues.send('globex-tasks', 'waits');
    world.log.length = 0;
    await world.clock.advance(60_000);
    expect(world.log.filter((line) => line.startsWith('receive'))).toEqual([]);
    expect(world.log.filter((line) => line === 'hasMessages globex-tasks')).toHaveLength(1);
    expect(world.queues.messages('globex-tasks')[0]?.dequeueCount).toBe(0);
  });

  test('free slots are shared between idle ones that are asked', async () => {
    await using world = setUp({ cap: 7, sources: [acme, globex, initech] });
    await settled();
    expect(world.asked).toEqual([2, 2, 3]);
  });

  test('a client at its cap is not asked, and delays nobody', async () => {
    const ofClient = (client: string) => (client === 'acme' ? 1 : 100);
    await using world = setUp({ cap: 6, messages: 10, sources: [acme, globex], caps: { ofClient } });
    await world.clock.advance(10_000);
    expect(world.handed.map(({ queue }) => queue).toSorted()).toEqual(['acme-tasks', ...Array(5).fill('globex-tasks')]);
  });

  test('one that is paused is neither received from nor looked into, until it is no more', async () => {
    await using world = setUp({ sources: [acme, globex], messages: 1 });
    world.state.paused.add('acme-tasks');
    await world.clock.advance(60_000);
    expect(world.log.filter((line) => line.includes('acme')).slice(1)).toEqual([]);
    world.state.paused.clear();
    await world.clock.advance(2000);
    expect(world.handed.map(({ queue }) => queue)).toContain('acme-tasks');
  });

  test('one that is gone is asked no more, and one that is new at once', async () => {
    await using world = setUp({ sources: [acme] });
    await settled();
    world.state.sources = [globex];
    world.queues.create('globex-tasks');
    world.queues.send('globex-tasks', 'new');
    world.log.length = 0;
    await world.clock.advance(10_000);
    expect(world.log).not.toContain('receive acme-tasks');
    expect(world.handed.map(({ queue }) => queue)).toEqual(['globex-tasks']);
  });

  test('with hundreds of them each is asked more seldom', async () => {
    const many = Array.from({ length: 600 }, (_, at) => source(`c${at}-tasks`));
    await using world = setUp({ cap: 50, sources: many });
    await world.clock.advance(60_000);
    world.log.length = 0;
    await world.clock.advance(60_000);
    expect(world.log.length).toBeGreaterThan(600 * 3);
    expect(world.log.length).toBeLessThan(600 * 5);
  });
});

describe('Jobs that are held back', () => {
  const held = (name: string, client: string, createdAt: number, type = 'echo') =>
    testJob({
      name,
      uid: name,
      suspended: true,
      createdAt,
      annotations: {
        'slipway.dev/suspended-by': 'slipway',
        'slipway.dev/queue': `${client}-tasks`,
        'slipway.dev/client': client,
      },
      labels: { 'slipway.dev/task-type': type },
    });

  test('go before the messages of their queue, the oldest first, and in turn with other queues', async () => {
    await using world = setUp({
      cap: 4,
      messages: 9,
      ready: false,
      sources: [source(QUEUE), source('globex-tasks')],
      caps: { heldPerQueue: 5 },
    });
    for (const job of [held('b', 'acme', 2), held('a', 'acme', 1), held('c', 'globex', 3)]) world.view.learn(job);
    world.state.ready = true;
    await world.clock.advance(1000);
    expect(world.started.slice(0, 3)).toEqual(['a', 'c', 'b']);
  });

  test('of a type that is paused, or has no room, stay', async () => {
    await using world = setUp({ ready: false, caps: { ofType: (type) => (type === 'full' ? 0 : 9) } });
    for (const type of ['paused', 'full', 'echo']) world.view.learn(held(type, 'acme', 1, type));
    world.state.ready = true;
    await world.clock.advance(1000);
    expect(new Set(world.started)).toEqual(new Set(['echo']));
  });

  test('a queue with as many as may be held is not received from, and one with fewer only as far', async () => {
    await using world = setUp({ ready: false, messages: 9, caps: { heldPerQueue: 3, ofType: () => 0 } });
    world.view.learn(held('a', 'acme', 1));
    world.state.ready = true;
    await world.clock.advance(1000);
    expect(world.asked).toEqual([2]);
    for (const name of ['b', 'c']) world.view.learn(held(name, 'acme', 1));
    for (const { free } of world.handed) free();
    await world.clock.advance(10_000);
    expect(world.asked).toEqual([2]);
  });

  test('are started though their queue is paused, or gone', async () => {
    await using world = setUp({ ready: false });
    world.state.paused.add(QUEUE);
    for (const client of ['acme', 'gone']) world.view.learn(held(client, client, 1));
    world.state.ready = true;
    await world.clock.advance(1000);
    expect(new Set(world.started)).toEqual(new Set(['acme', 'gone']));
  });
});

test('it is quiet when every queue has answered that it is empty, or there is no room', async () => {
  await using world = setUp({ cap: 1, sources: [source(QUEUE), source('globex-tasks')] });
  expect(world.receiver.isQuiet).toBe(false);
  await world.clock.advance(10_000);
  expect(world.receiver.isQuiet).toBe(true);
  world.queues.send(QUEUE, 'a');
  world.queues.send(QUEUE, 'b');
  await world.clock.advance(10_000);
  expect(world.handed).toHaveLength(1);
  expect(world.receiver.isQuiet).toBe(true);
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
