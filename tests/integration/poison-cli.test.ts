/** `slipway poison` as people run it: a process of its own against a real queue service. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { diagnose } from '#/contract/diagnosis.ts';
import { formatEnvelope, type PoisonEnvelope } from '#/contract/poison.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { attempt } from '#/testing/shell.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

let azurite: Azurite;
let queues: TestQueues;
let queue: string;
let poison: string;
let made = 0;
beforeAll(async () => {
  azurite = await startAzurite({ blob: false });
  queues = testQueues(azurite.connectionString);
});
afterAll(() => azurite[Symbol.asyncDispose]());
beforeEach(async () => {
  queue = `acme-${++made}-tasks`;
  poison = `${queue}-poison`;
  await queues.create(queue, poison);
});

const access = (text: string) => ({ AZURE_STORAGE_CONNECTION_STRING: text, AZURE_STORAGE_SAS_URL: '' });
const slipway = (...args: readonly string[]) =>
  attempt(process.execPath, [MAIN, 'poison', ...args], { env: access(azurite.connectionString) });

/** Puts a poison copy as the operator does. */
async function bury(id: string, original: string, more: Partial<PoisonEnvelope> = {}): Promise<void> {
  const envelope: PoisonEnvelope = {
    slipway: 1,
    id,
    queue,
    reason: 'TaskFailed: no such file',
    diagnosis: diagnose('TaskFailed', 'no such file'),
    attempts: [{ finishedAt: '2026-01-01T00:00:03.500Z', exitCode: 1, reason: 'Error' }],
    insertedOn: '2026-01-01T00:00:00.000Z',
    poisonedOn: '2026-01-01T00:01:00.000Z',
    encoding: 'plain',
    original,
    ...more,
  };
  await queues.service.getQueueClient(poison).sendMessage(formatEnvelope(envelope), { messageTimeToLive: -1 });
}

const task = (id: string) => `{"task_id":"${id}", "task_type":"echo"}`;

describe('list', () => {
  test('lines up, counts copies of one id as one, shows a bare original, and leaves everything visible', async () => {
    await bury('m-1', task('t-1'));
    await bury('m-2', task('a-longer-task'));
    await bury('m-2', task('a-longer-task'));
    await queues.put(poison, task('bare'));
    for (const name of [queue, poison]) {
      const { code, stdout, stderr } = await slipway('list', name);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const lines = stdout.trimEnd().split('\n');
      expect(lines).toHaveLength(4);
      expect(lines[0]).toMatch(/^QUEUE +ID +TASK +POISONED +ATTEMPTS +COPIES +REASON$/);
      expect(new Set(lines.map((line) => line.search(/REASON|TaskFailed|not told/))).size).toBe(1);
      expect(lines[2]).toMatch(/ m-2 +a-longer-task +2026-01-01T00:01:00Z +1 +2 +TaskFailed: no such file$/);
      expect(lines[3]).toMatch(/ bare .* - +1 +not told/);
    }
    expect(await queues.texts(poison)).toHaveLength(4);
  });

  test('without a queue: all poison queues, as JSON', async () => {
    await bury('m-all', task('t-1'));
    await queues.put(queue, task('no poison'));
    const { code, stdout } = await slipway('list', '--json');
    expect(code).toBe(0);
    const rows = JSON.parse(stdout) as { queue: string; id: string }[];
    expect(rows).toContainEqual(
      expect.objectContaining({ queue: poison, id: 'm-all', taskId: 't-1', attempts: 1, copies: 1, bare: false }),
    );
    expect(rows.every((row) => row.queue.endsWith('-poison'))).toBe(true);
  });

  test('an empty queue, one that was never poisoned, one that is missing', async () => {
    expect(await slipway('list', queue)).toMatchObject({ code: 0, stdout: `Nothing is poisoned in ${queue}.\n` });
    await queues.create('fresh-tasks');
    expect(await slipway('list', 'fresh-tasks')).toMatchObject({ code: 0 });
    expect(await slipway('list', 'nobody-tasks', '--json')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'slipway: the account has neither nobody-tasks nor nobody-tasks-poison. Correct the name\n',
    });
  });
});

describe('show', () => {
  test('tells reason, hint, attempts and original', async () => {
    const original = Buffer.from(task('t-1')).toString('base64');
    await bury('m-1', original, { encoding: 'base64' });
    const { code, stdout } = await slipway('show', queue, 'm-1');
    expect(code).toBe(0);
    for (const part of ['TaskFailed: no such file', 'kubectl logs', '(JSON, from base64)', '  "task_id": "t-1",'])
      expect(stdout).toContain(part);
    expect(stdout).toMatch(/^1 +2026-01-01T00:00:03\.500Z +1 +Error$/m);
    const json = await slipway('show', queue, 'm-1', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ id: 'm-1', taskQueue: queue, original, encoding: 'base64' });
    expect(await slipway('show', queue, 'm-1', '--raw')).toEqual({ code: 0, stdout: original, stderr: '' });
  });

  test('an id that is not there', async () => {
    expect(await slipway('show', queue, 'm-9')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${poison} has no task m-9`),
    });
  });
});

describe('redrive', () => {
  test('one task, byte for byte, with every copy deleted; the others stay', async () => {
    const original = Buffer.from('{"task_id":"t-1",\n  "grüße": "漢字"}').toString('base64');
    await bury('m-1', original, { encoding: 'base64' });
    await bury('m-1', original, { encoding: 'base64' });
    await bury('m-2', task('t-2'));
    const dry = await slipway('redrive', queue, 'm-1', '--dry-run');
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining('1 would be redriven, 0 failed.') });
    expect(await queues.count(queue)).toBe(0);
    expect(await slipway('redrive', queue, 'm-1')).toEqual({
      code: 0,
      stderr: '',
      stdout: `redriven    m-1 (task t-1) → ${queue}, 2 copies deleted\n1 redriven, 0 failed.\n`,
    });
    const [message] = (await queues.service.getQueueClient(queue).peekMessages()).peekedMessageItems;
    expect(message?.messageText).toBe(original);
    const days = ((message?.expiresOn.getTime() ?? 0) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6.9);
    expect(days).toBeLessThanOrEqual(7);
    expect((await queues.poison(queue)).map(({ id }) => id)).toEqual(['m-2']);
  });

  test('all of them, a bare original and a text that is no JSON as they are', async () => {
    const texts = [task('t-1'), '{"broken', ' <a> & "b" ', task('bare')];
    for (const [at, text] of texts.slice(0, 3).entries()) await bury(`m-${at}`, text);
    await queues.put(poison, texts[3]);
    expect(await slipway('redrive', poison, '--all')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/\n4 redriven, 0 failed\.\n$/),
    });
    expect((await queues.texts(queue)).toSorted()).toEqual(texts.toSorted());
    expect(await queues.count(poison)).toBe(0);
    expect(await slipway('redrive', queue, '--all')).toMatchObject({ code: 0, stdout: '0 redriven, 0 failed.\n' });
  });

  test('what cannot be redriven is told and stays: unknown id, another queue’s task, a queue that is missing', async () => {
    await bury('m-1', task('t-1'), { queue: 'globex-tasks' });
    await bury('m-2', task('t-2'));
    const some = await slipway('redrive', queue, 'm-1', 'm-2', 'm-9');
    expect(some).toMatchObject({ code: 1, stdout: expect.stringContaining('1 redriven, 2 failed.') });
    expect(some.stderr).toContain(
      `m-1 (task t-1): its envelope says that it came from globex-tasks, not from ${queue}`,
    );
    expect(some.stderr).toContain(`m-9: ${poison} has no task m-9`);
    expect((await queues.poison(queue)).map(({ id }) => id)).toEqual(['m-1']);
    await queues.service.deleteQueue(queue);
    expect(await slipway('redrive', queue, '--all')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`there is no queue ${queue}`),
    });
    expect(await queues.count(poison)).toBe(1);
  });

  test('killed between put and delete the task is in both queues, and redriving it again puts it twice: never lost', async () => {
    await bury('m-1', task('t-1'));
    await using proxy = await startProxy(azurite.queueUrl ?? '');
    const child = spawn(process.execPath, [MAIN, 'poison', 'redrive', queue, 'm-1'], {
      env: { ...process.env, ...access(azurite.connectionString.replace(azurite.queueUrl ?? '', proxy.url)) },
      stdio: 'ignore',
    });
    const exited = once(child, 'exit');
    await proxy.deleting;
    child.kill('SIGKILL');
    expect(await exited).toEqual([null, 'SIGKILL']);
    expect([await queues.count(queue), await queues.count(poison)]).toEqual([1, 1]);

    // The dead process holds the copy for a minute at most. Its lease is taken over here rather than waited for.
    const [hidden] = proxy.receipts;
    await queues.service.getQueueClient(poison).updateMessage(hidden!.id, hidden!.popReceipt, undefined, 0);
    await eventually(async () => expect(await slipway('redrive', queue, 'm-1')).toMatchObject({ code: 0 }));
    expect(await queues.texts(queue)).toEqual([task('t-1'), task('t-1')]);
    expect(await queues.count(poison)).toBe(0);
  });
});

test.each([
  ['neither setting', { AZURE_STORAGE_CONNECTION_STRING: '', AZURE_STORAGE_SAS_URL: '' }, 'are both not set'],
  ['no connection string', access('hunter2'), 'AZURE_STORAGE_CONNECTION_STRING (value not shown)'],
])('a wrong configuration is told by exit code 78: %s', async (_, env, sentence) => {
  const { code, stdout, stderr } = await attempt(process.execPath, [MAIN, 'poison', 'list'], { env });
  expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
  expect(stderr).toContain(sentence);
  expect(stderr).not.toContain('hunter2');
});

test('wrong usage is told by exit code 2', async () => {
  expect(await slipway('redrive', queue)).toMatchObject({ code: 2, stderr: expect.stringContaining('--all') });
});

/** Stands before the queue service, passes everything on but deletions, which it leaves without an answer. */
async function startProxy(target: string) {
  const { promise: deleting, resolve } = Promise.withResolvers<void>();
  const { hostname, port } = new URL(target);
  const receipts: { id: string; popReceipt: string }[] = [];
  const server = createServer((incoming, outgoing) => {
    if (incoming.method === 'DELETE') return resolve();
    const { method, url, headers } = incoming;
    const passed = request({ hostname, port, method, path: url, headers }, (answer) => {
      // A renewal names the message in its path, and its new receipt in a header.
      const id = /\/messages\/([^?]+)/.exec(url ?? '')?.[1];
      const receipt = answer.headers['x-ms-popreceipt'];
      if (method === 'PUT' && id !== undefined && typeof receipt === 'string')
        receipts.unshift({ id, popReceipt: receipt });
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: target.replace(`:${port}`, `:${(server.address() as AddressInfo).port}`),
    deleting,
    receipts,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
