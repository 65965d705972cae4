/** The whole product on a real node: our images from our Dockerfiles, `helm install` of our chart, real pods, real documents. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { eventually } from '#/testing/eventually.ts';
import { pythonArchive } from '#/testing/images.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';
import { type OpenAiServer, startOpenAi } from '#/testing/openai.ts';
import { pageFile } from '#/testing/page-blocks.ts';
import { type Postgres, startPostgres } from '#/testing/postgres.ts';
import { startPostgrest } from '#/testing/postgrest.ts';
import type { TestQueues } from '#/testing/queues.ts';
import type { WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'slipway';
const SECRET = 'sk-this-must-stay-in-its-secret';
const SERVICE_ROLE = 'service-role-hidden';
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
/** Of the third client: a model and a database, both on this machine. */
let openai: OpenAiServer;
let postgres: Postgres;
const services = new AsyncDisposableStack();

beforeAll(async () => {
  installation = await installOnNode({
    queues: ['acme-tasks', 'globex-tasks', 'initech-tasks'],
    secrets: { openai: { OPENAI_API_KEY: SECRET }, supabase: { SUPABASE_KEY: SERVICE_ROLE } },
    // As docs/handlers.md makes it.
    derived: [
      {
        name: 'greet',
        from: 'runner',
        dockerfile: pageFile('handlers.md', 'Dockerfile'),
        files: { 'greet.ts': pageFile('handlers.md', 'greet.ts') },
      },
    ],
    config: configOf,
  });
  ({ node, queues, sink } = installation);
  blobs = BlobServiceClient.fromConnectionString(installation.azurite.connectionString);
}, 900_000);

afterAll(async () => {
  try {
    await installation?.[Symbol.asyncDispose]();
  } finally {
    await services.disposeAsync();
  }
}, 60_000);

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

test('a document from Blob to its rows and its webhook, though its pod is drained in the middle; a handler of one’s own; a worker in Python', {
  timeout: 240_000,
}, async () => {
  const kubectl = (...args: string[]) => node.kubectl(['-n', NAMESPACE, ...args]);
  openai.use((_, at) => (at === 0 ? 'hang' : { value: { summary: 'Two ships.', entities: [], key_points: [] } }));
  await queues.put(
    'initech-tasks',
    {
      task_id: 'drained',
      task_type: 'document-processing',
      payload: { container: 'inbox', path: 'report.pdf' },
      webhook_url: `${sink.url}/drained`,
    },
    { task_id: 'hello', task_type: 'greet', payload: { name: 'Ines' }, webhook_url: `${sink.url}/greet` },
    { task_id: 'nobody', task_type: 'greet', payload: { name: 7 }, webhook_url: `${sink.url}/greet` },
    { task_id: 'py-1', task_type: 'double', payload: { n: 21 }, webhook_url: `${sink.url}/python` },
    { task_id: 'py-2', task_type: 'double', payload: { n: null }, webhook_url: `${sink.url}/python` },
  );
  // While the model is being asked.
  await eventually(() => expect(openai.requests).toHaveLength(1), 90_000);
  const pod = (
    await kubectl(
      'get',
      'pods',
      '-l',
      `${LABEL.taskType}=document-processing,${LABEL.client}=initech`,
      '-o',
      'jsonpath={.items[0].metadata.name}',
    )
  ).trim();
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace: NAMESPACE } };
  await node.kubectl(['create', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/${pod}/eviction`, '-f', '-'], {
    input: JSON.stringify(eviction),
  });
  const [done] = await sink.waitFor('/drained', 1, 120_000);
  expect(JSON.parse(done?.body ?? '')).toMatchObject({
    task_id: 'drained',
    client_id: 'initech',
    status: 'completed',
    result: {
      pages: 2,
      analysis: { result: { summary: 'Two ships.' } },
      stages: [{}, { status: 'done' }, { status: 'done' }],
    },
  });
  const rows = await postgres.pool.query('select client_id, pages, analysis from documents');
  expect(rows.rows).toMatchObject([{ client_id: 'initech', pages: 2, analysis: { summary: 'Two ships.' } }]);
  expect((await postgres.pool.query('select page from document_pages order by page')).rows).toHaveLength(2);
  // The drain was no failure, and used up no attempt.
  expect(sink.requests.filter(({ path }) => path === '/drained')).toHaveLength(1);
  await eventually(async () => {
    const labels = `${LABEL.client}=initech,${LABEL.taskType}=document-processing`;
    const { items } = await node.get<{ items: RawJob[] }>('jobs', '-n', NAMESPACE, '-l', labels);
    expect(items.map(({ status }) => status?.succeeded)).toEqual([1]);
  });

  await eventually(() => {
    const greeted = sink.requests.filter(({ path }) => path === '/greet').map(({ body }) => JSON.parse(body) as object);
    expect(greeted).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ task_id: 'hello', status: 'completed', result: { greeting: 'Hello, Ines!' } }),
        expect.objectContaining({
          task_id: 'nobody',
          status: 'failed',
          error: expect.objectContaining({ code: 'Malformed' }),
        }),
      ]),
    );
  }, 90_000);
  const python = () =>
    sink.requests.filter(({ path }) => path === '/python').map(({ body }) => JSON.parse(body) as object);
  await eventually(() => expect(python()).toHaveLength(2), 90_000);
  expect(python()).toEqual(
    expect.arrayContaining([
      { task_id: 'py-1', doubled: 42 },
      expect.objectContaining({ task_id: 'py-2', status: 'failed' }),
    ]),
  );
});

async function configOf(ofNode: RealNode, [greet = '']: readonly string[]): Promise<object> {
  const host = ofNode.hostAddress;
  const { registry } = ofNode;
  openai = services.use(await startOpenAi(host));
  postgres = services.use(await startPostgres(host));
  await postgres.pool.query(
    await readFile(new URL('../../job-runner/supabase/documents.sql', import.meta.url), 'utf8'),
  );
  const postgrest = services.use(await startPostgrest(postgres.pool, SERVICE_ROLE, host));
  const python = await ofNode.push(await pythonArchive(), 'python:3');
  const script = (code: string) => ({ image: `${registry}/base:26`, runner: 'foreign', args: ['-e', code] });
  return {
    defaults: { attempts: 2, resources: { cpu: '50m', memory: '256Mi' } },
    ttl: { completedSeconds: TTL_SECONDS, failedSeconds: 3600 },
    polling: { minIntervalSeconds: 0.5, maxIntervalSeconds: 1 },
    limits: { maxRunning: 10 },
    clients: {
      initech: {
        env: [
          { name: 'OPENAI_BASE_URL', value: openai.url },
          { name: 'SUPABASE_URL', value: postgrest.url },
        ],
        envFrom: [{ secretRef: { name: 'openai' } }, { secretRef: { name: 'supabase' } }],
      },
    },
    taskTypes: {
      greet: { ...parse(pageFile('handlers.md', 'values.yaml')).config.taskTypes.greet, image: greet },
      double: { image: python, args: ['-c', pageFile('handlers.md', 'worker.py')] },
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
