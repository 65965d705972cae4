/** The world of the demo: Azurite for Azure, a web server for the clients' backends, the real operator, processes for pods. */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { QueueServiceClient } from '@azure/storage-queue';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import type { JobStore } from '#/operator/jobs/store.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { clients } from '#/testing/demo/messages.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

/** What the demo runs in. Disposing of it stops the operator, its tasks and the servers; the directory stays, to be read. */
export interface World extends AsyncDisposable {
  readonly connectionString: string;
  readonly sink: WebhookSink;
  /** The secret that webhooks are signed with. */
  readonly webhookSecret: string;
  readonly store: JobStore;
  readonly operatorLog: string;
  /** A file `POD.log` for each task's pod. */
  readonly taskLogs: string;
  /** Settles when the operator has stopped; rejects when it should not have. */
  readonly operator: Promise<void>;
}

/** Tasks that may run at once. */
export const MAX_RUNNING = 3;
const RUNNER_IMAGE = 'slipway-runner';
const STORAGE = { name: 'storage', key: 'connection-string' };
const WEBHOOKS = { name: 'webhooks', key: 'signing-secret' };

const configuration = {
  queues: clients.map(({ queue }) => ({ name: queue })),
  polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 1 },
  limits: { maxRunning: MAX_RUNNING },
  runner: { image: RUNNER_IMAGE },
  defaults: { attempts: 3, timeoutSeconds: 30, graceSeconds: 5 },
  taskTypes: {
    echo: {},
    'document-processing': { env: [{ name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: { secretKeyRef: STORAGE } }] },
  },
  webhook: { allow: ['127.0.0.1'], signingSecret: WEBHOOKS },
};

/**
 * Starts everything.
 *
 * @param verbose the operator's log goes to standard error as well
 */
export async function startWorld(verbose: boolean): Promise<World> {
  await using starting = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'slipway-demo-'));
  const [operatorLog, taskLogs] = [join(directory, 'operator.log'), join(directory, 'tasks')];
  await mkdir(taskLogs);

  const { connectionString } = starting.use(await startAzurite());
  const queues = QueueServiceClient.fromConnectionString(connectionString);
  for (const { queue } of clients) await queues.createQueue(queue);
  const sink = starting.use(await startWebhookSink());

  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;
  const config = parseConfig(JSON.stringify(configuration), {
    AZURE_STORAGE_CONNECTION_STRING: connectionString,
    SLIPWAY_NAMESPACE: 'demo',
    SLIPWAY_HTTP_PORT: '0',
    SLIPWAY_WEBHOOK_SECRET: webhookSecret,
  });
  const clock = systemClock;
  const store = starting.use(
    createLocalStore({
      clock,
      images: { [RUNNER_IMAGE]: { command: [process.execPath, runner] } },
      sources: {
        secrets: {
          [STORAGE.name]: { [STORAGE.key]: connectionString },
          [WEBHOOKS.name]: { [WEBHOOKS.key]: webhookSecret },
        },
      },
      logs: taskLogs,
      firstBackoffMs: 500,
    }),
  );
  const file = createWriteStream(operatorLog);
  starting.defer(async () => {
    file.end();
    await finished(file);
  });
  const write = (line: string) => {
    file.write(line);
    if (verbose) process.stderr.write(line);
  };
  const stop = new AbortController();
  const operator = runOperator(
    {
      config,
      store,
      queues: createQueueService(config.storage, clock),
      clock,
      log: createLog('debug', { app: 'slipway' }, { write }),
    },
    stop.signal,
  );
  starting.defer(async () => {
    stop.abort(new Error('the demo is over'));
    await operator.catch(() => undefined);
  });

  const started = starting.move();
  return {
    connectionString,
    sink,
    webhookSecret,
    store,
    operatorLog,
    taskLogs,
    operator,
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

const runner = fileURLToPath(new URL('../../job-runner/main.ts', import.meta.url));
