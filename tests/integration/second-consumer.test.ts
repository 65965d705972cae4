/** Beside the old worker, on one queue of a real queue service: whoever holds the lease does the task, the other one does not. */
import { setTimeout as delay } from 'node:timers/promises';
import type { QueueClient } from '@azure/storage-queue';
import { expect, onTestFinished, test } from 'vitest';
import { ANNOTATION } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import { recordedOutcome } from '#/operator/jobs/outcome.ts';
import type { JobRecord } from '#/operator/jobs/records.ts';
import type { RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { testQueues } from '#/testing/queues.ts';

const QUEUE = 'acme-tasks';

/** An operator whose tasks take `runMs`, and what it does. */
async function setUp(settings: object, runMs: number) {
  const azurite = await startAzurite({ blob: false });
  onTestFinished(() => azurite[Symbol.asyncDispose]());
  const queues = testQueues(azurite.connectionString);
  await queues.create(QUEUE);
  const file = {
    queues: [{ name: QUEUE }],
    polling: { minIntervalSeconds: 0.1, maxIntervalSeconds: 0.3 },
    runner: { image: 'runner:1' },
    taskTypes: { echo: {} },
    limits: { maxRunning: 4 },
    ...settings,
  };
  const env = {
    AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    SLIPWAY_NAMESPACE: 'local',
    SLIPWAY_HTTP_PORT: '0',
  };
  const config = parseConfig(JSON.stringify(file), env);
  const clock = systemClock;
  const done: string[] = [];
  const runPod: RunPod = async ({ metadata }, { started, stopping }) => {
    started();
    await clock.sleep(runMs, stopping);
    if (stopping.aborted) return { exitCode: 143 };
    done.push(metadata.annotations['slipway.dev/task-id'] ?? '');
    return { exitCode: 0 };
  };
  const store = createLocalStore({ clock, runPod });
  const jobs = new Map<string, JobRecord>();
  const stop = new AbortController();
  const following = store.follow((one) => {
    if (one.kind === 'job') jobs.set(one.job.uid, one.job);
  }, stop.signal);
  const { promise: port, resolve: onListening } = Promise.withResolvers<number>();
  const parts = { config, store, queues: createQueueService(config.storage, clock), clock, onListening };
  const running = runOperator({ ...parts, log: createLog('silent', {}) }, stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await Promise.all([running, following]);
    await store[Symbol.asyncDispose]();
  });
  return {
    queue: queues.service.getQueueClient(QUEUE),
    count: () => queues.count(QUEUE),
    put: (...ids: readonly string[]) =>
      queues.put(QUEUE, ...ids.map((id) => ({ task_id: id, task_type: 'echo', payload: {} }))),
    /** Tasks that were done, in order. */
    done,
    jobs: () => [...jobs.values()],
    notices: store.notices,
    metrics: async () => (await fetch(`http://127.0.0.1:${await port}/metrics`)).text(),
  };
}

/** The old worker: takes one message at a time for half an hour, does it, deletes it. */
async function oldWorker(queue: QueueClient, stop: AbortSignal, workMs: number): Promise<readonly string[]> {
  const done: string[] = [];
  while (!stop.aborted) {
    const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 1, visibilityTimeout: 1800 });
    for (const { messageId, popReceipt, messageText } of receivedMessageItems) {
      await delay(workMs);
      done.push(JSON.parse(messageText).task_id);
      await queue.deleteMessage(messageId, popReceipt);
    }
    if (receivedMessageItems.length === 0) await delay(50);
  }
  return done;
}

test.each([true, false])(
  'I1: every task is done once, by one of the two (lease.shared: %s)',
  { timeout: 60_000 },
  async (shared) => {
    const at = await setUp({ lease: { firstSeconds: 5, renewSeconds: 5, shared } }, 300);
    const stop = new AbortController();
    const ids = Array.from({ length: 40 }, (_, n) => `t-${n}`);
    const worker = oldWorker(at.queue, stop.signal, 50);
    for (const id of ids) await at.put(id);
    await eventually(async () => expect(await at.count()).toBe(0), 40_000);
    await eventually(() => expect(at.jobs().every((job) => job.settled)).toBe(true));
    stop.abort();
    const theirs = await worker;
    expect(theirs.length, 'the old worker did some').toBeGreaterThan(0);
    expect(at.done.length, 'the operator did some').toBeGreaterThan(0);
    expect([...theirs, ...at.done].toSorted()).toEqual(ids.toSorted());
    expect(at.jobs().filter((job) => job.annotations[ANNOTATION.leaseLost] !== undefined)).toEqual([]);
  },
);

test('I2: a message that another one took while its Job lived is left to it, and everybody is told', {
  timeout: 60_000,
}, async () => {
  const at = await setUp({ lease: { firstSeconds: 6, renewSeconds: 6 } }, 8000);
  await at.put('t-1');
  const job = await eventually(() => {
    expect(at.jobs()).toHaveLength(1);
    return at.jobs()[0]!;
  });
  const { [ANNOTATION.messageId]: id = '', [ANNOTATION.popReceipt]: receipt = '' } = job.annotations;
  // What a lease that nobody renewed would come to: the message is visible, and the old worker has it before the operator has.
  const { popReceipt } = await at.queue.updateMessage(id, receipt, undefined, 1800);

  await eventually(() => expect(at.jobs()[0]?.settled).toBe(true), 30_000);
  const settled = at.jobs()[0]!;
  expect(settled.annotations[ANNOTATION.leaseLost]).toBeDefined();
  expect(recordedOutcome(settled)).toMatchObject({ status: 'completed', leaseLost: true });
  expect(at.notices).toMatchObject([{ reason: 'LeaseLost', type: 'Warning', about: { name: job.name } }]);
  expect(await at.metrics()).toMatch(/^slipway_leases_lost_total\{queue="acme-tasks"\} 1$/m);
  expect(await at.count(), 'the message is its holder’s to delete').toBe(1);
  await at.queue.deleteMessage(id, popReceipt ?? '');
  expect(settled.ttlSeconds, 'the record waits for a message that may come back').toBeGreaterThan(600_000);
});
