import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { FakeLeases } from '../testing/fake-leases.ts';
import { testConfig } from '../testing/jobs.ts';
import { task, World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';
import { type Config, ConfigError } from './config.ts';
import type { JobStore } from './jobs/store.ts';
import type { LeaseStore } from './lease-object.ts';
import { runOperator } from './operator.ts';

const QUEUE = 'acme-tasks';

/** The whole operator, on a world whose time the test moves. */
async function setUp({
  store = {},
  yaml = 'taskTypes: { echo: {} }',
  ...more
}: {
  store?: Partial<JobStore>;
  yaml?: string;
  once?: { readonly leaseSeconds: number };
  leases?: LeaseStore;
  load?: () => Promise<Config>;
  arrange?: (world: World) => void;
  env?: NodeJS.ProcessEnv;
  /** One that there is already. */
  world?: World;
} = {}) {
  const world = more.world ?? new World(yaml);
  more.arrange?.(world);
  const lines: { level: string; msg: string }[] = [];
  const log = createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) });
  const stop = new AbortController();
  const listening = Promise.withResolvers<number>();
  let ended: 'no' | 'well' | Error = 'no';
  const running = runOperator(
    {
      config: testConfig(yaml, { SLIPWAY_HTTP_PORT: '0', ...more.env }),
      store: { ...world.store, ...store },
      queues: world.queues,
      clock: world.clock,
      log,
      ...more,
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
      if (more.world !== undefined) return;
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

  test('I10: takes no new receipt when its rights are gone: it could not be written onto the Job', async () => {
    const patch = async () => {
      throw new ServiceError('forbidden', 'Forbidden', 'the Role went before the operator');
    };
    await using at = await setUp({ store: { patch } });
    at.world.queues.send(QUEUE, task('long', { runMs: 3_600_000 }));
    await at.world.clock.advance(10_000);
    at.world.newEffects();
    at.stop.abort();
    await at.world.clock.advance(100);
    expect(at.ended()).toBe('well');
    expect(at.world.effects).toEqual([]);
    expect((await at.world.theJob()).annotations['slipway.dev/pop-receipt']).toBe(
      at.world.queues.messages(QUEUE)[0]?.popReceipt,
    );
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

describe('run once', () => {
  test('starts what there is room for, hides the messages of what runs until the next run is over, and ends', async () => {
    await using at = await setUp({
      once: { leaseSeconds: 900 },
      yaml: 'limits: { maxRunning: 2 }\ntaskTypes: { echo: {} }',
      arrange: ({ queues }) => {
        for (const id of ['t-1', 't-2', 't-3']) queues.send(QUEUE, task(id, { runMs: 3_600_000 }));
      },
    });
    await at.world.clock.advance(20_000);
    expect(at.ended()).toBe('well');
    expect(await at.world.jobs()).toHaveLength(2);
    const leases = at.world.queues.messages(QUEUE).map(({ visibleOn }) => visibleOn - at.world.clock.now());
    expect(leases.filter((ms) => ms > 870_000)).toHaveLength(2);
    expect(leases.filter((ms) => ms <= 0)).toHaveLength(1);
  });

  test('settles what has ended since the run before', async () => {
    const yaml = 'taskTypes: { echo: {} }';
    await using at = await setUp({ once: { leaseSeconds: 900 }, yaml });
    at.world.queues.send(QUEUE, task('t-1', { runMs: 100_000 }));
    await at.world.clock.advance(20_000);
    expect([at.ended(), (await at.world.theJob()).settled]).toEqual(['well', false]);
    await at.world.clock.advance(100_000);
    await using next = await setUp({ once: { leaseSeconds: 900 }, yaml, world: at.world });
    await at.world.clock.advance(20_000);
    expect([next.ended(), (await at.world.theJob()).settled]).toEqual(['well', true]);
    expect(at.world.queues.messages(QUEUE)).toEqual([]);
  });

  test('has nothing to do while another operator works', async () => {
    const leases = new FakeLeases();
    await using at = await setUp({ leases: leases.client(), env: { SLIPWAY_POD_NAME: 'worker' } });
    await at.world.clock.advance(1000);
    const run = { once: { leaseSeconds: 900 }, leases: leases.client(), env: { SLIPWAY_POD_NAME: 'run' } };
    await using once = await setUp({ ...run, world: at.world });
    await at.world.clock.advance(45_000);
    expect(once.ended()).toBe('well');
    expect(once.lines.map(({ msg }) => msg)).toContain('another operator works: this run has nothing to do');
  });
});

describe('of two replicas', () => {
  test('I6: one works and one stands by, both ready; told to stop, the one hands over at once', async () => {
    const leases = new FakeLeases();
    await using one = await setUp({ leases: leases.client(), env: { SLIPWAY_POD_NAME: 'one' } });
    const { world } = one;
    await world.clock.advance(1000);
    await using other = await setUp({ leases: leases.client(), env: { SLIPWAY_POD_NAME: 'other' }, world });
    await world.clock.advance(5000);
    expect([(await one.get('/readyz')).status, (await other.get('/readyz')).status]).toEqual([200, 200]);
    expect((await one.get('/readyz')).text).toContain('this replica works');
    expect((await other.get('/readyz')).text).toContain('standby; one works');
    expect((await other.get('/metrics')).text).toContain('slipway_leading 0');
    world.queues.send(QUEUE, task('t-1', { runMs: 60_000 }));
    await world.clock.advance(6000);
    one.stop.abort();
    await world.clock.advance(4000);
    expect(one.ended()).toBe('well');
    expect((await other.get('/metrics')).text).toContain('slipway_leading 1');
    world.queues.send(QUEUE, task('t-2'));
    await world.clock.advance(100_000);
    expect((await world.jobs()).map(({ settled, end }) => [settled, end?.kind])).toEqual([
      [true, 'complete'],
      [true, 'complete'],
    ]);
    expect(world.doubles).toEqual([]);
  });
});

describe('a configuration file that changes', () => {
  test('I10: is applied; a broken one is refused, and an Event says so', async () => {
    const pod = { SLIPWAY_HTTP_PORT: '0', SLIPWAY_POD_NAME: 'operator-1' };
    let load = async () => testConfig('taskTypes: { echo: {} }', pod);
    await using at = await setUp({ load: () => load(), env: pod });
    load = async () => {
      throw new ConfigError(['config.yaml: limits.maxRunning = 0: is too small. Use 1 or more']);
    };
    await at.world.clock.advance(30_000);
    expect((await at.get('/metrics')).text).toContain('slipway_config_refused 1');
    expect(at.world.store.notices).toMatchObject([
      { reason: 'ConfigRefused', message: expect.stringContaining('limits.maxRunning = 0'), type: 'Warning' },
    ]);
    at.world.queues.send(QUEUE, task('t-1'));
    await at.world.clock.advance(20_000);
    expect(await at.world.theJob()).toMatchObject({ settled: true });
    load = async () => testConfig('receiving: false\ntaskTypes: { echo: {} }', pod);
    await at.world.clock.advance(10_000);
    const { status, text } = await at.get('/readyz');
    expect([status, text]).toEqual([200, expect.stringContaining('paused by configuration: nothing is received')]);
    expect((await at.get('/metrics')).text).toContain('slipway_config_refused 0');
    at.world.queues.send(QUEUE, task('t-2'));
    await at.world.clock.advance(60_000);
    expect(at.world.queues.messages(QUEUE)).toHaveLength(1);
  });

  test('cannot change where Jobs are', async () => {
    const yaml = 'taskTypes: { echo: {}, ci: { ci: { images: registry.example.com/ci, namespace: ci } } }';
    const load = async () => testConfig(yaml, { SLIPWAY_HTTP_PORT: '0' });
    await using at = await setUp({ load });
    await at.world.clock.advance(10_000);
    const refusal = at.lines.find(({ msg }) => msg.startsWith('the changed configuration is refused'));
    expect(JSON.stringify(refusal)).toContain('(they are slipway; asked for: ci, slipway). Restart the operator');
  });

  test('cannot change what Jobs are recognised by', async () => {
    const load = async () => testConfig('installation: other\ntaskTypes: { echo: {} }', { SLIPWAY_HTTP_PORT: '0' });
    await using at = await setUp({ load });
    await at.world.clock.advance(10_000);
    const refusal = at.lines.find(({ msg }) => msg.startsWith('the changed configuration is refused'));
    expect(JSON.stringify(refusal)).toContain('installation = \\"other\\": cannot change while the operator runs');
  });
});
