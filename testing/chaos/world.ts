/** What a chaos run takes place in: real servers on loopback, and what stands between them and the operator. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#/lib/clock.ts';
import type { GroupBody } from '#/testing/arm/rules.ts';
import { type ArmServer, startArm } from '#/testing/arm/server.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { auditPolicy } from '#/testing/chaos/audit.ts';
import { queueCall } from '#/testing/chaos/calls.ts';
import type { Cap, QueueCall } from '#/testing/chaos/history.ts';
import { type ChaosOptions, QUEUES } from '#/testing/chaos/plan.ts';
import { ENDINGS, groupBehaviour } from '#/testing/chaos/tasks.ts';
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
  /** Where tasks run on Azure. */
  readonly arm: ArmServer | undefined;
  /** What the queue service has done for the operators so far. */
  readonly calls: readonly QueueCall[];
  /** The operators' configuration file, as a value. */
  readonly config: object;
}

/** As much as may be configured: what Azure's limits do to a run is for a virtual clock. */
const ACI = {
  subscriptionId: '11111111-1111-4111-8111-111111111111',
  resourceGroup: 'tasks',
  location: 'westeurope',
  limits: { groups: 100, per5Minutes: 5000, perHour: 20_000 },
};

/** Starts it; about 10 s. */
export async function startWorld(backend: ChaosOptions['backend'] = 'kubernetes'): Promise<ChaosWorld> {
  await using starting = new AsyncDisposableStack();
  const azurite = starting.use(await startAzurite({ blob: false }));
  const sink = starting.use(await startWebhookSink());
  const cluster = starting.use(await startControlPlane({ stages: stages(ENDINGS), audit: auditPolicy(NAMESPACE) }));
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-chaos-')));
  const arm =
    backend === 'aci'
      ? starting.use(
          await startArm({ clock: systemClock, deletesMs: 300, behaviour: (_, body) => groupBehaviour(typeOf(body)) }),
        )
      : undefined;
  const place = arm && { backend, aci: ACI };
  const kubeconfig = await installRights(cluster, NAMESPACE, directory.path, place);
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
    arm,
    calls,
    config: {
      ...(arm && { backend, aci: { ...ACI, endpoint: arm.url } }),
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

function typeOf({ properties }: GroupBody): string {
  const variables = properties.containers[0]?.properties.environmentVariables ?? [];
  return variables.find(({ name }) => name === 'TASK_TYPE')?.secureValue ?? '';
}

/** The cap of that name; of what has none, that of all. */
function mostOf(of: Cap['of'], name: string): number {
  const cap = CAPS.find((one) => one.of === of && one.name === name) ?? CAPS.find((one) => one.of === 'all');
  return cap?.most ?? Number.NaN;
}
