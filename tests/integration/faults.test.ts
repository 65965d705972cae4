/** The queue code, and the whole operator, on Azurite behind a proxy that breaks calls on the wire. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ANNOTATION, POD_ANNOTATION } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import type { ErrorKind } from '#/lib/errors.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import type { JobRecord } from '#/operator/jobs/records.ts';
import type { RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { storageAccess } from '#/queue/access.ts';
import { createQueueService, type QueueService } from '#/queue/service.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { faultPlan, faultSeeds, type PlannedOperation } from '#/testing/fault-plan.ts';
import { type Fault, faultName } from '#/testing/fault-proxy.ts';
import {
  azureError,
  QUEUE_OPERATIONS,
  type QueueOperation,
  type QueueProxy,
  startQueueProxy,
} from '#/testing/fault-servers.ts';
import { testQueues } from '#/testing/queues.ts';
import { report } from '#/testing/rig.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite({ blob: false });
});
afterAll(() => azurite[Symbol.asyncDispose]());

function serviceAt(connectionString: string, deadlineMs?: number): QueueService {
  const access = storageAccess(connectionString, undefined);
  if (access.kind === 'invalid') throw new Error(access.problem);
  return createQueueService(access, systemClock, deadlineMs);
}

describe('one call to the queues, and what goes wrong with it', () => {
  /** Long enough for Azurite on a busy machine, short enough to wait for. */
  const DEADLINE_MS = 700;
  let proxy: QueueProxy;
  /** The service under test. */
  let service: QueueService;
  /** The same queues, undisturbed. */
  let direct: QueueService;
  let queue: string;
  let queues = 0;
  beforeAll(async () => {
    proxy = await startQueueProxy(azurite.connectionString);
    service = serviceAt(proxy.connectionString, DEADLINE_MS);
    direct = serviceAt(azurite.connectionString);
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    queue = `faulty-${++queues}-tasks`;
    proxy.use(undefined);
    await direct.ensureQueue(queue);
  });

  const FAULTS: readonly (readonly [Fault, ErrorKind])[] = [
    [azureError(400), 'invalid'],
    [azureError(403), 'forbidden'],
    [azureError(404), 'not-found'],
    [azureError(409), 'unavailable'],
    [azureError(422), 'invalid'],
    [azureError(429), 'throttled'],
    [azureError(500), 'unavailable'],
    [azureError(503), 'throttled'],
    [{ kind: 'hang' }, 'unknown'],
    [{ kind: 'reset' }, 'unknown'],
    [{ kind: 'lost-reply' }, 'unknown'],
    [{ kind: 'half-open' }, 'unknown'],
    [{ kind: 'truncate' }, 'unknown'],
    [{ kind: 'slow', ms: 2 * DEADLINE_MS }, 'unknown'],
  ];
  const LEASE_FAULTS = [azureError(400, 'PopReceiptMismatch'), azureError(404, 'MessageNotFound')];
  const cells = QUEUE_OPERATIONS.flatMap((operation) => [
    ...FAULTS.map(([fault, kind]) => [operation, faultName(fault), fault, kind] as const),
    ...(operation === 'renew' || operation === 'remove' ? LEASE_FAULTS : []).map(
      (fault) => [operation, faultName(fault), fault, 'lease-lost'] as const,
    ),
  ]);

  /** A call of each method, with all it needs made beforehand. */
  const calls: Readonly<Record<QueueOperation, () => Promise<() => Promise<unknown>>>> = {
    receive: async () => () => service.receive(queue, 1, 10),
    renew: async () => {
      const { id, popReceipt } = await inHand(60);
      return () => service.renew(queue, id, popReceipt, 60);
    },
    remove: async () => {
      const { id, popReceipt } = await inHand(60);
      return () => service.remove(queue, id, popReceipt);
    },
    put: async () => () => service.put(queue, 'text', 60),
    exists: async () => () => service.exists(queue),
    list: async () => () => service.list(),
    ensureQueue: async () => () => service.ensureQueue(`${queue}-poison`),
  };

  /** Puts a message and takes it. */
  async function inHand(leaseSeconds: number) {
    await direct.put(queue, 'text', 3600);
    const [message] = await direct.receive(queue, 1, leaseSeconds);
    return message!;
  }

  /** Does something to the first request from now on, and nothing to the others. */
  function disturb(fault: Fault): void {
    const faults = [fault];
    proxy.use(() => faults.shift());
  }

  test.each(cells)('%s, %s', async (operation, name, fault, kind) => {
    const call = await calls[operation]();
    const before = proxy.injected(name, operation);
    disturb(fault);
    if (operation === 'exists' && kind === 'not-found') expect(await call()).toBe(false);
    else await expect(call()).rejects.toMatchObject({ name: 'ServiceError', kind });
    await expect.poll(() => proxy.injected(name, operation), { timeout: 10_000 }).toBe(before + 1);
    // Nothing is left over for the next call.
    const next = await calls[operation]();
    await next();
  });

  test.each(QUEUE_OPERATIONS)('%s ends with its signal, whatever its deadline', async (operation) => {
    const patient = serviceAt(proxy.connectionString, 60_000);
    const stop = new AbortController();
    proxy.use(() => ({ kind: 'hang' }));
    const stoppable: Readonly<Record<QueueOperation, () => Promise<unknown>>> = {
      receive: () => patient.receive(queue, 1, 10, stop.signal),
      renew: () => patient.renew(queue, 'id', 'receipt', 10, stop.signal),
      remove: () => patient.remove(queue, 'id', 'receipt', stop.signal),
      put: () => patient.put(queue, 'text', 60, stop.signal),
      exists: () => patient.exists(queue, stop.signal),
      list: () => patient.list(stop.signal),
      ensureQueue: () => patient.ensureQueue(queue, stop.signal),
    };
    const before = proxy.injected('hang');
    const ending = expect(stoppable[operation]()).rejects.toMatchObject({ kind: 'unknown' });
    await expect.poll(() => proxy.injected('hang')).toBe(before + 1);
    stop.abort();
    await ending;
  });

  test('a remove whose answer is lost has removed: the next one finds the lease lost', async () => {
    const { id, popReceipt } = await inHand(60);
    disturb({ kind: 'lost-reply' });
    await expect(service.remove(queue, id, popReceipt)).rejects.toMatchObject({ kind: 'unknown' });
    await expect(service.remove(queue, id, popReceipt)).rejects.toMatchObject({ kind: 'lease-lost' });
  });

  test('a renewal whose answer is lost leaves nobody with a receipt', async () => {
    const { id, popReceipt } = await inHand(60);
    disturb({ kind: 'lost-reply' });
    await expect(service.renew(queue, id, popReceipt, 1)).rejects.toMatchObject({ kind: 'unknown' });
    await expect(service.renew(queue, id, popReceipt, 60)).rejects.toMatchObject({ kind: 'lease-lost' });
    await delay(1500);
    expect(await service.receive(queue, 1, 10)).toMatchObject([{ id, dequeueCount: 2 }]);
  });

  test('a put whose answer is lost has put: a second one makes a second copy', async () => {
    disturb({ kind: 'lost-reply' });
    await expect(service.put(queue, 'text', 60)).rejects.toMatchObject({ kind: 'unknown' });
    await service.put(queue, 'text', 60);
    expect(await direct.receive(queue, 32, 10)).toMatchObject([{ text: 'text' }, { text: 'text' }]);
  });

  test('a receive whose answer is lost hides what it took until the lease ends, and counts', async () => {
    await direct.put(queue, 'text', 3600);
    disturb({ kind: 'lost-reply' });
    await expect(service.receive(queue, 32, 2)).rejects.toMatchObject({ kind: 'unknown' });
    expect(await service.receive(queue, 32, 2)).toEqual([]);
    await delay(2500);
    expect(await service.receive(queue, 32, 10)).toMatchObject([{ text: 'text', dequeueCount: 2 }]);
  });
});

/** How a task goes: the exit codes of its attempts. `slow` ones run until every fault was done to `renew`. */
const FATES = {
  succeed: { exits: [0], slow: false },
  'succeed-late': { exits: [0], slow: true },
  'fail-then-succeed': { exits: [1, 0], slow: false },
  fail: { exits: [1, 1], slow: false },
} as const;
type Fate = keyof typeof FATES;
const TASKS: readonly Fate[] = [
  ...Array.from({ length: 3 }, (): Fate => 'succeed'),
  ...Array.from({ length: 2 }, (): Fate => 'succeed-late'),
  ...Array.from({ length: 1 }, (): Fate => 'fail-then-succeed'),
  ...Array.from({ length: 2 }, (): Fate => 'fail'),
];
const MALFORMED = ['no json', '{"task_id": 7, "task_type": "succeed"}'];
const OPERATOR_DEADLINE_MS = 700;

const ANY: readonly Fault[] = [
  azureError(400),
  azureError(403),
  azureError(409),
  azureError(429),
  azureError(500),
  azureError(503),
  { kind: 'hang' },
  { kind: 'reset' },
  { kind: 'lost-reply' },
  { kind: 'half-open' },
  { kind: 'truncate' },
  { kind: 'slow', ms: 1000 },
];
const LEASE: readonly Fault[] = [azureError(400, 'PopReceiptMismatch'), azureError(404, 'MessageNotFound')];
const PLANNED = {
  // Not all of the calls: a queue that answers with errors is asked more and more seldom.
  receive: { faults: [...ANY, azureError(404)], first: 0.35 },
  renew: { faults: [...ANY, ...LEASE, azureError(404)], first: 1 },
  remove: { faults: [...ANY, ...LEASE, azureError(404)], first: 1 },
  put: { faults: [...ANY, azureError(404)], first: 1 },
} as const satisfies Partial<Record<QueueOperation, PlannedOperation>>;

describe('the operator, on queues that fail', () => {
  let sink: WebhookSink;
  beforeAll(async () => {
    sink = await startWebhookSink();
  });
  afterAll(() => sink[Symbol.asyncDispose]());

  test.concurrent.each(faultSeeds(1, 2, 3))(
    'I1 I2 I3 I7 I8: every message comes to its one end (seed %i)',
    async (seed) => {
      await using proxy = await startQueueProxy(azurite.connectionString);
      const queues = testQueues(azurite.connectionString);
      const clients = [`acme-${seed}`, `globex-${seed}`];
      const sources = clients.map((client) => `${client}-tasks`);
      await queues.create(...sources);
      const tasks = sources.flatMap((queue) =>
        TASKS.map((task_type, at) => {
          const task_id = `${queue}-${at}`;
          return {
            queue,
            task_id,
            task_type,
            text: JSON.stringify({ task_id, task_type, webhook_url: `${sink.url}/${task_id}` }),
          };
        }),
      );
      for (const { queue, text } of tasks) await queues.put(queue, text);
      for (const queue of sources) await queues.put(queue, ...MALFORMED);

      const plan = faultPlan({ proxy, operations: PLANNED, seed, afterwards: { share: 0.3, calls: 150 } });
      proxy.use(plan.script);
      const clock = systemClock;
      const running = new Map<string, number>();
      const doubles: string[] = [];
      const runPod: RunPod = async ({ metadata }, { started, stopping }) => {
        const { task_id, task_type } = JSON.parse(metadata.annotations[POD_ANNOTATION.taskData] ?? '') as Task;
        const { exits, slow } = FATES[task_type];
        const attempt = attempts.get(task_id) ?? 0;
        attempts.set(task_id, attempt + 1);
        if (running.get(task_id)) doubles.push(task_id);
        running.set(task_id, 1);
        started();
        do await clock.sleep(200, stopping);
        while (slow && !stopping.aborted && plan.left('renew').length > 0);
        running.delete(task_id);
        const exitCode = exits[attempt] ?? 99;
        return exitCode === 0 ? { exitCode, message: report('completed', 'owed') } : { exitCode };
      };
      const attempts = new Map<string, number>();
      await using store = createLocalStore({ clock, runPod, firstBackoffMs: 100 });
      const lines: Record<string, unknown>[] = [];
      const log = createLog('debug', {}, { write: (line) => void lines.push(JSON.parse(line)) });
      const file = {
        queues: sources.map((name) => ({ name })),
        polling: { minIntervalSeconds: 0.1, maxIntervalSeconds: 0.3 },
        lease: { firstSeconds: 5, renewSeconds: 5 },
        runner: { image: 'runner:1' },
        defaults: { attempts: 2 },
        taskTypes: Object.fromEntries(Object.keys(FATES).map((type) => [type, {}])),
        webhook: { allow: ['127.0.0.1'] },
      };
      const config = parseConfig(JSON.stringify(file), {
        AZURE_STORAGE_CONNECTION_STRING: proxy.connectionString,
        SLIPWAY_NAMESPACE: 'local',
        SLIPWAY_HTTP_PORT: '0',
      });
      const versions: JobRecord[] = [];
      const stop = new AbortController();
      const watching = store.follow((one) => {
        if (one.kind === 'job') versions.push(one.job);
      }, stop.signal);
      const operating = runOperator(
        { config, store, queues: createQueueService(config.storage, clock, OPERATOR_DEADLINE_MS), clock, log },
        stop.signal,
      );
      try {
        await eventually(async () => {
          expect(plan.left()).toEqual([]);
          for (const queue of sources) expect(await queues.count(queue), queue).toBe(0);
          expect(versions.filter(({ settled }) => settled)).toHaveLength(tasks.length);
        }, 110_000);
      } finally {
        stop.abort(new Error('the test is over'));
        await operating;
        await watching;
      }

      // Every fault was really done to every operation.
      for (const [operation, { faults }] of Object.entries(PLANNED))
        for (const fault of faults)
          expect(proxy.injected(faultName(fault), operation), `${faultName(fault)} of ${operation}`).toBeGreaterThan(0);

      expect(doubles).toEqual([]);
      const byMessage = Map.groupBy(versions, ({ annotations }) => annotations[ANNOTATION.messageId]);
      expect(byMessage.size).toBe(tasks.length);
      for (const ofOne of byMessage.values()) {
        expect(new Set(ofOne.map(({ uid }) => uid)).size).toBe(1);
        expect(ofOne.filter(({ settled }) => settled)).toHaveLength(1);
      }
      expect(Object.fromEntries(attempts)).toEqual(
        Object.fromEntries(tasks.map(({ task_id, task_type }) => [task_id, FATES[task_type].exits.length])),
      );

      for (const queue of sources) {
        // Copies with one id count as one.
        const copies = new Map((await queues.poison(queue)).map((envelope) => [envelope.id, envelope]));
        const failing = tasks.filter((task) => task.queue === queue && task.task_type === 'fail');
        expect([...copies.values()].map(({ original }) => original).toSorted()).toEqual(
          [...MALFORMED, ...failing.map(({ text }) => text)].toSorted(),
        );
      }

      for (const { task_id, task_type } of tasks) {
        const sent = sink.requests.filter(({ path }) => path === `/${task_id}`);
        expect(new Set(sent.map(({ headers }) => headers['webhook-id'])).size, task_id).toBe(1);
        const status = task_type === 'fail' ? 'failed' : 'completed';
        for (const { body } of sent) expect(JSON.parse(body)).toMatchObject({ task_id, status });
      }
      expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
    },
  );
});

interface Task {
  readonly task_id: string;
  readonly task_type: Fate;
}
