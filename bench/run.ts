/**
 * Benchmarks on real parts: a control plane, Azurite, the bundles as the images carry them. Each figure stands beside a baseline of the
 * same run, since the machine may be shared; nothing is asserted.
 *
 *     npm run bench              about two minutes
 *     npm run bench -- --jobs 10000
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { KubeConfig, type V1Job } from '@kubernetes/client-node';
import { bundle, programs } from '#/build/bundle.ts';
import { systemClock } from '#/lib/clock.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { createKubernetesStore } from '#/operator/jobs/kubernetes.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { startOperator } from '#/testing/operator-process.ts';
import { testQueues } from '#/testing/queues.ts';

const HELP = `npm run bench -- [--jobs N]

  --jobs N   live Jobs for the operator's start and memory (default 1000; making 10000 takes some minutes)`;

const NAMESPACE = 'default';
/** Nothing to renew while the bench lasts. */
const FRESH_LEASE = { 'slipway.dev/lease-until': new Date(Date.now() + 6 * 3600_000).toISOString() };
const apis = new Map<string, ReturnType<typeof createKubernetesApi>>();
const rows: [what: string, ours: string, baseline: string][] = [];
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silent };

const { values } = parseArgs({ options: { jobs: { type: 'string', default: '1000' }, help: { type: 'boolean' } } });
if (values.help) {
  console.log(HELP);
} else {
  for (const program of programs) await bundle(program, { write: true });
  await runnerStart();
  await withCluster(Number(values.jobs));
  print();
}

/** Runner: from spawn to the handler's first line, beside a process that does nothing. */
async function runnerStart(): Promise<void> {
  const env = { TASK_DATA: '{"task_id":"b","task_type":"echo","payload":1}', SLIPWAY_TERMINATION_LOG: '/dev/null' };
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < 15; round++) {
    ours.push(await timeUntil([new URL('../dist/runner/runner.mjs', import.meta.url).pathname], env, '"echo"'));
    bare.push(await timeUntil(['-e', 'console.log("done")'], {}, 'done'));
  }
  rows.push(['runner: start to the first line of echo', ms(median(ours)), `${ms(median(bare))} bare Node.js`]);
}

async function withCluster(liveJobs: number): Promise<void> {
  console.log('starting a control plane and Azurite');
  await using azurite = await startAzurite({ blob: false });
  await using cluster = await startControlPlane();
  const queues = testQueues(azurite.connectionString);
  await queues.create('acme-tasks');
  const options = {
    kubeconfig: cluster.kubeconfig,
    namespace: NAMESPACE,
    connectionString: azurite.connectionString,
    entry: 'dist/operator/operator.mjs',
    // The image's own flag, and the heap that Node.js chooses under the chart's memory limit of 256 MiB.
    env: { NODE_OPTIONS: '--max-semi-space-size=4 --max-old-space-size=128' },
    config: {
      queues: [{ name: 'acme-tasks' }],
      limits: { maxRunning: 10_000 },
      polling: { minIntervalSeconds: 1, maxIntervalSeconds: 1 },
      runner: { image: 'example.test/runner:1' },
      taskTypes: { echo: {} },
    },
  };
  const [example, rate] = await idleLatency(options, queues, cluster.kubeconfig);
  await startAndMemory(options, cluster.kubeconfig, example, liveJobs, rate);
}

type Options = Parameters<typeof startOperator>[0];

/** Enqueue → Job on an idle queue polled each second; beside what one bare create takes. */
async function idleLatency(
  options: Options,
  queues: ReturnType<typeof testQueues>,
  kubeconfig: string,
): Promise<[V1Job, number]> {
  console.log('measuring enqueue → Job on an idle queue');
  await using operator = await startOperator(options);
  await operator.waitFor('a known view', (line) => line.msg === 'the Jobs are known');
  const latencies: number[] = [];
  for (let round = 0; round < 25; round++) {
    await wait(700 + 900 * Math.random());
    const sent = Date.now();
    await queues.put('acme-tasks', { task_id: `idle-${round}`, task_type: 'echo', payload: round });
    const line = await operator.waitFor(
      'its Job',
      ({ msg, taskId }) => msg === 'the Job was created' && taskId === `idle-${round}`,
    );
    latencies.push(Date.parse(String(line['time'])) - sent);
  }
  await operator.stop();
  const api = apiOf(kubeconfig);
  const list = (await api.request({ method: 'GET', path: `/apis/batch/v1/namespaces/${NAMESPACE}/jobs` })) as {
    items: V1Job[];
  };
  const [job] = list.items;
  if (job === undefined) throw new Error('no Job was made');
  const creates: number[] = [];
  for (let round = 0; round < 25; round++) creates.push(await timed(() => create(kubeconfig, job, `bare-${round}`)));
  rows.push([
    'enqueue → Job, idle queue, 1 s poll (p50 / p95)',
    `${ms(median(latencies))} / ${ms(percentile(latencies, 0.95))}`,
    `${ms(median(creates))} / ${ms(percentile(creates, 0.95))} one bare create`,
  ]);
  return [job, creates.length];
}

/** Operator: spawn → all Jobs known, and resident memory then; beside a process that has loaded the same bundle and knows no Job. */
async function startAndMemory(
  options: Options,
  kubeconfig: string,
  job: V1Job,
  count: number,
  had: number,
): Promise<void> {
  const empty = await startedOperator(options);
  console.log(`making ${count} live Jobs`);
  for (let made = had; made < count; made += 64) {
    await Promise.all(
      Array.from({ length: Math.min(64, count - made) }, (_, at) => create(kubeconfig, job, `live-${made + at}`)),
    );
    if (made % 1024 < 64) console.log(`  ${made}`);
  }
  const full = await startedOperator(options);
  rows.push([
    `operator: start to ready, ${full.jobs} live Jobs`,
    ms(full.readyMs),
    `${ms(empty.readyMs)} with ${empty.jobs}`,
  ]);
  rows.push([
    `operator: memory, ${full.jobs} live Jobs`,
    `${full.rssMiB} MiB`,
    `${empty.rssMiB} MiB with ${empty.jobs}`,
  ]);
}

async function startedOperator(options: Options): Promise<{ readyMs: number; rssMiB: number; jobs: number }> {
  const from = Date.now();
  await using operator = await startOperator(options);
  const port = await operator.port;
  await eventually(
    async () => {
      if ((await fetch(`http://127.0.0.1:${port}/readyz`)).status !== 200) throw new Error('not ready');
    },
    60_000,
    5,
  );
  const readyMs = Date.now() - from;
  const known = await operator.waitFor('a known view', (line) => line.msg === 'the Jobs are known');
  await wait(3000);
  const status = await readFile(`/proc/${operator.pid}/status`, 'utf8');
  return {
    readyMs,
    jobs: Number(known['jobs']),
    rssMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
  };
}

function apiOf(kubeconfig: string) {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = apis.get(kubeconfig) ?? createKubernetesApi(config, systemClock);
  apis.set(kubeconfig, api);
  return api;
}

/** A suspended copy of a Job under another name: live for the operator, no work for the cluster. */
async function create(kubeconfig: string, { metadata, spec }: V1Job, name: string): Promise<void> {
  const store = createKubernetesStore(apiOf(kubeconfig), {
    namespace: NAMESPACE,
    installation: '',
    clock: systemClock,
    log: silent,
  });
  const { selector: _selector, template, ...rest } = spec ?? { template: {} };
  const labels = Object.fromEntries(
    Object.entries(template.metadata?.labels ?? {}).filter(([key]) => !/controller-uid|job-name/.test(key)),
  );
  await store.create({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name,
      labels: metadata?.labels ?? {},
      annotations: { ...metadata?.annotations, ...FRESH_LEASE, 'slipway.dev/message-id': name },
    },
    spec: { ...rest, suspend: true, template: { ...template, metadata: { ...template.metadata, labels } } },
  });
}

function timeUntil(args: readonly string[], env: Record<string, string>, text: string): Promise<number> {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let seen = '';
    let at: number | undefined;
    const look = (chunk: Buffer) => {
      seen += chunk.toString();
      if (at === undefined && seen.includes(text)) at = performance.now() - from;
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('close', () => (at === undefined ? reject(new Error(`never said ${text}: ${seen}`)) : resolve(at)));
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

function print(): void {
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length));
  console.log();
  for (const [what, ours, baseline] of rows)
    console.log(`${what.padEnd(width(0))}  ${ours.padStart(width(1))}  (${baseline})`);
}

function wait(forMs: number): Promise<void> {
  return systemClock.sleep(forMs, new AbortController().signal);
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

function percentile(numbers: readonly number[], part: number): number {
  return (
    numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * part))] ?? Number.NaN
  );
}

function median(numbers: readonly number[]): number {
  return percentile(numbers, 0.5);
}
