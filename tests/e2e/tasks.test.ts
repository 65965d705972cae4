/** The whole product on a real node: our images from our Dockerfiles, `helm install` of our chart, real pods, real documents. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { eventually } from '#/testing/eventually.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';
import type { TestQueues } from '#/testing/queues.ts';
import type { WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'slipway';
const SECRET = 'sk-this-must-stay-in-its-secret';
const TTL_SECONDS = 60;
const DOCUMENTS = ['report.pdf', 'crew.docx', 'notice.html', 'handbook.md', 'log.txt'];

/** Every form in which Kubernetes could take a text for a reference, and everything that a shell or a YAML parser might change. */
const HOSTILE = [
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's reference is one of the forms
  '$(OPENAI_API_KEY) $$(OPENAI_API_KEY) $$$(OPENAI_API_KEY) ${OPENAI_API_KEY} $OPENAI_API_KEY $(TASK_ID) $(NOT_THERE) $$ $ $( $() $(A B)',
  '"double" \'single\' `back` \\ \\n \\u0041 {{ .Values }} #!&*|>%@ <xml>&amp;</xml>',
  'line\nbreak\r\ntab\tend',
  'käse 日本語 🚢 \u2028 \u00a0',
].join(' | ');

let installation: NodeInstallation;
let node: RealNode;
let queues: TestQueues;
let sink: WebhookSink;
let blobs: BlobServiceClient;

beforeAll(async () => {
  installation = await installOnNode({
    queues: ['acme-tasks', 'globex-tasks'],
    secrets: { openai: { OPENAI_API_KEY: SECRET } },
    config: configOf,
  });
  ({ node, queues, sink } = installation);
  blobs = BlobServiceClient.fromConnectionString(installation.azurite.connectionString);
}, 900_000);

afterAll(() => installation?.[Symbol.asyncDispose](), 60_000);

test('21 messages on a real node: echo, documents, failure, malformed, foreign, an image that is not there', {
  timeout: 400_000,
}, async () => {
  await uploadDocuments();
  const hook = (name: string) => `${sink.url}/${name}`;
  const echoes = Array.from({ length: 8 }, (_, at) => ({
    task_id: `echo-${at}`,
    task_type: 'echo',
    payload: { at },
    webhook_url: hook('echo'),
  }));
  const documents = DOCUMENTS.map((path) => ({
    task_id: path,
    task_type: 'document-processing',
    payload: { container: 'inbox', path },
    webhook_url: hook('document'),
  }));
  const hostile = {
    task_id: 'hostile-$(OPENAI_API_KEY)',
    task_type: 'echo',
    payload: HOSTILE,
    webhook_url: hook('hostile'),
  };
  const large = { task_id: 'large', task_type: 'digest', payload: HOSTILE + 'x$(TASK_ID)é'.repeat(4750) };
  const spaced = `{\n  "task_id":"spaced",\t"task_type" : "digest", "payload":${JSON.stringify(HOSTILE)}, "extra": [1.0, 1e3, "\\u00e9"] }\n`;
  await queues.put('acme-tasks', ...echoes.slice(0, 5), ...documents, hostile, spaced, large);
  await queues.put(
    'globex-tasks',
    ...echoes.slice(5).map(base64),
    base64({ task_id: 'foreign', task_type: 'old-worker', payload: { n: 7 }, webhook_url: hook('foreign') }),
  );
  await queues.put('globex-tasks', {
    task_id: 'failing',
    task_type: 'echo',
    payload: { fail: 'told to fail' },
    webhook_url: hook('failing'),
  });
  await queues.put('globex-tasks', {
    task_id: 'foreign-failing',
    task_type: 'old-worker',
    payload: { n: 'not a number' },
    webhook_url: hook('foreign-failing'),
  });
  await queues.put('acme-tasks', { task_id: 'no-image', task_type: 'no-image', webhook_url: hook('no-image') });
  await queues.put('acme-tasks', { task_id: 'malformed', task_type: 5, webhook_url: hook('malformed') });
  expect(Buffer.byteLength(JSON.stringify(large))).toBeGreaterThan(60_000);

  const jobs = await eventually(
    async () => {
      const { items } = await node.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE);
      expect(items.filter((job) => job.metadata?.labels?.[LABEL.state] === 'settled')).toHaveLength(20);
      return items;
    },
    240_000,
    1000,
  );
  const table = await node.kubectl(['-n', NAMESPACE, 'get', 'jobs']);
  console.log(table);
  const pods = await node.get<{ items: (RawPod & { status?: { podIP?: string } })[] }>('pods', '-n', NAMESPACE);
  const log = await node.kubectl(['-n', NAMESPACE, 'logs', 'deployment/slipway']);

  // The webhook of a successful task comes from its own pod.
  const podOf = (taskId: string) =>
    pods.items.filter((pod) => pod.metadata?.annotations?.['slipway.dev/task-id'] === taskId);
  for (const { from, body } of [...received('echo'), ...received('document'), ...received('hostile')]) {
    expect(podOf(JSON.parse(body).task_id).map((pod) => pod.status?.podIP)).toContain(from);
  }
  expect(
    received('echo')
      .map(({ body }) => JSON.parse(body).result.at)
      .sort(),
  ).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(received('document').map(({ body }) => JSON.parse(body).status)).toEqual(DOCUMENTS.map(() => 'completed'));
  for (const { body } of received('document')) {
    const { result } = JSON.parse(body);
    const [container = '', ...path] = new URL(result.resultUrl).pathname.split('/').slice(2).map(decodeURIComponent);
    const stored = await blobs.getContainerClient(container).getBlobClient(path.join('/')).downloadToBuffer();
    expect(JSON.parse(stored.toString()), result.source).toMatchObject({ source: result.source });
  }

  // Byte for byte, and no secret anywhere.
  expect(JSON.parse(received('hostile')[0]?.body ?? '').result).toBe(HOSTILE);
  const digests = Object.fromEntries(
    ['large', 'spaced'].map((id) => [id, podOf(id)[0]?.status?.containerStatuses?.[0]?.state?.terminated?.message]),
  );
  expect(digests).toEqual({ large: sha256(JSON.stringify(large)), spaced: sha256(spaced) });
  expect(JSON.stringify([sink.requests, jobs, pods.items, log])).not.toContain(SECRET);

  // The command line in the operator's pod, with the operator's own rights and credentials.
  const slipway = (...args: readonly string[]) =>
    node.kubectl(['-n', NAMESPACE, 'exec', 'deployment/slipway', '--', 'node', '/app/cli/slipway.mjs', ...args]);
  expect(await slipway('tasks')).toMatch(/^no-image +acme +no-image +failed /m);
  expect(await slipway('why', 'no-image')).toContain('ImagePull');
  expect(await slipway('poison', 'list', 'acme-tasks')).toContain('Malformed');

  // The operator reports what no pod could.
  expect(JSON.parse(received('failing')[0]?.body ?? '')).toMatchObject({
    status: 'failed',
    error: { code: 'TaskFailed', message: 'told to fail' },
  });
  expect(JSON.parse(received('malformed')[0]?.body ?? '')).toMatchObject({
    status: 'failed',
    error: { code: 'Malformed' },
  });
  expect(received('foreign').map(({ body }) => body)).toEqual(['{"doubled":14}']);
  expect(JSON.parse(received('foreign-failing')[0]?.body ?? '')).toMatchObject({
    status: 'failed',
    task_id: 'foreign-failing',
  });
  expect(JSON.parse(received('no-image')[0]?.body ?? '')).toMatchObject({
    status: 'failed',
    error: { code: 'ImagePull', message: expect.stringContaining('not found') },
    started_at: null,
  });
  expect(await node.kubectl(['-n', NAMESPACE, 'get', 'events', '--field-selector', 'reason=ImagePull'])).toContain(
    "The task's pod does not start",
  );
  expect(sink.requests).toHaveLength(8 + DOCUMENTS.length + 6);

  expect([await queues.count('acme-tasks'), await queues.count('globex-tasks')]).toEqual([0, 0]);
  const reasons = [...(await queues.poison('acme-tasks')), ...(await queues.poison('globex-tasks'))].map(
    ({ reason, attempts }) => [reason, attempts.length],
  );
  expect(reasons.sort()).toEqual([
    [expect.stringMatching(/^ImagePull: .*not found/), 1],
    ['Malformed: task_type must be a string, got a number', 0],
    ['TaskFailed: the container ended with exit code 1', 1],
    ['TaskFailed: told to fail', 2],
  ]);

  const [pod = ''] = (
    await node.kubectl(['-n', NAMESPACE, 'get', 'pods', '-l', 'app.kubernetes.io/component!=task', '-o', 'name'])
  )
    .trim()
    .split('\n');
  const ask = (path: string) =>
    node.kubectl([
      'get',
      '--raw',
      `/api/v1/namespaces/${NAMESPACE}/${pod.replace('pod/', 'pods/')}:8080/proxy/${path}`,
    ]);
  expect(JSON.parse(await ask('readyz'))).toMatchObject({ ok: true });
  expect(await ask('metrics')).toMatch(/^slipway_jobs_unsettled 0$/m);

  // Completed Jobs go after their TTL, failed ones stay for a look.
  await eventually(
    async () => {
      const { items } = await node.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE);
      expect(items.map((job) => job.metadata?.annotations?.[ANNOTATION.outcome] !== undefined)).toEqual([
        true,
        true,
        true,
      ]);
    },
    (TTL_SECONDS + 60) * 1000,
    1000,
  );
});

function configOf({ registry }: RealNode): object {
  const script = (code: string) => ({ image: `${registry}/base:26`, runner: 'foreign', args: ['-e', code] });
  return {
    defaults: { attempts: 2, resources: { cpu: '50m', memory: '256Mi' } },
    ttl: { completedSeconds: TTL_SECONDS, failedSeconds: 3600 },
    polling: { minIntervalSeconds: 0.5, maxIntervalSeconds: 1 },
    limits: { maxRunning: 10 },
    taskTypes: {
      'no-image': { image: `${registry}/nothing:1`, startTimeoutSeconds: 10 },
      echo: { envFrom: [{ secretRef: { name: 'openai' } }] },
      // An image of somebody else: says what arrived by the only way out that every container has.
      digest: script(
        `require('fs').writeFileSync('/dev/termination-log', require('crypto').createHash('sha256').update(process.env.TASK_DATA).digest('hex'))`,
      ),
      // A worker as they were before: knows TASK_DATA alone, posts its own webhook, exits 0 or 1.
      'old-worker': script(`const task = JSON.parse(process.env.TASK_DATA);
          const doubled = task.payload.n * 2;
          if (Number.isNaN(doubled)) process.exit(1);
          fetch(task.webhook_url, { method: 'POST', body: JSON.stringify({ doubled }) }).then(() => process.exit(0), () => process.exit(1));`),
    },
  };
}

async function uploadDocuments(): Promise<void> {
  const container = blobs.getContainerClient('inbox');
  await container.createIfNotExists();
  for (const name of DOCUMENTS) {
    await container
      .getBlockBlobClient(name)
      .uploadData(await readFile(new URL(`../../testing/fixtures/${name}`, import.meta.url)));
  }
}

const received = (name: string) => sink.requests.filter(({ path }) => path === `/${name}`);
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64');
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
