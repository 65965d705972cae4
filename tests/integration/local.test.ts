/** The whole way of a message without a cluster: the operator and the runner on Azurite, Jobs in the local store, tasks as processes. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ANNOTATION } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import type { JobRecord, PodRecord } from '#/operator/jobs/records.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const RUNNER = fileURLToPath(new URL('../../job-runner/main.ts', import.meta.url));
const FOREIGN = 'const task = JSON.parse(process.env.TASK_DATA); process.exit(task.payload.exit)';
const images = {
  'runner:1': { command: [process.execPath, RUNNER] },
  'foreign:1': { command: [process.execPath, '-e', FOREIGN] },
} as const;
const SECRET = 'correct horse battery staple';

let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
beforeAll(async () => {
  azurite = await startAzurite({ blob: false });
  queues = testQueues(azurite.connectionString);
  sink = await startWebhookSink();
});
afterAll(async () => {
  await sink[Symbol.asyncDispose]();
  await azurite[Symbol.asyncDispose]();
});

/** An operator for one queue, and what it has been seen to do. */
interface Installation extends AsyncDisposable {
  readonly queue: string;
  /** The path of the sink that is this installation's. */
  readonly hook: string;
  readonly lines: readonly Record<string, unknown>[];
  /** Jobs as they are now. */
  jobs(): readonly JobRecord[];
  /** The one Job, when it is settled. */
  settled(): Promise<JobRecord>;
  /** Every pod that there was. */
  pods(): readonly PodRecord[];
  /** The most Jobs that were unfinished at one moment. */
  mostRunning(): number;
  put(task: object): Promise<void>;
}

async function install(client: string, settings: object = {}): Promise<Installation> {
  const queue = `${client}-tasks`;
  await queues.create(queue);
  const file = {
    queues: [{ name: queue }],
    polling: { minIntervalSeconds: 0.1, maxIntervalSeconds: 0.2 },
    lease: { firstSeconds: 10 },
    runner: { image: 'runner:1' },
    defaults: { attempts: 2 },
    taskTypes: {
      echo: { env: [{ name: 'SECRET', valueFrom: { secretKeyRef: { name: 'secrets', key: 'secret' } } }] },
      foreign: { image: 'foreign:1' },
    },
    webhook: { allow: ['127.0.0.1'] },
    logLevel: 'debug',
    ...settings,
  };
  const config = parseConfig(JSON.stringify(file), {
    AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    SLIPWAY_NAMESPACE: 'local',
    SLIPWAY_HTTP_PORT: '0',
  });
  const clock = systemClock;
  const lines: Record<string, unknown>[] = [];
  const log = createLog('debug', {}, { write: (line) => void lines.push(JSON.parse(line)) });
  const store = createLocalStore({
    clock,
    images,
    sources: { secrets: { secrets: { secret: SECRET } } },
    firstBackoffMs: 100,
  });
  const stop = new AbortController();
  const jobs = new Map<string, JobRecord>();
  const pods = new Map<string, PodRecord>();
  let mostRunning = 0;
  const watching = store.follow((one) => {
    if (one.kind === 'job') jobs.set(one.job.uid, one.job);
    if (one.kind === 'job-gone') jobs.delete(one.job.uid);
    if (one.kind === 'pod') pods.set(one.pod.name, one.pod);
    mostRunning = Math.max(mostRunning, [...jobs.values()].filter(({ end }) => end === undefined).length);
  }, stop.signal);
  const running = runOperator(
    { config, store, queues: createQueueService(config.storage, clock), clock, log },
    stop.signal,
  );
  return {
    queue,
    hook: `/${client}`,
    lines,
    jobs: () => [...jobs.values()],
    settled: () =>
      eventually(() => {
        const [job, ...others] = jobs.values();
        expect(others).toEqual([]);
        expect(job?.settled).toBe(true);
        return job!;
      }, 30_000),
    pods: () => [...pods.values()],
    mostRunning: () => mostRunning,
    put: (task) =>
      queues.put(queue, {
        task_id: 't1',
        task_type: 'echo',
        webhook_url: `${sink.url}/${client}`,
        payload: {},
        ...task,
      }),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the test is over'));
      await running;
      await watching;
      await store[Symbol.asyncDispose]();
    },
  };
}

const webhooks = ({ hook }: Installation) =>
  sink.requests.flatMap(({ path, headers, body }) =>
    path === hook ? [{ id: headers['webhook-id'], ...webhookBodySchema.parse(JSON.parse(body)) }] : [],
  );

test.concurrent('a task that succeeds: one Job, one webhook from the runner, nothing left in the queue', async () => {
  await using acme = await install('acme');
  await acme.put({ payload: { hello: 'world' } });
  const job = await acme.settled();
  expect(job).toMatchObject({ end: { kind: 'complete' }, ttlSeconds: expect.any(Number) });
  expect(acme.pods()).toMatchObject([{ phase: 'Succeeded', task: { exitCode: 0 } }]);
  expect(webhooks(acme)).toMatchObject([
    { task_id: 't1', client_id: 'acme', status: 'completed', result: { hello: 'world' } },
  ]);
  expect(await queues.count(acme.queue)).toBe(0);
  expect(await queues.poison(acme.queue)).toEqual([]);
});

test.concurrent('a task that fails every attempt: poisoned with its attempts, reported once by the operator', async () => {
  await using failing = await install('failing');
  await failing.put({ payload: { fail: 'no luck' } });
  expect((await failing.settled()).end).toMatchObject({ kind: 'failed', reason: 'BackoffLimitExceeded' });
  expect(failing.pods()).toHaveLength(2);
  expect(await queues.poison(failing.queue)).toMatchObject([
    {
      diagnosis: { category: 'TaskFailed', message: 'no luck' },
      attempts: [{ exitCode: 1 }, { exitCode: 1 }],
      encoding: 'plain',
      original: expect.stringContaining('"fail":"no luck"'),
    },
  ]);
  expect(webhooks(failing)).toMatchObject([{ status: 'failed', error: { code: 'TaskFailed', message: 'no luck' } }]);
  expect(await queues.count(failing.queue)).toBe(0);
});

test.concurrent('a task that cannot succeed: one attempt, poisoned, reported by the runner', async () => {
  await using permanent = await install('permanent');
  await permanent.put({ payload: { sleepMs: 'long' } });
  expect((await permanent.settled()).end).toMatchObject({ kind: 'failed', reason: 'PodFailurePolicy' });
  expect(permanent.pods()).toMatchObject([{ phase: 'Failed', task: { exitCode: 65 } }]);
  expect(await queues.poison(permanent.queue)).toMatchObject([{ attempts: [{ exitCode: 65 }] }]);
  expect(webhooks(permanent)).toMatchObject([{ status: 'failed' }]);
});

test.concurrent('what is no task: poisoned and reported without a Job, and the queue goes on', async () => {
  await using malformed = await install('malformed');
  await queues.put(malformed.queue, 'garbage');
  await malformed.put({ task_id: 7 });
  await malformed.put({ task_type: 'nobody-knows' });
  await malformed.put({ task_id: 'good' });
  await malformed.settled();
  const poison = await eventually(async () => {
    expect(await queues.count(malformed.queue)).toBe(0);
    return queues.poison(malformed.queue);
  });
  const reasons = poison.map(({ diagnosis }) => diagnosis).sort((a, b) => a.message.localeCompare(b.message));
  expect(reasons).toMatchObject([
    { category: 'Malformed', message: expect.stringContaining('message is neither JSON') },
    { category: 'Malformed', message: expect.stringContaining('task_id') },
    { category: 'UnknownTaskType', message: expect.stringContaining('nobody-knows') },
  ]);
  const told = webhooks(malformed).map(({ task_id, status, error }) => [task_id, status, error?.code]);
  expect(told.sort()).toEqual([
    ['', 'failed', 'Malformed'],
    ['good', 'completed', undefined],
    ['t1', 'failed', 'UnknownTaskType'],
  ]);
});

test.concurrent('a base64 message: the task gets the text, the poison queue the message as it was', async () => {
  await using base64 = await install('base64');
  const text = JSON.stringify({ task_id: 'ä', task_type: 'echo', payload: { fail: 'ö' } });
  const raw = Buffer.from(text).toString('base64');
  await queues.put(base64.queue, raw);
  expect((await base64.settled()).annotations[ANNOTATION.encoding]).toBe('base64');
  expect(await queues.poison(base64.queue)).toMatchObject([
    { encoding: 'base64', original: raw, diagnosis: { message: 'ö' } },
  ]);
});

test.concurrent('a webhook that the runner could not deliver is delivered by the operator, under the same id', async () => {
  const [down, up] = [{ status: 503 }, { status: 204 }];
  sink.answer('/owed', down, down, down, down, up);
  await using owed = await install('owed');
  await owed.put({ payload: { a: 1 } });
  const job = await owed.settled();
  expect(JSON.parse(job.annotations[ANNOTATION.webhookState] ?? '')).toEqual({ kind: 'delivered', tries: 2 });
  const sent = webhooks(owed);
  expect(sent).toHaveLength(5);
  expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
  expect(sent.at(-1)).toMatchObject({ status: 'completed', result: { a: 1 } });
  expect(await queues.count(owed.queue)).toBe(0);
});

test.concurrent('a foreign image is trusted when it exits 0, and reported by the operator when it does not', async () => {
  await using foreign = await install('foreign');
  await foreign.put({ task_id: 'well', task_type: 'foreign', payload: { exit: 0 } });
  await foreign.put({ task_id: 'ill', task_type: 'foreign', payload: { exit: 3 } });
  await eventually(() => expect(foreign.jobs().filter(({ settled }) => settled)).toHaveLength(2));
  expect(foreign.pods()).toHaveLength(2);
  expect(webhooks(foreign)).toMatchObject([{ task_id: 'ill', status: 'failed', error: { code: 'TaskFailed' } }]);
});

test.concurrent("I9: a payload that names a secret's variable reads nothing and arrives as it was", async () => {
  await using hostile = await install('hostile');
  const payload = { a: '$(SECRET)', b: '$$(SECRET) $$ $(', c: '$SECRET `echo $SECRET`', '$(SECRET)': '"\n\\' };
  await hostile.put({ task_id: '$(SECRET)', payload });
  await hostile.settled();
  expect(webhooks(hostile)).toMatchObject([{ task_id: '$(SECRET)', status: 'completed', result: payload }]);
  expect(JSON.stringify([hostile.jobs(), hostile.pods(), hostile.lines, webhooks(hostile)])).not.toContain(SECRET);
});

test.concurrent('I6: never more Jobs than may run', async () => {
  await using capped = await install('capped', { limits: { maxRunning: 2 } });
  for (let at = 0; at < 6; at++) await capped.put({ task_id: `t${at}`, payload: { sleepMs: 200 } });
  await eventually(() => expect(capped.jobs().filter(({ settled }) => settled)).toHaveLength(6), 30_000);
  expect(capped.mostRunning()).toBe(2);
  expect(await queues.count(capped.queue)).toBe(0);
});

test.concurrent('I1: a message that comes again while its task runs is given to its Job', async () => {
  await using again = await install('again');
  await again.put({ payload: { sleepMs: 3000 } });
  const job = await eventually(() => {
    expect(again.pods()).toMatchObject([{ phase: 'Running' }]);
    return again.jobs()[0]!;
  });
  await takeLease(again.queue, job, 0);
  const adopted = await again.settled();
  expect(adopted.annotations[ANNOTATION.dequeueCount]).toBe('2');
  expect(adopted.annotations).not.toHaveProperty(ANNOTATION.leaseLost);
  expect(again.pods()).toHaveLength(1);
  expect(webhooks(again)).toMatchObject([{ status: 'completed' }]);
  expect(await queues.count(again.queue)).toBe(0);
});

test.concurrent('I1: a message that comes again after its task was settled is only deleted', async () => {
  await using late = await install('late');
  await late.put({ payload: { sleepMs: 2000 } });
  const job = await eventually(() => {
    expect(late.pods()).toMatchObject([{ phase: 'Running' }]);
    return late.jobs()[0]!;
  });
  await takeLease(late.queue, job, 8);
  const settled = await late.settled();
  // The delete could not be carried out, so the record stays as long as the message may come back.
  expect(settled.ttlSeconds).toBeGreaterThan(600_000);
  expect(await queues.count(late.queue)).toBe(1);
  await eventually(async () => expect(await queues.count(late.queue)).toBe(0));
  expect((await late.settled()).resourceVersion).toBe(settled.resourceVersion);
  expect(late.pods()).toHaveLength(1);
  expect(webhooks(late)).toHaveLength(1);
});

/** Takes a message away from the operator, as another consumer would that got it after its lease: visible again after `seconds`. */
async function takeLease(queue: string, job: JobRecord, seconds: number): Promise<void> {
  const on = job.annotations;
  const client = queues.service.getQueueClient(queue);
  await client.updateMessage(on[ANNOTATION.messageId] ?? '', on[ANNOTATION.popReceipt] ?? '', undefined, seconds);
}
