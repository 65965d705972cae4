/** The operator and a polling runner in containers from our Dockerfiles, on one Azurite in a container; Jobs on a real API server. */
import { chmod, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { LABEL } from '#/contract/identity.ts';
import type { RawJob } from '#/operator/jobs/records.ts';
import { type Containers, startContainers } from '#/testing/containers.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import { stages } from '#/testing/kwok.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'contained';

let containers: Containers;
let cluster: ControlPlane;
let connectionString: string;
let queues: TestQueues;
let sink: WebhookSink;
let directory: Awaited<ReturnType<typeof mkdtempDisposable>>;

beforeAll(async () => {
  directory = await mkdtempDisposable(join(tmpdir(), 'slipway-contained-'));
  await chmod(directory.path, 0o755);
  sink = await startWebhookSink();
  containers = await startContainers();
  ({ connectionString } = await containers.startAzurite());
  queues = testQueues(connectionString);
  await queues.create('acme-tasks', 'polled-tasks');
  cluster = await startControlPlane({ stages: stages() });
}, 600_000);
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await containers?.[Symbol.asyncDispose]();
  await sink?.[Symbol.asyncDispose]();
  await directory?.remove();
}, 120_000);

/** As the chart runs them; it ends with the engine. */
const run = (name: string, image: string, args: readonly string[]) =>
  containers.docker.docker([
    'run',
    '--detach',
    '--name',
    name,
    ...['--network', 'host', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'],
    ...args,
    image,
  ]);

const put = (queue: string, type: string, count: number) =>
  queues.put(
    queue,
    ...Array.from({ length: count }, (_, at) => ({
      task_id: `${type}-${at}`,
      task_type: type,
      payload: { at },
      webhook_url: `${sink.url}/${queue}`,
    })),
  );

test('the operator brings messages to their end', async () => {
  const kubeconfig = await installRights(cluster, NAMESPACE, directory.path);
  const config = join(directory.path, 'config.yaml');
  await writeFile(
    config,
    stringify({
      queues: [{ name: 'acme-tasks' }],
      polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
      runner: { image: 'example.test/runner:1' },
      defaults: { attempts: 1 },
      taskTypes: { succeed: {}, fail: {} },
      webhook: { allow: ['127.0.0.1'] },
    }),
  );
  await chmod(kubeconfig, 0o644);
  await put('acme-tasks', 'succeed', 10);
  await put('acme-tasks', 'fail', 3);
  await run('operator', containers.operator, [
    ...['--volume', `${config}:/etc/slipway/config.yaml:ro`, '--volume', `${kubeconfig}:/kubeconfig:ro`],
    ...['--env', 'KUBECONFIG=/kubeconfig', '--env', `SLIPWAY_NAMESPACE=${NAMESPACE}`, '--env', 'SLIPWAY_HTTP_PORT=0'],
    ...['--env', 'SLIPWAY_POD_NAME=operator-0', '--env', `AZURE_STORAGE_CONNECTION_STRING=${connectionString}`],
  ]);
  await eventually(async () => {
    const labels = `${LABEL.state}=settled`;
    const { items } = await cluster.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE, '-l', labels);
    expect(items).toHaveLength(13);
  }, 90_000);
  expect(await queues.count('acme-tasks')).toBe(0);
  expect(await queues.poison('acme-tasks')).toHaveLength(3);
  const reports = sink.requests.filter(({ path }) => path === '/acme-tasks').map(({ body }) => JSON.parse(body).status);
  expect(reports.toSorted()).toEqual([...Array(10).fill('completed'), ...Array(3).fill('failed')]);
  await containers.docker.docker(['stop', '--time', '30', 'operator']);
  expect((await containers.docker.docker(['inspect', '--format', '{{.State.ExitCode}}', 'operator'])).trim()).toBe('0');
});

test('the runner polls', async () => {
  await put('polled-tasks', 'echo', 5);
  await run('worker', containers.runner, [
    ...[
      '--env',
      'WORKER_QUEUES=polled-tasks',
      '--env',
      'WORKER_IDLE_MIN=1',
      '--env',
      'SLIPWAY_WEBHOOK_ALLOW=127.0.0.1',
    ],
    ...['--env', `AZURE_STORAGE_CONNECTION_STRING=${connectionString}`],
  ]);
  await eventually(async () => expect(await queues.count('polled-tasks')).toBe(0), 30_000);
  expect(sink.requests.filter(({ path }) => path === '/polled-tasks')).toHaveLength(5);
  await containers.docker.docker(['stop', '--time', '30', 'worker']);
  expect((await containers.docker.docker(['inspect', '--format', '{{.State.ExitCode}}', 'worker'])).trim()).toBe('0');
});
