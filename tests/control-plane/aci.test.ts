/**
 * Tasks on Azure Container Instances with their Jobs on a real API server: the operator as a process under the chart's rights, and a
 * stand-in for Azure whose groups run the real runner as a child process, with the environment that the operator asked for. Each test has
 * a queue, operators and an Azure of its own, and most of its time is waiting: all run side by side.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { systemClock } from '#/lib/clock.ts';
import { ACI_CHECKPOINTS, type AciCheckpointName, CHECKPOINTS, type CheckpointName } from '#/operator/checkpoint.ts';
import type { RawJob } from '#/operator/jobs/records.ts';
import { type Behaviour, ORDINARY } from '#/testing/arm/life.ts';
import type { GroupBody } from '#/testing/arm/rules.ts';
import { startRunner } from '#/testing/arm/runner-program.ts';
import { type ArmServer, startArm } from '#/testing/arm/server.ts';
import type { RunningProgram } from '#/testing/arm/service.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import { type OperatorProcess, startOperator } from '#/testing/operator-process.ts';
import { pageFile } from '#/testing/page-blocks.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'aci';
const QUICK: Behaviour = { ...ORDINARY, createsMs: 100, startsMs: 300, runsMs: 500 };
const PLACE = {
  subscriptionId: '11111111-1111-4111-8111-111111111111',
  resourceGroup: 'tasks',
  location: 'westeurope',
  limits: { groups: 100, per5Minutes: 5000, perHour: 20_000 },
};
/** Of a foreign image: how its groups go, attempt by attempt. */
const BEHAVIOURS: Readonly<Record<string, readonly Partial<Behaviour>[]>> = {
  done: [{}],
  fail: [{ exitCode: 3, detail: 'Error', log: 'it broke\n' }],
  flaky: [{ exitCode: 1, detail: 'Error' }, {}],
  slow: [{ runsMs: 12_000 }],
  hang: [{ runsMs: undefined }],
  moved: [{ exitCode: 7147, detail: 'Error' }, {}],
};

let resources: AsyncDisposableStack;
let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let cluster: ControlPlane;
let kubeconfig: string;

beforeAll(async () => {
  await using starting = new AsyncDisposableStack();
  azurite = starting.use(await startAzurite({ blob: false }));
  sink = starting.use(await startWebhookSink());
  cluster = starting.use(await startControlPlane());
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-')));
  const taskTypes = { echo: { envFrom: [{ secretRef: { name: 'task-secrets' } }] } };
  kubeconfig = await installRights(cluster, NAMESPACE, directory.path, { backend: 'aci', aci: PLACE, taskTypes });
  await cluster.kubectl([
    '-n',
    NAMESPACE,
    'create',
    'secret',
    'generic',
    'task-secrets',
    '--from-literal=TOKEN=hidden',
  ]);
  queues = testQueues(azurite.connectionString);
  resources = starting.move();
});
afterAll(() => resources.disposeAsync());

/** A queue, operators for it, and an Azure of their own. */
interface Site extends AsyncDisposable {
  readonly queue: string;
  readonly arm: ArmServer;
  put(type: string, count?: number, payload?: object): Promise<void>;
  start(step?: CheckpointName | AciCheckpointName | '--remove-groups', pod?: string): Promise<OperatorProcess>;
  /** Ends the tasks of the type `waits`, those that come later at once. */
  release(): void;
  jobs(): Promise<readonly RawJob[]>;
  /** Waits until so many are settled. */
  settled(count: number): Promise<readonly RawJob[]>;
}

async function setUp(name: string, config: object = {}): Promise<Site> {
  const queue = `${name}-tasks`;
  await queues.create(queue);
  const stack = new AsyncDisposableStack();
  const tries = new Map<string, number>();
  const released = Promise.withResolvers<void>();
  const arm = stack.use(
    await startArm({
      clock: systemClock,
      deletesMs: 300,
      program: (_, body) => {
        const type = typeOf(body);
        if (type === 'waits') return waitsFor(released.promise);
        return ['echo', 'bounded', 'python'].includes(type) ? startRunner(body) : undefined;
      },
      behaviour: (group, body) => {
        const attempt = tries.get(group) ?? 0;
        tries.set(group, attempt + 1);
        const all = BEHAVIOURS[typeOf(body)] ?? [{}];
        return { ...QUICK, ...all[Math.min(attempt, all.length - 1)] };
      },
    }),
  );
  const foreign = { image: 'example.test/foreign:1', attempts: 2, timeoutSeconds: 60 };
  const jobs = async () => {
    const labels = `${LABEL.queue}=${queue}`;
    return (await cluster.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE, '-l', labels)).items;
  };
  return {
    queue,
    arm,
    jobs,
    release: released.resolve,
    put: (type, count = 1, payload = {}) =>
      queues.put(
        queue,
        ...Array.from({ length: count }, (_, at) => ({
          task_id: `${type}-${at}`,
          task_type: type,
          payload: { at, ...payload },
          webhook_url: `${sink.url}/${name}`,
        })),
      ),
    start: async (step, pod = 'operator-0') => {
      const operator = stack.use(
        await startOperator({
          kubeconfig,
          namespace: NAMESPACE,
          connectionString: azurite.connectionString,
          env: { SLIPWAY_POD_NAME: pod },
          ...(step === undefined
            ? {}
            : step === '--remove-groups'
              ? { args: [step] }
              : { entry: 'tests/control-plane/stopped-operator.ts', args: [step] }),
          config: {
            installation: name,
            backend: 'aci',
            aci: { ...PLACE, endpoint: arm.url },
            queues: [{ name: queue }],
            polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 1 },
            limits: { maxRunning: 40 },
            lease: { firstSeconds: 6, renewSeconds: 30 },
            runner: { image: 'example.test/runner:1' },
            taskTypes: {
              echo: { envFrom: [{ secretRef: { name: 'task-secrets' } }] },
              ...Object.fromEntries(Object.keys(BEHAVIOURS).map((type) => [type, foreign])),
              waits: { ...foreign, timeoutSeconds: 600 },
              hang: { ...foreign, attempts: 1, timeoutSeconds: 1, graceSeconds: 1, startTimeoutSeconds: 10 },
            },
            webhook: { allow: ['127.0.0.1'] },
            ...config,
          },
        }),
      );
      return operator;
    },
    settled: (count) =>
      eventually(
        async () => {
          const all = await jobs();
          expect(all.filter((job) => job.metadata?.labels?.[LABEL.state] === 'settled')).toHaveLength(count);
          return all;
        },
        300_000,
        1000,
      ),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A task that ends well when it may, or when it is stopped. */
function waitsFor(released: Promise<void>): RunningProgram {
  const { promise: ended, resolve } = Promise.withResolvers<{ exitCode: number; log: string }>();
  void released.then(() => resolve({ exitCode: 0, log: '' }));
  return { ended, stop: () => resolve({ exitCode: 137, log: '' }) };
}

function typeOf({ properties }: GroupBody): string {
  const variables = properties.containers[0]?.properties.environmentVariables ?? [];
  return variables.find(({ name }) => name === 'TASK_TYPE')?.secureValue ?? '';
}

function bodies(name: string) {
  return sink.requests
    .filter(({ path }) => path === `/${name}`)
    .map(({ body }) => JSON.parse(body) as object)
    .filter((body) => 'status' in body)
    .map((body) => webhookBodySchema.parse(body));
}

test.concurrent('I1 I2 I3 I7 I8 I13: 200 messages, each with one Job, one outcome, one report, and no group left', {
  timeout: 400_000,
}, async () => {
  await using site = await setUp('many');
  const counts = { echo: 60, done: 90, fail: 20, flaky: 10, slow: 5, hang: 5, moved: 5 };
  for (const [type, count] of Object.entries(counts)) await site.put(type, count);
  await queues.put(site.queue, 'no json', '{"task_id": 7, "task_type": "echo"}', '[]', '{"task_id": "m"}', '');
  await using operator = await site.start();
  const jobs = await site.settled(195);
  expect(new Set(jobs.map((job) => job.metadata?.annotations?.[ANNOTATION.messageId])).size).toBe(195);
  expect(jobs.filter(({ spec }) => spec?.managedBy !== 'slipway.dev/aci')).toEqual([]);
  const ends = jobs.flatMap(({ status }) =>
    (status?.conditions ?? []).filter(({ status: is }) => is === 'True').map(({ type }) => type),
  );
  expect(count(ends)).toEqual({ SuccessCriteriaMet: 170, Complete: 170, FailureTarget: 25, Failed: 25 });
  await eventually(async () => expect(await queues.count(site.queue)).toBe(0));
  expect(count((await queues.poison(site.queue)).map(({ diagnosis }) => diagnosis.category))).toEqual({
    TaskFailed: 20,
    TaskTimedOut: 5,
    Malformed: 5,
  });
  const reports = bodies('many');
  // A foreign image that exits with 0 has reported by itself.
  expect(count(reports.map(({ status }) => status))).toEqual({ completed: 60, failed: 25 });
  expect(reports.find(({ task_id }) => task_id === 'echo-7')?.result).toMatchObject({ at: 7 });
  await eventually(async () => expect(site.arm.groups).toEqual([]), 60_000);
  expect(site.arm.overwritten).toEqual([]);
  // What the Secret holds reached the container, and stands nowhere else.
  const puts = site.arm.requests.filter(({ operation }) => operation === 'put').length;
  expect(puts).toBe(60 + 90 + 40 + 20 + 5 + 5 + 10);
  expect(JSON.stringify([jobs, operator.lines, reports])).not.toContain('hidden');
  expect(operator.lines.filter((line) => line['level'] === 'error')).toEqual([]);
  expect(await operator.stop()).toBe(0);
});

/** Those that every task comes to. None is held or cancelled here, and it is the operator after each kill that adopts. */
const STEPS = [
  ...CHECKPOINTS.filter((step) => !['started', 'adopted', 'ended', 'pod-removed'].includes(step)),
  ...ACI_CHECKPOINTS,
];

describe.concurrent('killed and started again', () => {
  test.concurrent.each(STEPS)('at the step "%s"', async (step) => {
    const name = `killed-${step}`;
    await using site = await setUp(name);
    await site.put('echo');
    await site.put('fail');
    {
      await using operator = await site.start(step);
      await operator.waitFor(`the step "${step}"`, ({ msg }) => msg === `reached ${step}`, 60_000);
      await operator.kill();
    }
    await using operator = await site.start();
    await site.settled(2);
    await eventually(async () => expect(site.arm.groups).toEqual([]), 60_000);
    expect(site.arm.overwritten).toEqual([]);
    expect(count(bodies(name).map(({ status }) => status))).toEqual({
      completed: expect.any(Number),
      failed: expect.any(Number),
    });
    expect(
      new Set(sink.requests.filter(({ path }) => path === `/${name}`).map(({ headers }) => headers['webhook-id'])).size,
    ).toBe(2);
    expect(await operator.stop()).toBe(0);
  });
});

describe.concurrent('seen with kubectl', () => {
  test.concurrent('get, wait, describe, delete', async () => {
    await using site = await setUp('kubectl');
    await using operator = await site.start();
    await site.put('waits');
    const kubectl = (...args: string[]) => cluster.kubectl(['-n', NAMESPACE, ...args]);
    const name = await eventually(async () => {
      const [job] = await site.jobs();
      expect(job?.status).toMatchObject({ active: 1, ready: 1 });
      return job?.metadata?.name ?? '';
    });
    expect(await kubectl('get', 'job', name)).toMatch(/Running\s+0\/1\s+\d+s/);
    site.release();
    await kubectl('wait', '--for=condition=complete', `job/${name}`, '--timeout=60s');
    expect(await kubectl('get', 'job', name)).toMatch(/Complete\s+1\/1\s+\d+s/);
    expect(await kubectl('describe', 'job', name)).toMatch(
      /Pods Statuses:\s+0 Active \(0 Ready\) \/ 1 Succeeded \/ 0 Failed/,
    );

    await site.put('hang');
    const hanging = await eventually(async () => {
      const job = (await site.jobs()).find(({ status }) => status?.ready === 1);
      expect(job).toBeDefined();
      return job?.metadata?.name ?? '';
    });
    await kubectl('delete', 'job', hanging, '--wait=false');
    await eventually(async () => expect(bodies('kubectl').at(-1)?.error?.code).toBe('Cancelled'), 60_000);
    expect(site.arm.groups).not.toContain(hanging);
    expect(await operator.stop()).toBe(0);
  });
});

test.concurrent('held, suspended, resumed, and cancelled before its start: statuses that the API server takes', async () => {
  const foreign = { image: 'example.test/foreign:1', attempts: 1, timeoutSeconds: 60 };
  await using site = await setUp('held', {
    taskTypes: { waits: { ...foreign, timeoutSeconds: 600, maxRunning: 1 }, done: foreign },
  });
  await using operator = await site.start();
  const kubectl = (...args: string[]) => cluster.kubectl(['-n', NAMESPACE, ...args]);
  const cancelled = async (job: string) => {
    await kubectl('annotate', 'job', job, 'slipway.dev/cancel=not needed');
    return eventually(async () => {
      const text = await kubectl('get', 'job', job, '-o', 'json');
      const { metadata, status } = JSON.parse(text) as RawJob;
      expect(metadata?.labels?.[LABEL.state]).toBe('settled');
      return [...(status?.conditions ?? [])].filter(({ status: is }) => is === 'True').map(({ type }) => type);
    }, 60_000);
  };
  await site.put('waits', 3);
  const [first = '', second = '', third = ''] = await eventually(async () => {
    const jobs = await site.jobs();
    expect(jobs.filter(({ status }) => status?.ready === 1)).toHaveLength(1);
    const held = jobs.filter(({ status }) =>
      status?.conditions?.some(({ type, status: is }) => type === 'Suspended' && is === 'True'),
    );
    expect(held).toHaveLength(2);
    return [...jobs.filter((job) => !held.includes(job)), ...held].map(({ metadata }) => metadata?.name ?? '');
  }, 60_000);
  expect(await kubectl('get', 'job', second)).toMatch(/Suspended\s+0\/1/);
  // Held, and never begun.
  expect(await cancelled(third)).toEqual(expect.arrayContaining(['FailureTarget', 'Failed']));

  await kubectl('patch', 'job', first, '-p', '{"spec":{"suspend":true}}');
  await eventually(async () => {
    const job = (await site.jobs()).find(({ metadata }) => metadata?.name === first);
    // The server leaves out a 0.
    expect([job?.status?.active ?? 0, job?.status?.startTime]).toEqual([0, undefined]);
  }, 60_000);
  expect(site.arm.groups).not.toContain(first);
  site.release();
  await kubectl('wait', '--for=condition=complete', `job/${second}`, '--timeout=90s');
  await kubectl('patch', 'job', first, '-p', '{"spec":{"suspend":false}}');
  await kubectl('wait', '--for=condition=complete', `job/${first}`, '--timeout=90s');

  site.arm.use(({ operation }) =>
    operation === 'put' ? { status: 409, code: 'ContainerGroupQuotaReached' } : undefined,
  );
  await site.put('done');
  const waiting = await eventually(async () => {
    const job = (await site.jobs()).find(({ metadata }) => metadata?.labels?.[LABEL.taskType] === 'done');
    expect(job?.metadata?.annotations?.['slipway.dev/diagnosis']).toContain('QuotaExceeded');
    return job?.metadata?.name ?? '';
  }, 60_000);
  expect(await cancelled(waiting)).toEqual(['FailureTarget', 'Failed']);
  expect(operator.lines.filter((line) => line['level'] === 'error')).toEqual([]);
  expect(await operator.stop()).toBe(0);
});

test.concurrent('I10 I13: uninstalled, no group is left and the Jobs stay; installed anew, they start again', async () => {
  await using site = await setUp('uninstalled');
  await site.put('waits', 3);
  const first = await site.start();
  await eventually(async () => expect(site.arm.alive()).toHaveLength(3), 30_000);
  expect(await first.stop()).toBe(0);
  const removing = await site.start('--remove-groups');
  expect(await removing.ended).toBe(0);
  expect(site.arm.groups).toEqual([]);
  expect((await site.jobs()).map(({ status }) => status?.active)).toEqual([1, 1, 1]);
  site.release();
  await using second = await site.start();
  const jobs = await site.settled(3);
  // No attempt was used up.
  expect(jobs.map(({ status }) => [status?.succeeded, status?.failed ?? 0])).toEqual([1, 1, 1].map(() => [1, 0]));
  await eventually(async () => expect(site.arm.groups).toEqual([]), 60_000);
  expect(await second.stop()).toBe(0);
});

test.concurrent('I1 I13: of two operators one works; it is stopped, and the other goes on with the same groups', async () => {
  await using site = await setUp('two');
  await using first = await site.start(undefined, 'operator-a');
  await first.waitFor('its lead', ({ msg }) => msg === 'this replica leads');
  await using second = await site.start(undefined, 'operator-b');
  await site.put('waits', 6);
  await site.put('fail', 4);
  await site.put('echo', 10);
  const waiting = () => site.arm.alive().filter((group) => group.startsWith('two-waits-'));
  await eventually(async () => expect(waiting()).toHaveLength(6), 60_000);
  expect(await first.stop()).toBe(0);
  // A stop ends no task.
  expect(
    site.arm.requests.filter(({ operation, group }) => operation === 'stop' && group.startsWith('two-waits-')),
  ).toEqual([]);
  expect(waiting()).toHaveLength(6);
  site.release();
  await site.put('done', 10);
  const jobs = await site.settled(30);
  expect(jobs.flatMap(({ metadata }) => site.arm.starts(metadata?.name ?? '')).toSorted()).toEqual([
    ...Array<number>(26).fill(1),
    // Both attempts of those that fail.
    ...Array<number>(4).fill(2),
  ]);
  expect((await queues.poison(site.queue)).map(({ diagnosis }) => diagnosis.category)).toEqual(
    Array(4).fill('TaskFailed'),
  );
  await eventually(async () => expect(site.arm.groups).toEqual([]), 60_000);
  expect(site.arm.overwritten).toEqual([]);
  expect(await second.stop()).toBe(0);
});

test.concurrent('a worker in Python, written for the old way, runs as it is', async () => {
  const command = ['python3', '-c', pageFile('handlers.md', 'worker.py')];
  const python = { image: 'example.test/python:3', command, attempts: 1, timeoutSeconds: 60 };
  await using site = await setUp('python', { taskTypes: { python } });
  await site.put('python', 1, { n: 21 });
  await using operator = await site.start();
  await site.settled(1);
  const posts = sink.requests.filter(({ path }) => path === '/python').map(({ body }) => JSON.parse(body) as object);
  expect(posts).toEqual([{ task_id: 'python-0', doubled: 42 }]);
  await site.put('python', 1, { n: null });
  await site.settled(2);
  expect(bodies('python').at(-1)).toMatchObject({ status: 'failed' });
  expect(await operator.stop()).toBe(0);
});

test.concurrent('while no operator is there, our runner ends at its time, and a foreign image by the timeout in its command', async () => {
  const bounded = {
    image: 'example.test/foreign:1',
    command: ['timeout', '8', 'sleep', '600'],
    attempts: 1,
    timeoutSeconds: 600,
  };
  await using site = await setUp('alone', {
    taskTypes: { echo: { attempts: 1, timeoutSeconds: 8, graceSeconds: 1 }, bounded },
  });
  await site.put('echo', 1, { sleepMs: 600_000 });
  await site.put('bounded');
  {
    await using operator = await site.start();
    await eventually(async () => expect(site.arm.alive()).toHaveLength(2), 60_000);
    await operator.kill();
  }
  await eventually(async () => expect(site.arm.alive()).toEqual([]), 60_000);
  expect(site.arm.requests.filter(({ operation }) => operation === 'stop' || operation === 'delete')).toEqual([]);
  await using operator = await site.start();
  await site.settled(2);
  expect(bodies('alone').map(({ status, error }) => [status, error?.code])).toEqual(
    expect.arrayContaining([
      ['failed', 'TaskTimedOut'],
      ['failed', 'TaskFailed'],
    ]),
  );
  await eventually(async () => expect(site.arm.groups).toEqual([]), 60_000);
  expect(await operator.stop()).toBe(0);
});

function count(words: readonly string[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]));
}
