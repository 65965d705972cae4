/** Where the benchmarks of the operator take place: real servers on loopback, and what counts between them and the operator. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig, type V1Job } from '@kubernetes/client-node';
import { type CountingRelay, startCountingRelay } from '#/bench/counting-relay.ts';
import { auditPolicy } from '#/bench/requests.ts';
import { systemClock } from '#/lib/clock.ts';
import { createKubernetesApi, type KubernetesApi } from '#/operator/jobs/api.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { startControlPlane } from '#/testing/control-plane.ts';
import { type QueueProxy, startQueueProxy } from '#/testing/fault-servers.ts';
import { installRights } from '#/testing/installation.ts';
import type { Cluster } from '#/testing/kubernetes.ts';
import { stages } from '#/testing/kwok.ts';
import { type OperatorOptions, type OperatorProcess, startOperator } from '#/testing/operator-process.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';

/** Namespaces: the operator's, and one for Jobs that are made without it. */
const NAMESPACE = 'bench';
const BARE = 'bare';
/** Task types: one whose pods end at once and have told their webhook, and one whose pods run until the bench ends. */
export const DONE = 'done';
export const STAYS = 'stays';
/** Nothing is changed by it: what is asked ends much sooner. */
const CALL_MS = 60_000;

/** A running site. */
export interface Site extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly auditLog: string;
  /** Who the operator is to the API server. */
  readonly user: string;
  readonly relay: CountingRelay;
  /** Past the proxy. */
  readonly queues: TestQueues;
  /** Between the operator and its queues; all its requests are the operator's. */
  readonly queueProxy: QueueProxy;
  /** Starts the operator's bundle. */
  start(config?: object): Promise<OperatorProcess>;
  /** How many there are in the operator's namespace. */
  count(resource: 'jobs' | 'pods'): Promise<number>;
  /** A Job that the operator has made. */
  anyJob(): Promise<V1Job>;
  /** Makes copies of a Job, so many at once, in a namespace without an operator; gives the seconds that it took. */
  createBare(job: V1Job, count: number, atOnce: number): Promise<number>;
}

/** Starts it; about 10 s. */
export async function startSite(): Promise<Site> {
  await using starting = new AsyncDisposableStack();
  const azurite = starting.use(await startAzurite({ blob: false }));
  const cluster = starting.use(
    await startControlPlane({
      stages: stages({ [DONE]: { as: 'completed-delivered' } }),
      audit: auditPolicy([NAMESPACE, BARE]),
    }),
  );
  const { auditLog } = cluster;
  if (auditLog === undefined) throw new Error('needs a control plane of its own: unset KUBECONFIG_TEST');
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-bench-')));
  const relay = starting.use(await startCountingRelay(await installRights(cluster, NAMESPACE, directory.path)));
  const bare = apiOf(await installRights(cluster, BARE, directory.path));
  const api = apiOf(relay.kubeconfig);
  const queueProxy = starting.use(await startQueueProxy(azurite.connectionString));
  const queues = testQueues(azurite.connectionString);
  const options: OperatorOptions = {
    kubeconfig: relay.kubeconfig,
    namespace: NAMESPACE,
    connectionString: queueProxy.connectionString,
    entry: 'dist/operator/operator.mjs',
    // The image's own flag, and the heap that Node.js chooses under the chart's memory limit of 384 MiB.
    env: { NODE_OPTIONS: '--max-semi-space-size=4 --max-old-space-size=192' },
    config: {
      queues: [{ name: 'acme-tasks' }],
      limits: { maxRunning: 10_000 },
      runner: { image: 'example.test/runner:1' },
      taskTypes: { [DONE]: {}, [STAYS]: { timeoutSeconds: 86_400 } },
    },
  };
  await queues.create('acme-tasks');
  let round = 0;
  const running = starting.move();
  return {
    cluster,
    auditLog,
    user: `system:serviceaccount:${NAMESPACE}:slipway`,
    relay,
    queues,
    queueProxy,
    start: (config = {}) => startOperator({ ...options, config: { ...options.config, ...config } }),
    async count(resource) {
      const table = await cluster.kubectl(['-n', NAMESPACE, 'get', '--raw', countPath(resource)]);
      const { items, metadata } = JSON.parse(table) as { items: unknown[]; metadata: { remainingItemCount?: number } };
      return items.length + (metadata.remainingItemCount ?? 0);
    },
    async anyJob() {
      const path = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;
      const { items } = (await api.request({
        method: 'GET',
        path,
        query: { limit: '1' },
        signal: AbortSignal.timeout(CALL_MS),
      })) as { items: V1Job[] };
      const [job] = items;
      if (job === undefined) throw new Error('the operator has made no Job');
      return job;
    },
    async createBare(job, count, atOnce) {
      const prefix = `bare-${round++}`;
      const from = performance.now();
      await inTurns(count, atOnce, (at) => create(bare, job, `${prefix}-${at}`));
      return (performance.now() - from) / 1000;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Puts messages of one type. */
export async function put({ queues }: Site, type: string, count: number): Promise<void> {
  await inTurns(count, 32, (at) =>
    queues.put('acme-tasks', { task_id: `${type}-${at}`, task_type: type, payload: { at, text: 'x'.repeat(200) } }),
  );
}

/** Asks each second until it holds, and tells now and then. */
export async function until(what: () => Promise<string | undefined>, tell: (line: string) => void): Promise<void> {
  for (let round = 0; ; round++) {
    const missing = await what();
    if (missing === undefined) return;
    if (round % 10 === 0) tell(`  ${missing}`);
    await wait(1000);
  }
}

/** Waits until no message is left. */
export async function settled({ queues }: Site, tell: (line: string) => void): Promise<void> {
  await until(async () => {
    const left = await queues.count('acme-tasks');
    return left === 0 ? undefined : `${left} messages are left`;
  }, tell);
}

/** Waits. */
export function wait(forMs: number): Promise<void> {
  return systemClock.sleep(forMs, new AbortController().signal);
}

/** Does `work` for 0 to count - 1, so many at once. */
async function inTurns(count: number, atOnce: number, work: (at: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** A copy of a Job under another name. */
async function create(api: KubernetesApi, { metadata, spec }: V1Job, name: string): Promise<void> {
  const { selector: _selector, template, ...rest } = spec ?? { template: {} };
  const labels = Object.fromEntries(
    Object.entries(template.metadata?.labels ?? {}).filter(([key]) => !/controller-uid|job-name/.test(key)),
  );
  const job = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, labels: metadata?.labels, annotations: metadata?.annotations },
    spec: { ...rest, template: { ...template, metadata: { ...template.metadata, labels } } },
  };
  const path = `/apis/batch/v1/namespaces/${BARE}/jobs`;
  await api.request({ method: 'POST', path, body: job, signal: AbortSignal.timeout(CALL_MS) });
}

function apiOf(kubeconfig: string): KubernetesApi {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  return createKubernetesApi(config, systemClock);
}

function countPath(resource: 'jobs' | 'pods'): string {
  const group = resource === 'jobs' ? '/apis/batch/v1' : '/api/v1';
  return `${group}/namespaces/${NAMESPACE}/${resource}?limit=1`;
}
