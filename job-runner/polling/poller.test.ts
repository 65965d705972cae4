import { describe, expect, test } from 'vitest';
import { createLog } from '../../lib/log.ts';
import { FakeQueues, type QueueCall } from '../../testing/fake-queue.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import { readConfig } from '../config.ts';
import { PermanentError } from '../errors.ts';
import type { Handler, HandlerContext, HandlerTask } from '../handlers/handler.ts';
import type { Sent } from '../report.ts';
import type { PollingConfig } from '../settings.ts';
import { idleWaitMs, poll } from './poller.ts';

const QUEUE = 'acme-tasks';

interface Payload {
  /** Milliseconds. */
  readonly runs?: number;
  readonly fails?: string;
  readonly permanently?: boolean;
}

const handler: Handler = {
  type: 'echo',
  run: async (task: HandlerTask<unknown>, { clock, signal }: HandlerContext) => {
    const { runs = 0, fails, permanently } = task.payload as Payload;
    await clock.sleep(runs, signal);
    signal.throwIfAborted();
    if (fails !== undefined) throw permanently === true ? new PermanentError(fails) : new Error(fails);
    return task.payload;
  },
};

/** A worker on a virtual clock, and what it does, in order. */
function setUp(env: Record<string, string> = {}) {
  const clock = new VirtualClock();
  const effects: string[] = [];
  const queues = new FakeQueues(clock, effects);
  queues.create(QUEUE);
  const reading = readConfig({
    WORKER_QUEUES: QUEUE,
    AZURE_STORAGE_CONNECTION_STRING:
      'DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0LWtleQ==;EndpointSuffix=core.windows.net',
    ...env,
  });
  if (reading.kind === 'invalid') throw new Error(reading.problems.join());
  const stop = new AbortController();
  const answers: Sent[] = [];
  const crash = Promise.withResolvers<unknown>();
  const started: number[] = [];
  const run = () =>
    poll({
      clock,
      log: createLog('silent', {}),
      stopping: stop.signal,
      crashed: crash.promise,
      handlers: {
        types: ['echo'],
        load: async (type) => {
          if (type !== 'echo') return undefined;
          started.push(clock.now());
          return handler;
        },
      },
      maxMemoryBytes: () => 0,
      config: reading.config as PollingConfig,
      account: 'acme',
      queues,
      send: async ({ ending, taskId }) => {
        const answer = answers.shift() ?? 'delivered';
        effects.push(`webhook ${taskId} ${ending.kind} ${answer}`);
        return answer;
      },
    });
  const send = (id: string, payload: Payload = {}) =>
    queues.send(QUEUE, { task_id: id, task_type: 'echo', payload, webhook_url: 'https://backend.example/hook' });
  /** What changed for others to see. */
  const told = () =>
    effects.filter((one) => !/^(receive|renew|send)/.test(one)).map((one) => one.replace(/ [\w-]{36}$/, ''));
  return { clock, queues, effects, told, answers, crash, started, stop, run, send };
}

describe('I2: a message is deleted last', () => {
  test('after the webhook of a task that completed', async () => {
    const at = setUp();
    at.send('a');
    const running = at.run();
    await at.clock.advance(60_000);
    expect(at.told()).toEqual(['webhook a completed delivered', expect.stringMatching(/^remove acme-tasks/)]);
    at.stop.abort();
    await at.clock.advance(1000);
    expect(await running).toBe(0);
  });

  test('after the poison copy and the webhook of one that failed for good', async () => {
    const at = setUp({ TASK_MAX_ATTEMPTS: '2' });
    at.send('a', { fails: 'no' });
    void at.run();
    await at.clock.advance(300_000);
    expect(at.started).toHaveLength(2);
    expect(at.told()).toEqual([
      'create acme-tasks-poison',
      'put acme-tasks-poison',
      'webhook a failed delivered',
      expect.stringMatching(/^remove acme-tasks/),
    ]);
  });

  test('at once for a failure that no attempt can mend', async () => {
    const at = setUp();
    at.send('a', { fails: 'no', permanently: true });
    void at.run();
    await at.clock.advance(10_000);
    expect(at.started).toHaveLength(1);
    expect(at.queues.messages(QUEUE)).toEqual([]);
  });

  test.each<QueueCall['operation']>(['receive', 'remove', 'put'])(
    'and whatever "%s" meets, it comes to that',
    async (operation) => {
      for (const when of ['before', 'after'] as const) {
        const at = setUp({ TASK_MAX_ATTEMPTS: '1' });
        let faults = 3;
        at.queues[when] = (call) => {
          if (call.operation === operation && faults-- > 0) throw new Error('no answer');
        };
        at.send('a', { fails: 'no' });
        void at.run();
        await at.clock.advance(600_000);
        expect(at.queues.messages(QUEUE), `${when} ${operation}`).toEqual([]);
        expect(at.queues.messages(`${QUEUE}-poison`).length).toBeGreaterThan(0);
      }
    },
  );
});

test('a webhook that is owed holds the message until it is taken', async () => {
  const at = setUp();
  at.answers.push('owed', 'owed', 'owed');
  at.send('a');
  void at.run();
  await at.clock.advance(2000);
  expect(at.queues.messages(QUEUE)).toHaveLength(1);
  await at.clock.advance(120_000);
  expect(at.told().filter((one) => one.startsWith('webhook'))).toHaveLength(4);
  expect(at.queues.messages(QUEUE)).toEqual([]);
  expect(at.started).toHaveLength(1);
});

test('one that nobody ever takes is given up after a quarter of an hour', async () => {
  const at = setUp();
  at.answers.push(...Array<Sent>(1000).fill('owed'));
  at.send('a');
  void at.run();
  await at.clock.advance(800_000);
  expect(at.queues.messages(QUEUE)).toHaveLength(1);
  await at.clock.advance(300_000);
  expect(at.queues.messages(QUEUE)).toEqual([]);
  expect(at.started).toHaveLength(1);
});

test('I8: the lease of a long task is renewed, and one that is lost ends it untold', async () => {
  const at = setUp();
  at.send('a', { runs: 3_600_000 });
  void at.run();
  await at.clock.advance(1_800_000);
  expect(at.started).toHaveLength(1);
  // Somebody else takes the message: its receipt changes under the worker's hands.
  const [message] = at.queues.messages(QUEUE);
  if (message === undefined) throw new Error('it is gone');
  await at.queues.renew(QUEUE, message.id, message.popReceipt, 600);
  await at.clock.advance(120_000);
  expect(at.told()).toEqual([]);
  expect(at.queues.messages(QUEUE)).toHaveLength(1);
});

test('I8: one that is lost while the webhook is owed ends the telling: the other worker tells', async () => {
  const at = setUp();
  at.answers.push(...Array<Sent>(1000).fill('owed'));
  at.send('a');
  void at.run();
  await at.clock.advance(10_000);
  const [message] = at.queues.messages(QUEUE);
  if (message === undefined) throw new Error('it is gone');
  await at.queues.renew(QUEUE, message.id, message.popReceipt, 3600);
  await at.clock.advance(60_000);
  const told = at.told().length;
  expect(told).toBeGreaterThan(1);
  await at.clock.advance(600_000);
  expect(at.told()).toHaveLength(told);
  expect(at.queues.messages(QUEUE)).toHaveLength(1);
});

test('a message that comes again and again without an end is poisoned unread', async () => {
  const at = setUp({ TASK_MAX_ATTEMPTS: '2' });
  at.send('a');
  // As workers that are killed at it leave it.
  for (let delivery = 0; delivery < 5; delivery++) {
    await at.queues.receive(QUEUE, 1, 1);
    await at.clock.advance(1000);
  }
  void at.run();
  await at.clock.advance(60_000);
  expect(at.started).toEqual([]);
  const [copy] = at.queues.messages(`${QUEUE}-poison`);
  expect(JSON.parse(copy?.text ?? '')).toMatchObject({ diagnosis: { category: 'RedeliveredTooOften' } });
  expect(at.queues.messages(QUEUE)).toEqual([]);
});

test('no more tasks than may run at once, and the next one as soon as one has ended', async () => {
  const at = setUp({ WORKER_CONCURRENCY: '2' });
  for (const id of ['a', 'b', 'c']) at.send(id, { runs: 20_000 });
  void at.run();
  await at.clock.advance(19_000);
  expect(at.started).toHaveLength(2);
  await at.clock.advance(1500);
  expect(at.started).toHaveLength(3);
});

test.each(['1', '3'])('a flood in one queue holds no other up, with %s at once', async (concurrency) => {
  const at = setUp({ WORKER_QUEUES: 'acme-tasks globex-tasks initech-tasks', WORKER_CONCURRENCY: concurrency });
  const others = ['globex-tasks', 'initech-tasks'];
  for (let i = 0; i < 30; i++) at.send(`acme${i}`, { runs: 10_000 });
  for (const queue of others) {
    at.queues.create(queue);
    at.queues.send(queue, {
      task_id: queue,
      task_type: 'echo',
      payload: {},
      webhook_url: 'https://backend.example/hook',
    });
  }
  void at.run();
  await at.clock.advance(25_000);
  for (const queue of others) expect(at.queues.messages(queue)).toEqual([]);
  expect(at.queues.messages(QUEUE).length).toBeGreaterThan(20);
});

test('told to stop: tasks go on for a while, then their messages are given back', async () => {
  const at = setUp({ WORKER_CONCURRENCY: '2', WORKER_STOP: '30' });
  at.send('short', { runs: 20_000 });
  at.send('long', { runs: 600_000 });
  const running = at.run();
  await at.clock.advance(5000);
  at.stop.abort();
  await at.clock.advance(40_000);
  expect(await running).toBe(0);
  expect(at.told().filter((one) => one.startsWith('webhook'))).toEqual(['webhook short completed delivered']);
  const left = at.queues.messages(QUEUE);
  expect(left).toHaveLength(1);
  expect(left[0]?.visibleOn).toBeLessThanOrEqual(at.clock.now());
});

test('an error that nobody caught fails no task, and ends the process with another code', async () => {
  const at = setUp();
  at.send('a', { runs: 10_000 });
  at.send('b');
  const running = at.run();
  await at.clock.advance(5000);
  at.crash.resolve(new Error('in an event of a library'));
  await at.clock.advance(60_000);
  expect(await running).toBe(1);
  expect(at.told().filter((one) => one.startsWith('webhook'))).toEqual(['webhook a completed delivered']);
  expect(at.queues.messages(QUEUE)).toHaveLength(1);
});

test('idle, it asks after 5, 10, 20, 40 and then 60 seconds, and at once when there was work', () => {
  const idle = { shortestMs: 5000, longestMs: 60_000 };
  expect([1, 2, 3, 4, 5, 6].map((empty) => idleWaitMs(empty, idle, 0.5))).toEqual([
    5000, 10_000, 20_000, 40_000, 60_000, 60_000,
  ]);
  expect(idleWaitMs(1, idle, 0)).toBe(4500);
});
