/** The runner as a process, as a container starts it: environment in; exit code, termination message, webhook, blob and log out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BlobSASPermissions, BlobServiceClient } from '@azure/storage-blob';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXIT, parseReport, type RunnerReport } from '../../contract/runner-abi.ts';
import { type Azurite, startAzurite } from '../../testing/azurite.ts';
import { startWebhookSink, type WebhookSink } from '../../testing/webhook-sink.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'job-runner/main.ts');

let azurite: Azurite;
let blobs: BlobServiceClient;
let sink: WebhookSink;
let folder: string;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-runner-'));
  azurite = await startAzurite({ queue: false });
  blobs = BlobServiceClient.fromConnectionString(azurite.connectionString);
  await blobs.getContainerClient('docs').create();
  sink = await startWebhookSink();
});
afterAll(async () => {
  await sink[Symbol.asyncDispose]();
  await azurite[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly report: RunnerReport | undefined;
  readonly durationMs: number;
}

interface Task {
  readonly task_id?: string;
  readonly task_type?: string;
  readonly payload?: unknown;
  readonly webhook_url?: string;
}

function taskData(task: Task): string {
  return JSON.stringify({ task_id: 't1', task_type: 'echo', payload: { hello: 'world' }, ...task });
}

/** Starts the runner with nothing of this process's environment but what is given. */
function start(env: Record<string, string>, script = MAIN): { process: ChildProcess; ended: Promise<Run> } {
  const log = join(folder, `termination-${++runs}`);
  const from = performance.now();
  const child = spawn(process.execPath, [script], {
    env: { SLIPWAY_TERMINATION_LOG: log, CLIENT_ID: 'acme', SLIPWAY_WEBHOOK_ALLOW: '127.0.0.1', ...env },
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const ended = new Promise<Run>((done) => {
    child.on('close', async (code) => {
      const report = parseReport(await readFile(log, 'utf8').catch(() => ''));
      done({ code, output, report, durationMs: performance.now() - from });
    });
  });
  return { process: child, ended };
}

const run = (task: Task | string, env: Record<string, string> = {}): Promise<Run> =>
  start({ TASK_DATA: typeof task === 'string' ? task : taskData(task), ...env }).ended;
const received = (path: string) => sink.requests.filter((request) => request.path === path);
const hook = (path: string) => ({ webhook_url: `${sink.url}${path}` });

async function untilLogged(child: ChildProcess, text: string): Promise<void> {
  let output = '';
  for await (const chunk of child.stdout ?? []) {
    output += chunk;
    if (output.includes(text)) return;
  }
  throw new Error(`the runner ended without "${text}":\n${output}`);
}

describe('exit codes and reports', () => {
  test('0: done; the webhook is signed and sent by the runner itself', async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const { code, report, output } = await run(hook('/done'), {
      SLIPWAY_WEBHOOK_ID: 'abc',
      SLIPWAY_WEBHOOK_SECRET: secret,
    });
    expect(code, output).toBe(EXIT.done);
    expect(report).toMatchObject({ status: 'completed', webhook: 'delivered', result: { hello: 'world' } });
    const [webhook] = received('/done');
    const headers = Object.fromEntries(
      Object.entries(webhook?.headers ?? {}).map(([name, value]) => [name, String(value)]),
    );
    expect(headers['webhook-id']).toBe('abc_completed');
    expect(new Webhook(secret).verify(webhook?.body ?? '', headers)).toMatchObject({
      task_id: 't1',
      task_type: 'echo',
      client_id: 'acme',
      status: 'completed',
      result: { hello: 'world' },
    });
    expect(output).not.toContain(secret);
    for (const line of output.trim().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ task: 't1', client: 'acme', type: 'echo' });
  });

  test('0: without a webhook_url nothing is owed', async () => {
    expect(await run({})).toMatchObject({ code: EXIT.done, report: { webhook: 'none' } });
  });

  test('1: a failed attempt is reported by the runner only when it was the only one', async () => {
    const failing = { payload: { fail: 'out of ink' } };
    expect(await run({ ...failing, ...hook('/only') })).toMatchObject({
      code: EXIT.failed,
      report: { status: 'failed', error: { code: 'TaskFailed', message: 'out of ink' }, webhook: 'delivered' },
    });
    expect(JSON.parse(received('/only')[0]?.body ?? '')).toMatchObject({
      status: 'failed',
      error: { message: 'out of ink' },
    });
    expect(await run({ ...failing, ...hook('/one-of-three') }, { TASK_MAX_ATTEMPTS: '3' })).toMatchObject({
      code: EXIT.failed,
      report: { status: 'failed', webhook: 'none' },
    });
    expect(received('/one-of-three')).toEqual([]);
  });

  test('65: bad data is reported whatever the attempts', async () => {
    const env = { TASK_MAX_ATTEMPTS: '3' };
    expect(await run({ payload: { sleepMs: -1 }, ...hook('/payload') }, env)).toMatchObject({
      code: EXIT.badData,
      report: {
        error: { code: 'Malformed', message: expect.stringContaining('payload.sleepMs') },
        webhook: 'delivered',
      },
    });
    expect(await run({ task_type: 'unheard-of', ...hook('/type') }, env)).toMatchObject({
      code: EXIT.badData,
      report: {
        error: { code: 'UnknownTaskType', message: expect.stringContaining('it knows echo, document-processing') },
        webhook: 'delivered',
      },
    });
    expect(
      await run(`{"task_id":7,"webhook_url":"${sink.url}/malformed"}`, { ...env, TASK_ID: 'from-env' }),
    ).toMatchObject({
      code: EXIT.badData,
      report: { error: { code: 'Malformed' }, webhook: 'delivered' },
    });
    expect(JSON.parse(received('/malformed')[0]?.body ?? '')).toMatchObject({ task_id: 'from-env', status: 'failed' });
    expect(await run('not json', env)).toMatchObject({ code: EXIT.badData, report: { webhook: 'none' } });
  });

  test('75: storage that is out of reach', async () => {
    const connection = azurite.connectionString.replace(
      /BlobEndpoint=[^;]*/,
      'BlobEndpoint=http://127.0.0.1:1/devstoreaccount1',
    );
    expect(
      await run(document({ container: 'docs', path: 'a.txt' }), { AZURE_STORAGE_CONNECTION_STRING: connection }),
    ).toMatchObject({
      code: EXIT.temporary,
      report: { status: 'failed', error: { message: expect.stringContaining('docs/a.txt cannot be read now') } },
    });
  });

  test('78: a configuration that cannot be used', async () => {
    const nothing = await start({}).ended;
    expect(nothing).toMatchObject({ code: EXIT.badConfig, report: { status: 'failed', webhook: 'owed' } });
    expect(nothing.report?.error?.message).toContain('TASK_DATA is not set, so there is no task to do');
    const wrong = await run({}, { WORKER_TASK_TIMEOUT: 'soon', LOG_LEVEL: 'loud' });
    expect(wrong.code).toBe(EXIT.badConfig);
    expect(wrong.output).toMatch(/WORKER_TASK_TIMEOUT.*LOG_LEVEL/);
    expect(await run(document({ container: 'docs', path: 'a.txt' }))).toMatchObject({
      code: EXIT.badConfig,
      report: { error: { message: expect.stringContaining('AZURE_STORAGE_CONNECTION_STRING is not set') } },
    });
    const queueOnly = azurite.connectionString.replace(
      /BlobEndpoint=[^;]*/,
      'QueueEndpoint=http://127.0.0.1:1/devstoreaccount1',
    );
    expect(
      await run(document({ container: 'docs', path: 'a.txt' }), { AZURE_STORAGE_CONNECTION_STRING: queueOnly }),
    ).toMatchObject({
      code: EXIT.badConfig,
      report: { error: { message: expect.stringContaining('does not lead to Blob Storage') } },
    });
  });

  test('a termination log that cannot be written does not fail the task', async () => {
    const { code, output } = await run({}, { SLIPWAY_TERMINATION_LOG: '/nowhere/log' });
    expect(code).toBe(EXIT.done);
    expect(output).toContain('the termination message cannot be written');
  });
});

describe.concurrent('time and signals', () => {
  test('a task that runs too long is told, and reported as timed out', async () => {
    const result = await run({ payload: { sleepMs: 60_000 }, ...hook('/late') }, { WORKER_TASK_TIMEOUT: '1' });
    expect(result).toMatchObject({
      code: EXIT.failed,
      report: { error: { code: 'TaskTimedOut' }, webhook: 'delivered' },
    });
    // Not for as long as the handler would have slept.
    expect(result.durationMs).toBeLessThan(30_000);
  });

  test('SIGTERM before the end: 143, nothing is reported', async () => {
    const { process: child, ended } = start({
      TASK_DATA: taskData({ payload: { sleepMs: 60_000 }, ...hook('/stopped') }),
    });
    await untilLogged(child, '"msg":"echo"');
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: EXIT.terminated, report: undefined });
    expect(received('/stopped')).toEqual([]);
  });

  test('SIGTERM while a webhook hangs: the exit code is still that of the task, and the webhook stays owed', async () => {
    sink.answer('/hanging', 'hang');
    const { process: child, ended } = start({ TASK_DATA: taskData(hook('/hanging')) });
    await sink.waitFor('/hanging');
    child.kill('SIGTERM');
    const result = await ended;
    expect(result).toMatchObject({ code: EXIT.done, report: { status: 'completed', webhook: 'owed' } });
    // Without the signal it would have tried again after 15 s.
    expect(received('/hanging')).toHaveLength(1);
  });

  test('SIGKILL while a webhook hangs: what is owed has been said', async () => {
    sink.answer('/killed', 'hang');
    const { process: child, ended } = start({ TASK_DATA: taskData(hook('/killed')) });
    await sink.waitFor('/killed');
    child.kill('SIGKILL');
    expect((await ended).report).toMatchObject({ status: 'completed', webhook: 'owed', result: { hello: 'world' } });
  });
});

describe.concurrent('a handler that misbehaves', () => {
  test.each([
    ['waits for ever', 'await new Promise(() => {})'],
    ['keeps the process busy with timers', 'setInterval(() => {}, 10); await new Promise(() => {})'],
  ])('%s: timeout and SIGTERM end it all the same', async (_what, body) => {
    const script = await stubborn(body);
    const late = await start({ TASK_DATA: taskData(hook('/stubborn')), WORKER_TASK_TIMEOUT: '1' }, script).ended;
    expect(late, late.output).toMatchObject({
      code: EXIT.failed,
      report: { error: { code: 'TaskTimedOut' }, webhook: 'delivered' },
    });

    const { process: child, ended } = start({ TASK_DATA: taskData({}) }, script);
    await untilLogged(child, 'task started');
    await delay(100);
    child.kill('SIGTERM');
    const stopped = await ended;
    expect(stopped).toMatchObject({ code: EXIT.terminated, report: undefined });
  });

  test('lets an error escape: a failed attempt, reported, and the error is not printed with its fields', async () => {
    const script = await stubborn(
      `setTimeout(() => { throw Object.assign(new Error('escaped'), { request: { url: 'https://x/?sig=SECRET' } }); }, 10); await new Promise(() => {})`,
    );
    const result = await start({ TASK_DATA: taskData(hook('/escaped')) }, script).ended;
    expect(result).toMatchObject({
      code: EXIT.failed,
      report: { error: { message: 'escaped' }, webhook: 'delivered' },
    });
    expect(result.output).not.toContain('SECRET');
  });

  /** A runner whose only handler has this body. */
  async function stubborn(body: string): Promise<string> {
    const path = join(folder, `stubborn-${++runs}.ts`);
    await writeFile(
      path,
      `import { runProcess } from '${ROOT}job-runner/run-process.ts';
       const handler = { type: 'echo', run: async () => { ${body} } };
       process.exit(await runProcess({ types: ['echo'], load: async () => handler }));`,
    );
    return path;
  }
});

describe.concurrent('a webhook that is not taken', () => {
  test('a redirect is not followed; the task is done all the same', async () => {
    sink.answer('/moved', { status: 307, headers: { location: `${sink.url}/new` } });
    const { code, report, output } = await run(hook('/moved'));
    expect(code).toBe(EXIT.done);
    expect(report).toMatchObject({ status: 'completed', webhook: 'owed' });
    expect(received('/moved')).toHaveLength(3);
    expect(received('/new')).toEqual([]);
    expect(output).toContain('redirects are not followed');
  });

  test('a private address that nobody allowed is not called, and the log says what would allow it', async () => {
    const { code, report, output } = await run(hook('/private'), { SLIPWAY_WEBHOOK_ALLOW: 'example.com' });
    expect(code).toBe(EXIT.done);
    expect(report?.webhook).toBe('owed');
    expect(output).toContain('webhook.allow');
    expect(received('/private')).toEqual([]);
  });
});

describe('results that do not fit into the termination message', () => {
  const payload = { text: 'ü"\n'.repeat(20_000) };

  test('are kept in Blob for the operator', async () => {
    const { code, report } = await run(
      { payload, task_id: 'large/1', ...hook('/large') },
      { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString },
    );
    expect(code).toBe(EXIT.done);
    expect(report).toMatchObject({ status: 'completed', truncated: true, webhook: 'delivered' });
    expect(report?.resultUrl).toMatch(/\/results\/acme\/large-1-[a-z0-9]+\.report\.json$/);
    expect(await readBlob(report?.resultUrl)).toEqual(payload);
    expect(JSON.parse(received('/large')[0]?.body ?? '').result).toEqual(payload);
  });

  test('are left out without a storage account', async () => {
    const { code, report } = await run({ payload, ...hook('/large') });
    expect(code).toBe(EXIT.done);
    expect(report).toEqual({ v: 1, status: 'completed', webhook: 'delivered', truncated: true });
  });
});

describe('document-processing', () => {
  const storage = () => ({ AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString });

  test.each([
    ['report.pdf', 'pdf', 2, '312 crates of oranges'],
    ['crew.docx', 'docx', null, 'Jón Þórsson, cook'],
    ['notice.html', 'html', null, 'Brønnøy'],
    ['handbook.md', 'markdown', null, 'Check them again.'],
    ['log.txt', 'text', null, 'Jón cooked for 12 €.'],
  ])('%s', async (name, type, pages, phrase) => {
    await store(name);
    const { code, report, output } = await run(
      document({ container: 'docs', path: `in/${name}` }, `doc-${name}`),
      storage(),
    );
    expect(code, output).toBe(EXIT.done);
    const { result } = report as { result: { characters: number; resultUrl: string } };
    expect(result).toMatchObject({
      source: `docs/in/${name}`,
      type,
      pages,
      stages: [
        { stage: 'extract', status: 'done' },
        { stage: 'analyse', status: 'skipped', reason: 'OPENAI_API_KEY is not set' },
        { stage: 'store', status: 'skipped', reason: 'SUPABASE_URL and SUPABASE_KEY are not set' },
      ],
    });
    expect(result.resultUrl).toBe(`${azurite.blobUrl}/results/acme/doc-${name}.json`);
    const stored = await readBlob(result.resultUrl);
    expect(stored).toMatchObject({ v: 1, taskId: `doc-${name}`, clientId: 'acme', type });
    const text = (stored as { parts: { text: string }[] }).parts.map((part) => part.text).join('\n');
    expect(text).toContain(phrase);
  });

  test('again: the same place is written again', async () => {
    await store('log.txt');
    const task = document({ container: 'docs', path: 'in/log.txt' }, 'twice');
    for (let i = 0; i < 2; i++) expect((await run(task, storage())).code).toBe(EXIT.done);
  });

  test('by a URL with a SAS, to a place of the payload; the SAS shows nowhere', async () => {
    await store('report.pdf');
    const url = await sasUrl('in/report.pdf', 'r');
    const output = { container: 'elsewhere', path: 'out/report.json' };
    const result = await run({ ...document({ url, output }, 'by-url'), ...hook('/by-url') }, storage());
    expect(result.code, result.output).toBe(EXIT.done);
    expect(result.report).toMatchObject({ result: { resultUrl: `${azurite.blobUrl}/elsewhere/out/report.json` } });
    const stored = JSON.stringify(await readBlob(`${azurite.blobUrl}/elsewhere/out/report.json`));
    const signature = new URL(url).searchParams.get('sig') ?? '';
    for (const text of [result.output, stored, JSON.stringify(result.report), received('/by-url')[0]?.body]) {
      expect(text).not.toContain('sig=');
      expect(text).not.toContain(signature);
    }
  });

  test.each([
    ['encrypted.pdf', 'docs/in/encrypted.pdf is encrypted: a password is needed to open it'],
    ['damaged.pdf', 'docs/in/damaged.pdf is damaged: it cannot be read as a PDF (Invalid PDF structure.)'],
    ['damaged.docx', 'docs/in/damaged.docx is damaged: a DOCX or ZIP file whose directory cannot be read'],
    ['latin1.txt', 'docs/in/latin1.txt is no utf-8 text: it has bytes that mean nothing in it; save it as UTF-8'],
    ['make.py', expect.stringMatching(/^docs\/in\/make\.py is of an unknown type \(extension "py", /)],
  ])('65: %s', async (name, message) => {
    await store(name);
    expect(await run(document({ container: 'docs', path: `in/${name}` }), storage())).toMatchObject({
      code: EXIT.badData,
      report: { status: 'failed', error: { code: 'TaskFailed', message } },
    });
  });

  test('65: what is missing, too large, or not to be read', async () => {
    const refusal = async (payload: object, env: object = {}) => {
      const { code, report } = await run(document(payload), { ...storage(), ...env });
      expect(code).toBe(EXIT.badData);
      return report?.error?.message;
    };
    expect(await refusal({ container: 'docs', path: 'missing.pdf' })).toBe(
      'docs/missing.pdf does not exist (BlobNotFound)',
    );
    expect(await refusal({ container: 'nowhere', path: 'a.pdf' })).toBe(
      'nowhere/a.pdf does not exist (ContainerNotFound)',
    );
    await blobs
      .getContainerClient('docs')
      .uploadBlockBlob('big.txt', Buffer.alloc(2 * 1024 * 1024, 'a'), 2 * 1024 * 1024);
    expect(await refusal({ container: 'docs', path: 'big.txt' }, { DOCUMENT_MAX_MIB: '1' })).toBe(
      'docs/big.txt is 2.0 MiB; at most 1.0 MiB are accepted',
    );
    await store('log.txt');
    expect(await refusal({ url: await sasUrl('in/log.txt', 'w') })).toMatch(
      /in\/log\.txt cannot be read with the SAS of its URL, .* \(AuthorizationPermissionMismatch\)$/,
    );
    expect(await refusal({ url: 'https://example.com/a.pdf?sig=x' })).toMatch(/no https host of Azure Blob Storage/);
    expect(await refusal({ container: 'docs', path: '../docs/a' })).toMatch(/payload\.path: must not have/);
  });

  async function store(name: string): Promise<void> {
    const bytes = await readFile(new URL(`../../testing/fixtures/${name}`, import.meta.url));
    await blobs.getContainerClient('docs').uploadBlockBlob(`in/${name}`, bytes, bytes.length);
  }

  function sasUrl(path: string, permissions: string): Promise<string> {
    const blob = blobs.getContainerClient('docs').getBlobClient(path);
    const expiresOn = new Date(Date.now() + 3_600_000);
    return blob.generateSasUrl({ permissions: BlobSASPermissions.parse(permissions), expiresOn });
  }
});

function document(payload: object, taskId = 't1'): Task {
  return { task_id: taskId, task_type: 'document-processing', payload };
}

async function readBlob(url: string | undefined): Promise<unknown> {
  const [container = '', ...path] = (url ?? '').slice(`${azurite.blobUrl}/`.length).split('/');
  const bytes = await blobs.getContainerClient(container).getBlobClient(path.join('/')).downloadToBuffer();
  return JSON.parse(bytes.toString('utf8'));
}
