/**
 * `kubectl delete job` and `kubectl delete namespace` on a real API server with its garbage collector: what the operator makes of each. Every
 * case has a namespace and a queue of its own.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { webhookBodySchema } from '#/contract/webhook.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import { endPod, stages } from '#/testing/kwok.ts';
import { startOperator } from '#/testing/operator-process.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const FIRST_LEASE_S = 6;

let resources: AsyncDisposableStack;
let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let cluster: ControlPlane;
let directory: string;

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

describe.skipIf(theirs)("a deletion (its pods end as the test says, so not on a cluster of one's own)", () => {
  beforeAll(async () => {
    await using starting = new AsyncDisposableStack();
    azurite = starting.use(await startAzurite({ blob: false }));
    sink = starting.use(await startWebhookSink());
    cluster = starting.use(await startControlPlane({ stages: stages({ fail: { as: 'failed' } }) }));
    directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-'))).path;
    queues = testQueues(azurite.connectionString);
    resources = starting.move();
  });
  afterAll(() => resources.disposeAsync());

  test.concurrent.each(['background', 'foreground'])(
    'I7: of a running Job in the %s cancels its task, when its pods are gone',
    async (cascade) => {
      const at = await setUp(cascade);
      await using operator = await at.start();
      await at.put('held');
      const { pod } = await at.running();
      await at.deleteJob(cascade);
      const [body] = await at.reported(1);
      expect(body).toMatchObject({ task_id: cascade, status: 'failed', error: { code: 'Cancelled' } });
      // The report comes after the pods have gone.
      expect(await at.pods()).not.toContain(pod);
      await eventually(async () => expect(await queues.count(at.queue)).toBe(0));
      expect([await at.jobs(), await queues.poison(at.queue)]).toEqual([[], []]);
      expect(await operator.stop()).toBe(0);
      expect(await at.reported(1)).toHaveLength(1);
    },
  );

  test.concurrent('I1: that orphans its pod waits for the pod, and then its end counts', async () => {
    const at = await setUp('orphan');
    await using operator = await at.start();
    await at.put('held');
    const { pod } = await at.running();
    await at.deleteJob('orphan');
    await eventually(async () => expect(await at.jobs()).toEqual([]));
    // Longer than the first lease lasts: unless it is renewed, the message comes back meanwhile.
    const until = Date.now() + (FIRST_LEASE_S + 3) * 1000;
    while (Date.now() < until) {
      expect(await queues.texts(at.queue)).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect([await at.pods(), await at.jobs()]).toEqual([[pod], []]);
    await endPod(cluster, at.namespace, pod, 'completed-owed');
    const [body] = await at.reported(1);
    expect(body).toMatchObject({ task_id: 'orphan', status: 'completed' });
    await eventually(async () => expect(await queues.count(at.queue)).toBe(0));
    expect(await queues.poison(at.queue)).toEqual([]);
    expect(await operator.stop()).toBe(0);
  });

  test.concurrent('I8: of a failed Job whose webhook is owed leaves its outcome as it is', async () => {
    const at = await setUp('owed');
    sink.answer('/owed', { status: 503 }, { status: 204 });
    await using operator = await at.start();
    await at.put('fail');
    await operator.waitFor('the first try', ({ msg }) => msg === 'the webhook was not delivered and stays owed');
    await at.deleteJob('background');
    const bodies = await at.reported(2);
    expect(bodies).toMatchObject([{ error: { code: 'TaskFailed' } }, { error: { code: 'TaskFailed' } }]);
    await operator.waitFor('the end', ({ msg }) => msg === 'settled, though its Job was deleted');
    expect(await queues.poison(at.queue)).toMatchObject([{ diagnosis: { category: 'TaskFailed' } }]);
    expect([await at.jobs(), await queues.count(at.queue)]).toEqual([[], 0]);
  });

  test.concurrent('I7: while no operator runs cancels nothing: the task runs again', async () => {
    const at = await setUp('unseen');
    const operator = await at.start();
    await at.put('held');
    const before = await at.running();
    await operator.kill();
    await operator[Symbol.asyncDispose]();
    await at.deleteJob('background');
    await eventually(async () => expect(await at.pods()).toEqual([]));
    await using _next = await at.start();
    const after = await at.running();
    expect(after.uid).not.toBe(before.uid);
    expect(await at.reported(0)).toEqual([]);
  });

  test.concurrent('I1: that left a pod behind, which has ended, keeps the task from running again no longer', async () => {
    const at = await setUp('left');
    const operator = await at.start();
    await at.put('held');
    const before = await at.running();
    await operator.kill();
    await operator[Symbol.asyncDispose]();
    await at.deleteJob('orphan');
    await eventually(async () => expect(await at.jobs()).toEqual([]));
    await using next = await at.start();
    // It may still do the task.
    await next.waitFor('a known view', ({ msg }) => msg === 'the Jobs are known');
    await new Promise((resolve) => setTimeout(resolve, (FIRST_LEASE_S + 3) * 1000));
    expect([await at.pods(), await at.jobs()]).toEqual([[before.pod], []]);
    await endPod(cluster, at.namespace, before.pod, 'failed');
    const after = await at.running();
    expect(after.uid).not.toBe(before.uid);
    // What counts is how its own pod ends.
    await endPod(cluster, at.namespace, after.pod, 'completed-owed');
    expect(await at.reported(1)).toMatchObject([{ task_id: 'left', status: 'completed' }]);
    await eventually(async () => expect(await queues.count(at.queue)).toBe(0));
    expect(await queues.poison(at.queue)).toEqual([]);
    expect(await at.pods()).toContain(before.pod);
  });

  test.concurrent('I7: of the namespace cancels nothing: its messages come back', async () => {
    const at = await setUp('doomed');
    await using operator = await at.start();
    await at.put('held', 'held', 'held');
    await eventually(async () => expect(await at.pods()).toHaveLength(3));
    await at.running();
    await cluster.kubectl(['delete', 'namespace', at.namespace, '--wait=false']);
    // With the namespace go the operator's rights and its Lease: it does nothing more, and the messages come back when theirs end.
    await operator.waitFor('its end as leader', ({ msg }) => msg === 'this replica leads no longer');
    expect(await operator.stop()).toBe(0);
    await eventually(async () => expect(await queues.texts(at.queue)).toHaveLength(3), 60_000);
    expect([await at.reported(0), await queues.poison(at.queue)]).toEqual([[], []]);
  });
});

/** A namespace and a queue, under the chart's rights. */
async function setUp(namespace: string) {
  const queue = `${namespace}-tasks`;
  const kubeconfig = await installRights(cluster, namespace, directory);
  await queues.create(queue);
  const list = async <T extends RawJob | RawPod>(kind: string) =>
    (await cluster.get<{ items: T[] }>(kind, '-n', namespace)).items;
  const names = (items: readonly (RawJob | RawPod)[]) => items.map(({ metadata }) => metadata?.name ?? '');
  return {
    namespace,
    queue,
    start: () =>
      startOperator({
        kubeconfig,
        namespace,
        connectionString: azurite.connectionString,
        config: {
          queues: [{ name: queue }],
          lease: { firstSeconds: FIRST_LEASE_S, renewSeconds: 30 },
          runner: { image: 'example.test/runner:1' },
          // With one attempt, the controller takes the end of a deleted pod for that of the Job.
          defaults: { attempts: 1 },
          taskTypes: { held: {}, fail: {} },
          webhook: { allow: ['127.0.0.1'] },
        },
      }),
    put: (...types: readonly string[]) =>
      queues.put(
        queue,
        ...types.map((task_type) => ({ task_id: namespace, task_type, webhook_url: `${sink.url}/${namespace}` })),
      ),
    /** A Job, when its pod runs. */
    running: () =>
      eventually(async () => {
        const pod = (await list<RawPod>('pods')).find(({ status }) => status?.phase === 'Running');
        const [job] = await list<RawJob>('jobs');
        expect([pod, job]).not.toContain(undefined);
        return { pod: pod?.metadata?.name ?? '', uid: job?.metadata?.uid };
      }),
    deleteJob: (cascade: string) =>
      cluster.kubectl(['-n', namespace, 'delete', 'jobs', '--all', `--cascade=${cascade}`, '--wait=false']),
    jobs: async () => names(await list('jobs')),
    pods: async () => names(await list('pods')),
    /** What its webhook was told, when it was so often. */
    reported: async (times: number) => {
      if (times > 0) await sink.waitFor(`/${namespace}`, times, 60_000);
      return sink.requests
        .filter(({ path }) => path === `/${namespace}`)
        .map(({ body }) => webhookBodySchema.parse(JSON.parse(body)));
    },
  };
}
