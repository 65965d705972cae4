/** What README, docs/runner.md and docs/migration.md show, done as they show it; docs/handlers.md has a test of its own, in tests/images. */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QueueSASPermissions, QueueServiceClient } from '@azure/storage-queue';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeMessage, validateTask } from '#/contract/message.ts';
import { documentPayloadSchema } from '#/job-runner/documents/source.ts';
import { readCiPayload } from '#/operator/ci/payload.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { pageFile } from '#/testing/page-blocks.ts';
import { testQueues } from '#/testing/queues.ts';
import { startRunnerProcess } from '#/testing/runner-process.ts';
import { attempt } from '#/testing/shell.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = (name: string) => readFile(join(root, name), 'utf8');

let azurite: Azurite;
let directory: Awaited<ReturnType<typeof mkdtempDisposable>>;
beforeAll(async () => {
  azurite = await startAzurite({ blob: false });
  await testQueues(azurite.connectionString).create('acme-tasks', 'globex-tasks');
  directory = await mkdtempDisposable(join(tmpdir(), 'slipway-pages-'));
});
afterAll(async () => {
  await azurite?.[Symbol.asyncDispose]();
  await directory?.remove();
});

/** A line of a page that holds these words, without its indentation; files that it names are those of the test's own folder. */
async function command(name: string, words: string, files: readonly string[] = []): Promise<string> {
  const lines = (await page(name)).split('\n').filter((line) => line.startsWith('    ') && line.includes(words));
  expect(lines, `${name}: ${words}`).toHaveLength(1);
  return files.reduce((line, file) => line.replace(file, join(directory.path, file)), (lines[0] ?? '').trim());
}

const run = (line: string) =>
  attempt('sh', ['-ec', line], {
    cwd: root,
    env: {
      PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`,
      HOME: directory.path,
      AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    },
  });

describe('docs/runner.md', () => {
  test('its message is a task, and what it asks of a document can be asked', async () => {
    const text = await page('docs/runner.md');
    const message = /^ {4}(\{"task_id".*?\n.*"webhook_url".*\})$/m.exec(text)?.[1] ?? '';
    const decoded = decodeMessage(message, 'none');
    if (decoded.kind === 'undecodable') throw new Error(decoded.problem.message);
    const task = validateTask(decoded);
    if (task.kind !== 'valid') throw new Error('it is no task');
    const analysis = /^ {4}"analysis": (\{[\s\S]*?^ {4}\})$/m.exec(text)?.[1] ?? '';
    const payload = { ...(task.task.payload as object), analysis: JSON.parse(analysis) as unknown };
    expect(documentPayloadSchema.safeParse(payload)).toMatchObject({ success: true });
  });

  test('its way to poll polls', async () => {
    const line = await command('docs/runner.md', 'WORKER_QUEUES=');
    const variables = [...line.matchAll(/([A-Z_]+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value] as const);
    const env = Object.fromEntries(
      variables.map(([name, value]) => [name, value === '…' ? azurite.connectionString : value]),
    );
    expect(line).toMatch(/ node runner\.mjs$/);
    await using runner = startRunnerProcess(env);
    await eventually(() => expect(runner.output()).toContain('"queues":["acme-tasks","globex-tasks"]'));
    runner.signal('SIGTERM');
    expect((await runner.ended).code).toBe(0);
  });
});

test('docs/migration.md compares', async () => {
  const report = (url: string) =>
    JSON.stringify({ task_id: '1', status: 'completed', result: { pages: 2, resultUrl: url } });
  await writeFile(join(directory.path, 'old.jsonl'), `${report('https://old.example/1')}\n`);
  await writeFile(join(directory.path, 'new.jsonl'), `${report('https://new.example/1')}\n`);
  const line = await command('docs/migration.md', 'compare old.jsonl new.jsonl', ['old.jsonl', 'new.jsonl']);
  const { code, stdout } = await run(line);
  expect([code, stdout]).toEqual([0, expect.stringContaining('1 of 1 tasks ended the same.')]);
});

test('docs/migration.md compares CI tasks by their conclusions', async () => {
  const report = (image: string, conclusion: string) =>
    JSON.stringify({ task_id: '1', status: 'completed', duration_ms: image.length, result: { image, conclusion } });
  const put = async (file: string, text: string) => writeFile(join(directory.path, file), `${text}\n`);
  const lines = [
    await command('docs/migration.md', '>old-ci.jsonl', ['old.jsonl', 'old-ci.jsonl']),
    await command('docs/migration.md', '>new-ci.jsonl', ['new.jsonl', 'new-ci.jsonl']),
    await command('docs/migration.md', 'compare old-ci.jsonl new-ci.jsonl', ['old-ci.jsonl', 'new-ci.jsonl']),
  ];
  await put('old.jsonl', report('droplet', 'failure'));
  await put('new.jsonl', report('r.example/ci/app:job', 'failure'));
  expect(await run(lines.join('\n'))).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('1 of 1 tasks ended the same.'),
  });
  await put('new.jsonl', report('r.example/ci/app:job', 'success'));
  expect(await run(lines.join('\n'))).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('0 of 1 tasks ended the same.'),
  });
});

test('docs/migration.md enqueues from Ruby what is a CI task', async () => {
  const service = QueueServiceClient.fromConnectionString(azurite.connectionString);
  const url = service.getQueueClient('acme-tasks').generateSasUrl({
    permissions: QueueSASPermissions.parse('a'),
    expiresOn: new Date(Date.now() + 600_000),
  });
  await writeFile(join(directory.path, 'enqueue.rb'), pageFile('migration.md', 'enqueue.rb'));
  const { code, stderr } = await attempt('ruby', [join(directory.path, 'enqueue.rb')], { env: { QUEUE_URL: url } });
  expect([code, stderr]).toEqual([0, '']);
  const { receivedMessageItems } = await service.getQueueClient('acme-tasks').receiveMessages();
  const decoded = decodeMessage(receivedMessageItems[0]?.messageText ?? '', 'auto');
  if (decoded.kind === 'undecodable') throw new Error(decoded.problem.message);
  const task = validateTask(decoded);
  if (task.kind !== 'valid') throw new Error(JSON.stringify(task.problems));
  expect(task.task).toMatchObject({ taskId: 'app-4711', taskType: 'ci' });
  expect(readCiPayload(task.task.payload)).toMatchObject({ kind: 'valid', task: { junit: ['rspec.xml'] } });

  const refused = await attempt('ruby', [join(directory.path, 'enqueue.rb')], { env: { QUEUE_URL: `${url}x` } });
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('not enqueued: HTTP 403')]);
});

test('docs/ci-tasks.md has a message that is a CI task', async () => {
  const message = /^ {4}(\{"task_id".*?\n(?:.*\n)*?.*\]\}\})$/m.exec(await page('docs/ci-tasks.md'))?.[1] ?? '';
  const { payload } = JSON.parse(message) as { readonly payload: unknown };
  expect(readCiPayload(payload)).toMatchObject({ kind: 'valid', task: { artifacts: ['coverage'] } });
});

describe('README.md', () => {
  test('lists what failed for good, and says what putting it back would do', async () => {
    expect((await run(await command('README.md', 'slipway -- poison list'))).code).toBe(0);
    const dry = await run(await command('README.md', 'slipway -- poison redrive'));
    expect([dry.code, dry.stderr]).toEqual([0, expect.any(String)]);
  });
});
