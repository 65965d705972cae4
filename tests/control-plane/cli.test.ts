/** `slipway tasks|why|cancel|drain` as people run them, under the Role of docs/cli.md: processes of their own against a real API server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import { endPod, stages } from '#/testing/kwok.ts';
import { type OperatorProcess, startOperator } from '#/testing/operator-process.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { attempt, type Finished } from '#/testing/shell.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const GUIDE = fileURLToPath(new URL('../../docs/cli.md', import.meta.url));
const NAMESPACE = 'cli';
const QUEUE = 'acme-tasks';
/** A pod that is deleted is given so long; a task that is cancelled ends with it. */
const WAIT_MS = 40_000;
/** Each look is a process. */
const POLL_MS = 1000;

let resources: AsyncDisposableStack;
let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let cluster: ControlPlane;
let operatorRights: string;
let ownRights: string;
let operator: OperatorProcess;

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

/** What `--json` tells of a task, as far as it is looked at here. */
interface TaskLine {
  readonly task: string;
  readonly state: string;
  readonly job: string;
  readonly why: string | null;
}

describe.skipIf(theirs)(
  "the command line (its pods end as the test says, so not on a cluster of one's own)",
  { concurrent: false },
  () => {
    beforeAll(async () => {
      await using starting = new AsyncDisposableStack();
      azurite = starting.use(await startAzurite({ blob: false }));
      sink = starting.use(await startWebhookSink());
      cluster = starting.use(await startControlPlane({ stages: stages({ fail: { as: 'failed' } }) }));
      const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-')));
      operatorRights = await installRights(cluster, NAMESPACE, directory.path);
      ownRights = await rightsOfTheGuide(operatorRights, directory.path);
      queues = testQueues(azurite.connectionString);
      await queues.create(QUEUE, 'globex-tasks');
      operator = await start();
      starting.defer(() => operator[Symbol.asyncDispose]());
      resources = starting.move();
    });
    afterAll(() => resources.disposeAsync());

    test('tasks: each with where it stands, and why', async () => {
      await put(QUEUE, 'fails', 'fail');
      await put(QUEUE, 'runs', 'echo');
      await put(QUEUE, 'alone', 'one-by-one');
      await until('alone', 'running');
      await put(QUEUE, 'held', 'one-by-one');
      await put('globex-tasks', 'others', 'echo');
      const states = { fails: 'failed', runs: 'running', alone: 'running', held: 'waiting', others: 'running' };
      await eventually(
        async () => expect(Object.fromEntries((await tasks()).map(({ task, state }) => [task, state]))).toEqual(states),
        WAIT_MS,
        POLL_MS,
      );

      const { code, stdout, stderr } = await slipway('tasks');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const [head = '', ...lines] = stdout.trimEnd().split('\n');
      expect(head).toMatch(/^TASK +CLIENT +TYPE +STATE +ATTEMPT +AGE +DURATION +JOB +WHY$/);
      expect(lines).toHaveLength(5);
      for (const line of lines) {
        expect(line.slice(head.indexOf('CLIENT'))).toMatch(/^(acme|globex) /);
        expect(line.slice(head.indexOf('STATE'))).toMatch(/^(running|waiting|failed) /);
      }
      expect(lines.find((line) => line.startsWith('held'))).toMatch(/ waiting +0\/1 .* its type has no room$/);
      expect(lines.find((line) => line.startsWith('fails'))).toMatch(/ failed +1\/1 .* TaskFailed$/);
      expect(lines.find((line) => line.startsWith('runs'))).toMatch(/ running +1\/1 /);
      expect((await tasks('--client', 'globex')).map(({ task }) => task)).toEqual(['others']);
      expect((await tasks('--state', 'waiting')).map(({ task }) => task)).toEqual(['held']);
    });

    test('why: the story of a failed task, by any of its names; of one that is gone, what is left of it', async () => {
      const { code, stdout } = await slipway('why', 'fails');
      expect(code).toBe(0);
      for (const said of [
        /^Why: +TaskFailed: /m,
        /^Hint: +\S/m,
        /^Webhook: +delivered to /m,
        /^Lease: +over: the message is deleted$/m,
        /Z {2}put into acme-tasks as message /,
        /Z {2}attempt 1 ended: exit code 1/,
        /Z {2}copied into acme-tasks-poison: /,
        /Z {2}settled: /,
      ])
        expect(stdout).toMatch(said);
      const story = JSON.parse((await slipway('why', 'fails', '--json')).stdout) as { messageId: string; job: string };
      const byName = await Promise.all([story.messageId, story.job].map((name) => slipway('why', name, '--json')));
      for (const one of byName) expect(JSON.parse(one.stdout)).toEqual(story);
      await cluster.kubectl(['-n', NAMESPACE, 'delete', 'job', story.job]);
      const [gone, never] = [await slipway('why', 'fails'), await slipway('why', 'never-sent')];
      expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining('no Job in namespace cli') });
      expect(gone.stdout).toContain('It is poisoned in acme-tasks-poison since ');
      expect(never).toMatchObject({ code: 1, stdout: expect.stringContaining('The poison queues do not have it.') });
    });

    test('cancel: a task that is held, before it ever starts; one that runs; one while no operator runs', async () => {
      const dry = await slipway('cancel', 'held', '--dry-run');
      expect(dry).toMatchObject({ code: 0, stdout: expect.stringMatching(/^would ask +held .*which is waiting$/m) });
      const waiting = slipway('cancel', 'held', 'runs', '--reason', 'ordered twice', '--wait');
      await eventually(
        async () =>
          expect((await tasks('--state', 'cancelled')).map(({ task }) => task).sort()).toEqual(['held', 'runs']),
        WAIT_MS,
        POLL_MS,
      );

      expect(await operator.stop()).toBe(0);
      const late = await slipway('cancel', 'alone', '--reason', 'no longer wanted');
      expect(late).toMatchObject({ code: 0, stderr: '' });
      expect(late.stdout).toContain('No operator seems to run: it is cancelled as soon as an operator runs');
      const [drained, open] = await Promise.all([slipway('drain', '--timeout', '1s'), tasks('--task', 'alone')]);
      expect(open).toMatchObject([{ state: 'running', why: 'cancel asked for' }]);
      expect(drained).toMatchObject({ code: 1, stdout: expect.stringMatching(/^others +globex +echo +running /m) });
      expect(drained.stderr).toContain('2 running, 0 waiting, 0 settling, 0 webhooks owed');
      expect(drained.stderr).toContain('no operator seems to run, so nothing will be settled');

      operator = await start();
      const [asked, acme] = await Promise.all([waiting, slipway('drain', '--client', 'acme')]);
      expect(asked).toMatchObject({ code: 0, stderr: '' });
      expect(asked.stdout).toMatch(/^asked +held .*which was waiting\. The operator ends it in seconds$/m);
      expect(asked.stdout).toMatch(/^asked +runs .*which was running\. The operator ends it in seconds$/m);
      expect(acme).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('nothing runs or is owed of client acme'),
      });
      for (const [task, why] of [
        ['held', 'ordered twice'],
        ['runs', 'ordered twice'],
        ['alone', 'no longer wanted'],
      ] as const) {
        expect(await reported(task)).toMatchObject({
          status: 'failed',
          error: { code: 'Cancelled', message: `the task was cancelled: ${why}` },
        });
        if (task !== 'alone') expect(asked.stdout).toMatch(new RegExp(`^cancelled +${task} `, 'm'));
      }
      const [ended, story, again] = await Promise.all([
        tasks('--state', 'cancelled'),
        slipway('why', 'held'),
        slipway('cancel', 'held'),
      ]);
      expect(ended.map(({ task }) => task).sort()).toEqual(['alone', 'held', 'runs']);
      expect(story.stdout).toMatch(/Z {2}cancelling was asked for: ordered twice; the operator ended its Job$/m);
      expect(story.stdout).not.toMatch(/released|attempt 1/);
      expect(again).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('it is over: Cancelled at '),
      });
    });

    test('drain: waits for the last task, and says when new ones come', async () => {
      const draining = spawn(process.execPath, [MAIN, 'drain', '-n', NAMESPACE], {
        env: { ...process.env, KUBECONFIG: ownRights },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      for (const stream of [draining.stdout, draining.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
      const ended = once(draining, 'close');
      try {
        await eventually(() => expect(said).toContain('1 running'), WAIT_MS);
        await put(QUEUE, 'late', 'echo');
        await until('late', 'running');
        await eventually(() => expect(said).toContain('new tasks keep coming'), WAIT_MS);
        for (const task of ['others', 'late']) await complete(task);
        const [code] = await ended;
        expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/^Drained after \d+s: /m) });
      } finally {
        draining.kill('SIGKILL');
      }
      expect((await tasks()).filter(({ state }) => state === 'running' || state === 'settling')).toEqual([]);
    });
  },
);

function start(): Promise<OperatorProcess> {
  return startOperator({
    kubeconfig: operatorRights,
    namespace: NAMESPACE,
    connectionString: azurite.connectionString,
    config: {
      queues: [{ name: QUEUE }, { name: 'globex-tasks' }],
      polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 1 },
      runner: { image: 'example.test/runner:1' },
      defaults: { attempts: 1 },
      taskTypes: { fail: {}, echo: {}, 'one-by-one': { maxRunning: 1 } },
      webhook: { allow: ['127.0.0.1'] },
    },
  });
}

/** A kubeconfig with the Role that docs/cli.md tells people to have, and nothing more. */
async function rightsOfTheGuide(from: string, directory: string): Promise<string> {
  const role = /```yaml\n([^`]*kind: Role\n[^`]*)```/.exec(await readFile(GUIDE, 'utf8'))?.[1] ?? '';
  const file = join(directory, 'role.yaml');
  await writeFile(file, role);
  const kubectl = (...args: readonly string[]) => cluster.kubectl(['-n', NAMESPACE, ...args]);
  await kubectl('apply', '-f', file);
  await kubectl('create', 'serviceaccount', 'person');
  const { metadata } = parse(role) as { metadata: { name: string } };
  const binding = [`--role=${metadata.name}`, `--serviceaccount=${NAMESPACE}:person`];
  await kubectl('create', 'rolebinding', 'person', ...binding);
  const token = (await kubectl('create', 'token', 'person')).trim();
  const kubeconfig = {
    ...(parse(await readFile(from, 'utf8')) as object),
    users: [{ name: 'slipway', user: { token } }],
  };
  const path = join(directory, 'person.kubeconfig');
  await writeFile(path, stringify(kubeconfig));
  return path;
}

function slipway(...args: readonly string[]): Promise<Finished> {
  return attempt(process.execPath, [MAIN, ...args, '-n', NAMESPACE], {
    env: {
      KUBECONFIG: ownRights,
      AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
      AZURE_STORAGE_SAS_URL: '',
    },
  });
}

async function tasks(...args: readonly string[]): Promise<readonly TaskLine[]> {
  const { code, stdout, stderr } = await slipway('tasks', '--json', ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as readonly TaskLine[];
}

/** Waits until a task is in that state, as the command line tells it. */
function until(task: string, state: string): Promise<void> {
  return eventually(async () => expect(await tasks('--task', task)).toMatchObject([{ state }]), WAIT_MS, POLL_MS);
}

function put(queue: string, task: string, type: string): Promise<void> {
  return queues.put(queue, { task_id: task, task_type: type, payload: {}, webhook_url: `${sink.url}/${task}` });
}

async function reported(task: string) {
  const [first] = await sink.waitFor(`/${task}`);
  return webhookBodySchema.parse(JSON.parse(first?.body ?? ''));
}

/** Lets a running task end well. */
async function complete(task: string): Promise<void> {
  const { items } = await cluster.get<{ items: { metadata: { name: string } }[] }>(
    ...['-n', NAMESPACE, 'pods', '-l', `slipway.dev/task-id=${task}`],
  );
  await endPod(cluster, NAMESPACE, items[0]?.metadata.name ?? '', 'completed-owed');
}
