/**
 * The main job on a real control plane: 200 messages of three clients, of every fate, through the operator under the chart's own rights.
 * Pods "run" in KWOK and end as kubelets were recorded to end them.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import type { Cluster } from '#/testing/kubernetes.ts';
import { endPod, stages, standardEndings } from '#/testing/kwok.ts';
import { startOperator } from '#/testing/operator-process.ts';
import { testQueues } from '#/testing/queues.ts';
import { startWebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'tasks';
const QUEUES = ['acme-tasks', 'globex-tasks', 'initech-tasks'];
const FATES = { succeed: 150, fail: 20, flaky: 10, slow: 5, timeout: 5 } as const;
const MALFORMED: readonly [text: string, field: string][] = [
  ['no json', 'message'],
  ['', 'message'],
  ['{"task_id": "m", "task_type": "succeed"', 'message'],
  ['[]', 'message'],
  ['{"task_type": "succeed"}', 'task_id'],
  ['{"task_id": 7, "task_type": "succeed"}', 'task_id'],
  ['{"task_id": "m"}', 'task_type'],
  ['{"task_id": "m", "task_type": "succeed", "webhook_url": "here"}', 'webhook_url'],
  ['{"task_id": "m", "task_id": "n", "task_type": "succeed"}', 'task_id'],
  ['{"task_id": "m", "task_type": "nobody-knows"}', 'task_type'],
];

test('I1 I2 I3 I4 I6 I7 I8: 200 messages, each with one Job, one outcome, one report', {
  timeout: 400_000,
}, async () => {
  await using azurite = await startAzurite({ blob: false });
  await using sink = await startWebhookSink();
  await using cluster = await startControlPlane({ stages: stages(standardEndings) });
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-test-'));
  const kubeconfig = await installRights(cluster, NAMESPACE, directory.path);
  const queues = testQueues(azurite.connectionString);
  await queues.create(...QUEUES);

  const fates = Object.entries(FATES).flatMap(([type, count]) => Array.from({ length: count }, () => type));
  const tasks = fates.map((task_type, at) => ({
    task_id: `task-${at}`,
    task_type,
    payload: { at },
    webhook_url: `${sink.url}/hook`,
  }));
  await Promise.all(
    QUEUES.map((queue, at) => queues.put(queue, ...tasks.filter((_, index) => index % QUEUES.length === at))),
  );
  await queues.put('acme-tasks', ...MALFORMED.map(([text]) => text));

  await using operator = await startOperator({
    kubeconfig,
    namespace: NAMESPACE,
    connectionString: azurite.connectionString,
    config: {
      queues: QUEUES.map((name) => ({ name })),
      limits: { maxRunning: 30 },
      lease: { firstSeconds: 6, renewSeconds: 30 },
      runner: { image: 'example.test/runner:1' },
      defaults: { attempts: 2 },
      taskTypes: { succeed: {}, fail: {}, flaky: {}, slow: {}, timeout: {} },
      webhook: { allow: ['127.0.0.1'] },
    },
  });
  const ending = new AbortController();
  const flaky = failOnceThenSucceed(cluster, ending.signal);
  const most: number[] = [];
  const jobs = await eventually(
    async () => {
      const { items } = await cluster.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE);
      most.push(items.filter((job) => !isFinished(job)).length);
      const settled = items.filter((job) => job.metadata?.labels?.[LABEL.state] === 'settled');
      expect(settled).toHaveLength(tasks.length);
      return items;
    },
    300_000,
    1000,
  );
  ending.abort();
  await flaky;

  expect(jobs).toHaveLength(tasks.length);
  expect(new Set(jobs.map((job) => job.metadata?.annotations?.[ANNOTATION.messageId])).size).toBe(tasks.length);
  expect(jobs.filter((job) => job.spec?.ttlSecondsAfterFinished === undefined)).toEqual([]);
  expect(jobs.filter((job) => !isFinished(job))).toEqual([]);
  expect(Math.max(...most)).toBeLessThanOrEqual(30);
  const settledLines = operator.lines.filter((line) => line.msg === 'settled');
  expect(settledLines).toHaveLength(tasks.length);
  expect(settledLines.filter((line) => line['message'] !== 'deleted')).toEqual([]);

  for (const queue of QUEUES) expect(await queues.count(queue), queue).toBe(0);
  const poisoned = (await Promise.all(QUEUES.map((queue) => queues.poison(queue)))).flat();
  const categories = Object.groupBy(poisoned, (envelope) => envelope.diagnosis.category);
  expect(Object.fromEntries(Object.entries(categories).map(([category, of]) => [category, of?.length]))).toEqual({
    TaskFailed: FATES.fail,
    TaskTimedOut: FATES.timeout,
    Malformed: MALFORMED.length - 1,
    UnknownTaskType: 1,
  });
  const failedTypes = ['fail', 'timeout'];
  const originals = (types: (type: string) => boolean) =>
    tasks
      .filter((task) => types(task.task_type))
      .map((task) => JSON.stringify(task))
      .sort();
  expect(
    poisoned
      .filter(({ attempts }) => attempts.length > 0)
      .map(({ original }) => original)
      .sort(),
  ).toEqual(originals((type) => failedTypes.includes(type)));
  expect(poisoned.filter(({ attempts }) => attempts.length > 0).every(({ attempts }) => attempts.length === 2)).toBe(
    true,
  );
  for (const [text, field] of MALFORMED) {
    const envelope = poisoned.find(({ original }) => original === text);
    expect(envelope?.reason, text).toContain(field);
  }

  const bodies = sink.requests.map(({ body }) => webhookBodySchema.parse(JSON.parse(body)));
  expect(bodies).toHaveLength(tasks.length);
  expect(new Set(sink.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(tasks.length);
  for (const task of tasks) {
    const body = bodies.find((one) => one.task_id === task.task_id);
    expect(body?.status, task.task_id).toBe(failedTypes.includes(task.task_type) ? 'failed' : 'completed');
  }
  expect(operator.lines.filter((line) => line['level'] === 'error')).toEqual([]);
  const text = await (await fetch(`http://127.0.0.1:${await operator.port}/metrics`)).text();
  expect(text).toMatch(/slipway_lease_renewals_total\{result="renewed"\} [1-9]/);
  expect(await operator.stop()).toBe(0);
});

/** Ends the first pod of each `flaky` Job as failed and the second as completed. */
async function failOnceThenSucceed(cluster: Cluster, signal: AbortSignal): Promise<void> {
  const ended = new Set<string>();
  const failedOnce = new Set<string>();
  while (!signal.aborted) {
    const { items } = await cluster.get<{ items: RawPod[] }>(
      'pods',
      '-n',
      NAMESPACE,
      '-l',
      `${LABEL.taskType}=flaky`,
      '--field-selector=status.phase=Running',
    );
    for (const { metadata } of items) {
      const job = metadata?.labels?.['job-name'] ?? '';
      const name = metadata?.name ?? '';
      if (ended.has(name)) continue;
      ended.add(name);
      await endPod(cluster, NAMESPACE, name, failedOnce.has(job) ? 'completed-owed' : 'failed');
      failedOnce.add(job);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function isFinished(job: RawJob): boolean {
  return (job.status?.conditions ?? []).some(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
}
