/** The polling mode on a real queue service: the runner as a process, as a VPS would run it. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { startQueueProxy } from '#/testing/fault-servers.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { type RunnerProcess, startRunnerProcess } from '#/testing/runner-process.ts';
import { attempt } from '#/testing/shell.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const CLI = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const RUNNER = fileURLToPath(new URL('../../job-runner/main.ts', import.meta.url));

let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let made = 0;

beforeAll(async () => {
  azurite = await startAzurite();
  queues = testQueues(azurite.connectionString);
  sink = await startWebhookSink();
});
afterAll(async () => {
  await sink?.[Symbol.asyncDispose]();
  await azurite?.[Symbol.asyncDispose]();
});

/** A queue of its own, and what puts echo tasks into it. */
async function queue() {
  const name = `poll-${++made}-tasks`;
  await queues.create(name);
  return {
    name,
    put: (id: string, payload: unknown = {}, more: object = {}) =>
      queues.put(name, {
        task_id: id,
        task_type: 'echo',
        payload,
        webhook_url: `${sink.url}/${name}/${id}`,
        ...more,
      }),
    hooks: (id: string) =>
      sink.requests
        .filter(({ path }) => path === `/${name}/${id}`)
        .map(({ body, headers }) => ({ ...(JSON.parse(body) as Record<string, unknown>), id: headers['webhook-id'] })),
  };
}

function worker(name: string, env: Record<string, string> = {}): RunnerProcess {
  return startRunnerProcess({
    WORKER_QUEUES: name,
    AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    WORKER_IDLE_MIN: '1',
    WORKER_IDLE_MAX: '2',
    ...env,
  });
}

/** An operator whose Jobs are processes of this machine; it shares the queue, as docs/migration.md says. */
function startLocalOperator(name: string, settings: object = {}): AsyncDisposable {
  const file = {
    queues: [{ name }],
    polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
    lease: { shared: true },
    limits: { maxRunning: 2 },
    runner: { image: 'runner:1' },
    taskTypes: { echo: {} },
    webhook: { allow: ['127.0.0.1'] },
    ...settings,
  };
  const config = parseConfig(JSON.stringify(file), {
    AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    SLIPWAY_NAMESPACE: 'local',
    SLIPWAY_HTTP_PORT: '0',
  });
  const images = { 'runner:1': { command: [process.execPath, RUNNER] } } as const;
  const stop = new AbortController();
  const clock = systemClock;
  const running = runOperator(
    {
      config,
      store: createLocalStore({ clock, images }),
      queues: createQueueService(config.storage, clock),
      clock,
      log: createLog('silent', {}),
      onListening: () => undefined,
    },
    stop.signal,
  );
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

async function stop(run: RunnerProcess): Promise<number | null> {
  run.signal('SIGTERM');
  return (await run.ended).code;
}

test.concurrent('tasks are done one after the other, reported and deleted; what is wrong is poisoned', async () => {
  const { name, put, hooks } = await queue();
  for (const id of ['a', 'b', 'c']) await put(id, { id });
  await queues.put(
    name,
    'no json',
    JSON.stringify({ task_id: 'x', task_type: 'nobody-knows', webhook_url: `${sink.url}/${name}/x` }),
  );
  await using run = worker(name);
  await eventually(async () => expect(await queues.count(name)).toBe(0), 30_000);
  for (const id of ['a', 'b', 'c'])
    expect(hooks(id)).toMatchObject([
      { task_id: id, client_id: name.replace('-tasks', ''), status: 'completed', result: { id } },
    ]);
  expect(hooks('x')).toMatchObject([{ status: 'failed', error: { code: 'UnknownTaskType' } }]);
  expect((await queues.poison(name)).map(({ diagnosis }) => diagnosis.category).toSorted()).toEqual([
    'Malformed',
    'UnknownTaskType',
  ]);
  expect(await stop(run)).toBe(0);
});

test.concurrent('a failing task is tried as often as it may, and then poisoned and reported once', async () => {
  const { name, put, hooks } = await queue();
  await put('bad', { fail: 'told to fail' });
  await using run = worker(name, { TASK_MAX_ATTEMPTS: '2' });
  await eventually(async () => expect(await queues.count(name)).toBe(0), 60_000);
  expect(hooks('bad')).toMatchObject([{ status: 'failed', error: { code: 'TaskFailed', message: 'told to fail' } }]);
  expect(run.output().split('task started').length - 1).toBe(2);
  expect(await queues.poison(name)).toMatchObject([
    { queue: name, reason: 'TaskFailed: told to fail', encoding: 'plain', original: expect.stringContaining('"bad"') },
  ]);
  expect(await stop(run)).toBe(0);
});

test.concurrent('several at a time, when that is asked for; a long one keeps its message', {
  timeout: 120_000,
}, async () => {
  const { name, put, hooks } = await queue();
  for (const at of Array(4).keys()) await put(`slow-${at}`, { sleepMs: 3000 });
  // Longer than a lease of the receipt.
  await put('long', { sleepMs: 70_000 });
  await using run = worker(name, { WORKER_CONCURRENCY: '5' });
  await eventually(() => expect(run.output()).toContain('task completed'), 30_000);
  expect(run.output().split('task completed', 1)[0]?.split('task started')).toHaveLength(1 + 5);
  await eventually(async () => expect(await queues.count(name)).toBe(0), 90_000);
  expect(hooks('long')).toHaveLength(1);
  expect(run.output().split('task started').length - 1).toBe(5);
  expect(await stop(run)).toBe(0);
});

describe.concurrent('told to stop', () => {
  test.concurrent('it waits for what is under way, within its time', async () => {
    const { name, put, hooks } = await queue();
    await put('short', { sleepMs: 3000 });
    await using run = worker(name);
    await eventually(() => expect(run.output()).toContain('task started'));
    expect(await stop(run)).toBe(0);
    expect(hooks('short')).toHaveLength(1);
    expect(await queues.count(name)).toBe(0);
  });

  test.concurrent('beyond that it gives the message back at once, for another worker', async () => {
    const { name, put, hooks } = await queue();
    await put('endless', { sleepMs: 600_000 });
    await using run = worker(name, { WORKER_STOP: '1' });
    await eventually(() => expect(run.output()).toContain('task started'));
    expect(await stop(run)).toBe(0);
    expect(hooks('endless')).toEqual([]);
    expect(await queues.texts(name)).toHaveLength(1);
  });
});

test.concurrent('a webhook that is refused for a while is sent again, and the message is deleted after it', async () => {
  const { name, put, hooks } = await queue();
  sink.answer(`/${name}/owed`, { status: 503 }, { status: 503 }, { status: 503 }, { status: 503 }, { status: 204 });
  await put('owed');
  await using run = worker(name);
  await eventually(() => expect(hooks('owed')).toHaveLength(4), 60_000);
  expect(await queues.count(name)).toBe(1);
  await eventually(async () => expect(await queues.count(name)).toBe(0), 60_000);
  expect(new Set(hooks('owed').map(({ id }) => id)).size).toBe(1);
  expect(await stop(run)).toBe(0);
});

test.concurrent('a worker that is killed loses no message', { timeout: 150_000 }, async () => {
  const { name, put, hooks } = await queue();
  await put('survivor', { sleepMs: 4000 });
  await using first = worker(name);
  await eventually(() => expect(first.output()).toContain('task started'));
  first.signal('SIGKILL');
  await first.ended;
  await using second = worker(name);
  await eventually(() => expect(hooks('survivor')).toHaveLength(1), 120_000);
  await eventually(async () => expect(await queues.count(name)).toBe(0));
  expect(await stop(second)).toBe(0);
});

test.concurrent('queues that are empty are asked ever more seldom', async () => {
  const { name } = await queue();
  const asked: number[] = [];
  await using proxy = await startQueueProxy(azurite.connectionString, ({ operation }) => {
    if (operation === 'receive') asked.push(performance.now());
  });
  await using run = worker(name, { AZURE_STORAGE_CONNECTION_STRING: proxy.connectionString, WORKER_IDLE_MAX: '60' });
  await eventually(() => expect(asked.length).toBeGreaterThanOrEqual(4));
  // 1, 2 and 4 s later, each less a tenth at most; every second it would be 3 s. A busy machine makes it only longer.
  expect((asked[3] ?? 0) - (asked[0] ?? 0)).toBeGreaterThan(6000);
  expect(await stop(run)).toBe(0);
});

test.concurrent('the same tasks done by the worker and by an operator come to the same: slipway compare', async () => {
  const [old, next] = [await queue(), await queue()];
  for (const { put } of [old, next]) {
    for (let at = 0; at < 12; at++) await put(`task-${at}`, { at, ...(at % 4 === 3 ? { fail: 'told to fail' } : {}) });
  }
  await using run = worker(old.name, { TASK_MAX_ATTEMPTS: '1', WORKER_CONCURRENCY: '2' });
  await using _operator = startLocalOperator(next.name, { defaults: { attempts: 1 } });
  await eventually(
    async () => expect([await queues.count(old.name), await queues.count(next.name)]).toEqual([0, 0]),
    60_000,
  );
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-compare-'));
  const record = async (name: string, change: (text: string) => string = (text) => text) => {
    const file = join(directory.path, `${name}.jsonl`);
    const posts = sink.requests.filter(({ path }) => path.startsWith(`/${name}/`));
    await writeFile(file, change(posts.map(({ body }) => `${body}\n`).join('')));
    return file;
  };
  const compare = (...args: string[]) => attempt(process.execPath, [CLI, 'compare', ...args]);
  const [oldFile, newFile] = [await record(old.name), await record(next.name)];
  const same = await compare(oldFile, newFile);
  expect([same.code, same.stderr]).toEqual([0, '']);
  expect(same.stdout).toContain('12 of 12 tasks ended the same.');
  expect(same.stdout).toMatch(/^old +12 +0 +\d+ ms +\d+ ms$/m);
  const other = await record(next.name, (text) => text.replace('"at":5', '"at":6'));
  const differs = await compare(oldFile, other);
  expect(differs.code).toBe(1);
  expect(differs.stdout).toMatch(/^task-5 +result\.at +5 +6$/m);
  expect((await compare(oldFile, other, '--ignore', 'result.at')).code).toBe(0);
  expect(await stop(run)).toBe(0);
});

test.concurrent('beside an operator on one queue each task is done once, with the same report', async () => {
  const { name, put } = await queue();
  const ids = Array.from({ length: 30 }, (_, at) => `task-${at}`);
  for (const id of ids) await put(id, { id, sleepMs: 300 });
  await using run = worker(name);
  await using _operator = startLocalOperator(name);
  await eventually(async () => expect(await queues.count(name)).toBe(0), 60_000);
  const posts = sink.requests.filter(({ path }) => path.startsWith(`/${name}/`));
  expect(posts.map(({ path }) => path).toSorted()).toEqual(ids.map((id) => `/${name}/${id}`).toSorted());
  // Both have worked, and what they tell has the same fields.
  const byWorker = run.output().split('task completed').length - 1;
  expect(byWorker).toBeGreaterThan(0);
  expect(byWorker).toBeLessThan(30);
  const shapes = new Set(
    posts.map(({ body }) => {
      // What a task takes of a container nobody knows where there is none.
      const { usage: _, ...rest } = JSON.parse(body) as Record<string, unknown>;
      return Object.keys(rest).toSorted().join();
    }),
  );
  expect([...shapes]).toHaveLength(1);
  expect(await stop(run)).toBe(0);
});
