/** What a chaos run takes place in: real servers on loopback, and what stands between them and the operator. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAzurite } from '#/testing/azurite.ts';
import { auditPolicy } from '#/testing/chaos/audit.ts';
import { queueCall } from '#/testing/chaos/calls.ts';
import type { Cap, QueueCall } from '#/testing/chaos/history.ts';
import { QUEUES } from '#/testing/chaos/plan.ts';
import { ENDINGS } from '#/testing/chaos/tasks.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { type QueueProxy, startQueueProxy } from '#/testing/fault-servers.ts';
import { installRights } from '#/testing/installation.ts';
import { stages } from '#/testing/kwok.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

/** Where the operators and their Jobs are. */
export const NAMESPACE = 'chaos';
/** Tasks that may run at once. The last two are as low as they may be without becoming what the run waits for. */
export const CAPS: readonly Cap[] = [
  { of: 'all', name: '', most: 60 },
  { of: 'client', name: 'umbrella', most: 10 },
  { of: 'type', name: 'slow', most: 10 },
];
/** What one operator receives at once. */
export const BATCH = 32;

/** A running world. */
export interface ChaosWorld extends AsyncDisposable {
  readonly cluster: ControlPlane;
  /** The operator's own. */
  readonly kubeconfig: string;
  /** Past the proxy. */
  readonly queues: TestQueues;
  /** Between the operators and their queues. */
  readonly queueProxy: QueueProxy;
  readonly sink: WebhookSink;
  /** What the queue service has done for the operators so far. */
  readonly calls: readonly QueueCall[];
  /** The operators' configuration file, as a value. */
  readonly config: object;
}

/** Starts it; about 10 s. */
export async function startWorld(): Promise<ChaosWorld> {
  await using starting = new AsyncDisposableStack();
  const azurite = starting.use(await startAzurite({ blob: false }));
  const sink = starting.use(await startWebhookSink());
  const cluster = starting.use(await startControlPlane({ stages: stages(ENDINGS), audit: auditPolicy(NAMESPACE) }));
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-chaos-')));
  const kubeconfig = await installRights(cluster, NAMESPACE, directory.path);
  const calls: QueueCall[] = [];
  const queueProxy = starting.use(
    await startQueueProxy(azurite.connectionString, (request) => {
      const call = queueCall(request);
      if (call !== undefined) calls.push(call);
    }),
  );
  const queues = testQueues(azurite.connectionString);
  await queues.create(...QUEUES);
  const running = starting.move();
  return {
    cluster,
    kubeconfig,
    queues,
    queueProxy,
    sink,
    calls,
    config: {
      queues: QUEUES.map((name) => ({ name })),
      limits: { maxRunning: mostOf('all', '') },
      clients: Object.fromEntries(
        CAPS.filter((cap) => cap.of === 'client').map(({ name, most }) => [name, { maxRunning: most }]),
      ),
      polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 1 },
      lease: { firstSeconds: 5, renewSeconds: 10 },
      runner: { image: 'example.test/runner:1' },
      defaults: { attempts: 1 },
      taskTypes: Object.fromEntries(Object.keys(ENDINGS).map((type) => [type, { maxRunning: mostOf('type', type) }])),
      webhook: { allow: ['127.0.0.1'] },
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The cap of that name; of what has none, that of all. */
function mostOf(of: Cap['of'], name: string): number {
  const cap = CAPS.find((one) => one.of === of && one.name === name) ?? CAPS.find((one) => one.of === 'all');
  return cap?.most ?? Number.NaN;
}
