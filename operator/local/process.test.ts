/** Pods as real processes, held against the statuses that a real kubelet gave (testing/golden/pod-status). */
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1Container, V1Job } from '@kubernetes/client-node';
import { expect, onTestFinished, test } from 'vitest';
import { type Behaviour, podStatus } from '#/testing/pod-status.ts';
import { systemClock } from '../../lib/clock.ts';
import { JOB_NAME_LABEL, type PodRecord, podRecord } from '../jobs/records.ts';
import { createLocalStore, type LocalStoreOptions } from './store.ts';

const NODE = process.execPath;
const images = {
  'node:26': { command: [NODE] },
  'node:print-env': { command: [NODE, '-p', 'JSON.stringify(process.env)', '--'] },
  'nothing:1': { command: ['/nothing'] },
} as const;

interface PodSettings {
  readonly activeDeadlineSeconds?: number;
  readonly terminationGracePeriodSeconds?: number;
  readonly annotations?: Record<string, string>;
}

function job(container: Partial<V1Container>, { annotations = {}, ...settings }: PodSettings = {}): V1Job {
  const task = { name: 'task', image: 'node:26', ...container };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'a-job' },
    spec: {
      backoffLimit: 0,
      template: { metadata: { annotations }, spec: { restartPolicy: 'Never', containers: [task], ...settings } },
    },
  };
}

/** Runs a Job until a pod of it is as wanted. */
async function runPod(
  asked: V1Job,
  wanted: (pod: PodRecord) => boolean = ({ task }) => task?.kind === 'terminated',
  options: Partial<LocalStoreOptions> = {},
): Promise<PodRecord> {
  const store = createLocalStore({ clock: systemClock, images, ...options });
  const stop = new AbortController();
  onTestFinished(async () => {
    stop.abort();
    await store[Symbol.asyncDispose]();
  });
  const { promise, resolve } = Promise.withResolvers<PodRecord>();
  void store.follow((one) => one.kind === 'pod' && wanted(one.pod) && resolve(one.pod), stop.signal);
  await store.create(asked);
  return promise;
}

const script = (code: string): Partial<V1Container> => ({ args: ['-e', code] });
const report = (text: string) =>
  `require('node:fs').writeFileSync(process.env.SLIPWAY_TERMINATION_LOG, ${JSON.stringify(text)});`;

/** What a real kubelet gave, without what differs from run to run. */
function recorded(behaviour: Behaviour): object {
  const metadata = { name: 'x', labels: { [JOB_NAME_LABEL]: 'a-job' } };
  return comparable(podRecord({ metadata, status: podStatus(behaviour) }));
}

function comparable({ phase, reason, message, disrupted, task }: PodRecord): object {
  if (task === undefined) return { phase, reason, message, disrupted };
  const times = 'startedAt' in task ? { startedAt: task.startedAt === 0 ? 'never' : typeof task.startedAt } : {};
  const words =
    task.kind === 'terminated' && task.reason !== 'StartError' ? { message: task.message } : { message: '*' };
  return { phase, reason, message, disrupted, task: { ...task, ...times, finishedAt: '*', ...words } };
}

const FAILED = '{"v":1,"status":"failed","error":{"code":"TaskFailed","message":"the handler threw"},"webhook":"none"}';

test.each<[Behaviour, Partial<V1Container>, PodSettings?]>([
  ['completed-owed', script(report('{"v":1,"status":"completed","result":{"echoed":true},"webhook":"owed"}'))],
  ['failed', script(`${report(FAILED)} process.exit(1)`)],
  ['failed-foreign', script('process.exit(1)')],
  [
    'deadline',
    script("process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1000)"),
    { activeDeadlineSeconds: 1, terminationGracePeriodSeconds: 1 },
  ],
  ['command-missing', { image: 'nothing:1' }],
])('a process that is %s looks as a real pod does', async (behaviour, container, settings) => {
  const pod = await runPod(job(container, settings));
  expect(comparable(pod)).toEqual(recorded(behaviour));
});

test.each<[Behaviour, Partial<V1Container>]>([
  ['image-missing', { image: 'registry.example/nothing:1' }],
  ['config-missing', { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'nothing', key: 'a' } } }] }],
])('a pod that waits because of %s looks as a real one does', async (behaviour, container) => {
  const pod = await runPod(
    job(container),
    ({ task }) => task?.kind === 'waiting' && task.reason !== 'ContainerCreating',
  );
  expect(comparable(pod)).toEqual(recorded(behaviour));
});

test("the environment is what the spec says, a PATH and the termination message's file", async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-test-'));
  const data = `{"task":"$(SECRET) $$ $(HOME) \\" \\n ${'ä'.repeat(30_000)}"}`;
  const asked = job(
    {
      image: 'node:print-env',
      env: [
        { name: 'SECRET', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
        { name: 'TASK_DATA', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['data']" } } },
        { name: 'PLAIN', value: '$(SECRET) $$(SECRET)' },
      ],
    },
    { annotations: { data } },
  );
  const pod = await runPod(asked, undefined, { sources: { secrets: { s: { k: 'hidden' } } }, logs: directory.path });
  const env = JSON.parse(await readFile(join(directory.path, `${pod.name}.log`), 'utf8'));
  expect(env).toEqual({
    SECRET: 'hidden',
    TASK_DATA: data,
    PLAIN: 'hidden $(SECRET)',
    PATH: expect.any(String),
    SLIPWAY_TERMINATION_LOG: expect.any(String),
  });
});

test("command replaces the image's entry point; both it and args may refer to variables", async () => {
  const code = `${report('$(WHO)')} process.exit(process.argv.at(-1) === 'me' ? 0 : 1)`;
  const asked = job({ command: [NODE, '-e', code], args: ['$(WHO)'], env: [{ name: 'WHO', value: 'me' }] });
  expect((await runPod(asked)).task).toMatchObject({ exitCode: 0, message: 'me' });
});

test("a termination message is cut at Kubernetes' limit", async () => {
  const pod = await runPod(job(script(report('x'.repeat(10_000)))));
  expect(pod.task).toMatchObject({ message: 'x'.repeat(4096) });
});

test('a deadline gives the grace period, and the message written in it', async () => {
  const code = `process.on('SIGTERM', () => { ${report('stopped')} process.exit(143) }); setInterval(() => undefined, 1000)`;
  const pod = await runPod(job(script(code), { activeDeadlineSeconds: 1 }));
  expect(pod).toMatchObject({ reason: 'DeadlineExceeded', task: { exitCode: 143, message: 'stopped' } });
});

test('nothing of a pod outlives it', async () => {
  const grandchild = "require('node:child_process').spawn('sleep', ['1000'], { stdio: 'ignore' })";
  const code = `const child = ${grandchild}; child.on('spawn', () => { ${report('').replace('""', 'String(child.pid)')} process.exit(0) })`;
  const pod = await runPod(job(script(code)));
  const pid = Number(pod.task?.kind === 'terminated' ? pod.task.message : 0);
  expect(pid).toBeGreaterThan(0);
  await expect.poll(() => isAlive(pid)).toBe(false);
});

test('a program that a signal ends has exit code 128 and its number', async () => {
  const pod = await runPod(job(script("process.kill(process.pid, 'SIGKILL')")));
  expect(pod.task).toMatchObject({ exitCode: 137, reason: 'Error' });
});

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // Killed, but not collected by anybody: as good as gone.
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return !/^State:\s+Z/m.test(status);
}
