import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { testConfig } from '../testing/jobs.ts';
import { task, World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';
import type { JobStore } from './jobs/store.ts';
import { runOperator } from './operator.ts';

const QUEUE = 'acme-tasks';

/** The whole operator, on a world whose time the test moves. */
async function setUp({
  store = {},
  yaml = 'taskTypes: { echo: {} }',
}: {
  store?: Partial<JobStore>;
  yaml?: string;
} = {}) {
  const world = new World(yaml);
  const lines: { level: string; msg: string }[] = [];
  const log = createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) });
  const stop = new AbortController();
  const listening = Promise.withResolvers<number>();
  let ended: 'no' | 'well' | Error = 'no';
  const running = runOperator(
    {
      config: testConfig(yaml, { SLIPWAY_HTTP_PORT: '0' }),
      store: { ...world.store, ...store },
      queues: world.queues,
      clock: world.clock,
      log,
      onListening: listening.resolve,
    },
    stop.signal,
  ).then(
    () => {
      ended = 'well';
    },
    (error: Error) => {
      ended = error;
    },
  );
  const port = await listening.promise;
  await settled();
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  };
  return {
    world,
    lines,
    get,
    stop,
    ended: () => ended,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settled();
      await world.clock.advance(60_000);
      await running;
      await world[Symbol.asyncDispose]();
      expect(world.clock.sleepers).toBe(0);
    },
  };
}

describe('the operator', () => {
  test('brings a message to its end, and tells it by metrics and log', async () => {
    await using at = await setUp();
    at.world.queues.send(QUEUE, task('t-1'));
    await at.world.clock.advance(20_000);
    expect(await at.world.theJob()).toMatchObject({ settled: true, end: { kind: 'complete' } });
    const { text } = await at.get('/metrics');
    expect(text).toContain(
      'slipway_tasks_settled_total{client="acme",type="echo",status="completed",category="Completed"} 1',
    );
    expect(text).toContain('slipway_view_known 1');
    expect(at.lines.map(({ msg }) => msg)).toEqual(
      expect.arrayContaining(['the operator starts', 'the Jobs are known', 'the Job was created', 'settled']),
    );
    expect(at.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  });

  test('I5: is not ready, and receives nothing, until the Jobs are listed', async () => {
    await using at = await setUp({ store: { follow: async () => undefined } });
    at.world.queues.send(QUEUE, task('t-1'));
    await at.world.clock.advance(60_000);
    const { status, text } = await at.get('/readyz');
    expect(status).toBe(503);
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      checks: [
        { name: 'jobs', ok: false, detail: 'no list of Jobs yet' },
        { ok: true },
        { ok: true },
        { ok: true },
        { ok: true },
      ],
    });
    expect(at.world.queues.messages(QUEUE)[0]?.dequeueCount).toBe(0);
    expect((await at.get('/healthz')).status).toBe(200);
  });

  test('is not ready when the server refuses every task type, and says why', async () => {
    const dryRun = async () => {
      throw new ServiceError('invalid', 'Invalid', 'spec.template: wrong');
    };
    await using at = await setUp({ store: { dryRun } });
    const { status, text } = await at.get('/readyz');
    expect(status).toBe(503);
    expect(text).toContain('paused: echo: the API server refuses its Job: spec.template: wrong');
  });

  test('answers what it has, and tells what there is for the rest', async () => {
    await using at = await setUp();
    expect([(await at.get('/readyz?verbose')).status, (await at.get('/')).status]).toEqual([200, 404]);
    expect((await at.get('/nothing')).text).toContain('/healthz, /readyz and /metrics');
  });

  test('I12: is not alive any more when one of its loops stalls', async () => {
    await using at = await setUp();
    let hang = true;
    at.world.queues.before = ({ operation }) => (operation === 'receive' && hang ? held.promise : undefined);
    const held = Promise.withResolvers<void>();
    await at.world.clock.advance(80_000);
    expect((await at.get('/healthz')).status).toBe(200);
    await at.world.clock.advance(20_000);
    const { status, text } = await at.get('/healthz');
    expect(status).toBe(503);
    expect(JSON.parse(text).checks).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: `receive ${QUEUE}`, ok: false }),
        expect.objectContaining({ ok: true }),
      ]),
    );
    hang = false;
    held.resolve();
  });
});

describe('told to stop', () => {
  test('I10: leaves running tasks alone, and hides their messages until the next operator is there', async () => {
    await using at = await setUp();
    const id = at.world.queues.send(QUEUE, task('long', { runMs: 3_600_000 }));
    await at.world.clock.advance(10_000);
    at.world.newEffects();
    at.stop.abort();
    await at.world.clock.advance(100);
    expect(at.ended()).toBe('well');
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${id} 600`]);
    const job = await at.world.theJob();
    expect([job.end, job.annotations['slipway.dev/pop-receipt']]).toEqual([
      undefined,
      at.world.queues.messages(QUEUE)[0]?.popReceipt,
    ]);
  });

  test('I7: gives back what has no Job yet', async () => {
    const create = async () => {
      throw new ServiceError('unavailable', '503', 'the server is away');
    };
    await using at = await setUp({ store: { create } });
    const id = at.world.queues.send(QUEUE, task('t-1'));
    await at.world.clock.advance(10_000);
    at.stop.abort();
    await at.world.clock.advance(100);
    expect(at.ended()).toBe('well');
    expect(at.world.effects).toEqual([`release ${QUEUE} ${id}`]);
  });

  test('I3: finishes what is being settled', async () => {
    await using at = await setUp();
    at.world.queues.send(QUEUE, task('t-1', { ends: [{ exitCode: 65 }] }));
    const slow = Promise.withResolvers<void>();
    at.world.queues.before = ({ operation }) => (operation === 'remove' ? slow.promise : undefined);
    await at.world.clock.advance(10_000);
    at.stop.abort();
    await at.world.clock.advance(5000);
    expect(at.ended()).toBe('no');
    slow.resolve();
    await at.world.clock.advance(100);
    expect(at.ended()).toBe('well');
    expect((await at.world.theJob()).settled).toBe(true);
  });

  test('I12: waits for nothing longer than its grace period allows', async () => {
    await using at = await setUp();
    at.world.queues.send(QUEUE, task('t-1', { ends: [{ exitCode: 65 }] }));
    at.world.queues.remove = (_queue, _id, _receipt, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(new ServiceError('unknown', 'AbortError', 'aborted')));
      });
    await at.world.clock.advance(10_000);
    at.stop.abort();
    await at.world.clock.advance(19_000);
    expect(at.ended()).toBe('no');
    await at.world.clock.advance(22_000);
    expect(at.ended()).toBe('well');
  });
});

test('an error that nobody expected ends the operator in order, instead of leaving half of it running', async () => {
  await using at = await setUp();
  const bug = new TypeError('a bug');
  at.world.clock.nextRandom = () => {
    throw bug;
  };
  await at.world.clock.advance(30_000);
  expect(at.ended()).toBe(bug);
  expect(at.lines.at(-1)?.msg).toBe('the operator has stopped');
  at.world.clock.nextRandom = () => 0.5;
});
