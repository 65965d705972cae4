/** A result too large for a termination message, whose webhook the runner could not send: the operator sends it whole, from Blob. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { testQueues } from '#/testing/queues.ts';
import { startWebhookSink } from '#/testing/webhook-sink.ts';

const RUNNER = fileURLToPath(new URL('../../job-runner/main.ts', import.meta.url));
/** The runner tries three times; the fourth try is the operator's. */
const REFUSALS = [{ status: 503 }, { status: 503 }, { status: 503 }] as const;

test('I8: an owed webhook with a large result is sent by the operator with the whole result', async () => {
  await using azurite = await startAzurite();
  await using sink = await startWebhookSink();
  sink.answer('/hook', ...REFUSALS, { status: 204 });
  const queues = testQueues(azurite.connectionString);
  await queues.create('acme-tasks');
  const payload = { pages: Array.from({ length: 200 }, (_, page) => `page ${page} of the result`) };
  await queues.put('acme-tasks', { task_id: 'large', task_type: 'echo', payload, webhook_url: `${sink.url}/hook` });

  const clock = systemClock;
  const connection = 'AZURE_STORAGE_CONNECTION_STRING';
  await using store = createLocalStore({
    clock,
    images: { 'runner:1': { command: [process.execPath, RUNNER] } },
    sources: { secrets: { storage: { connection: azurite.connectionString } } },
  });
  const config = parseConfig(
    JSON.stringify({
      queues: [{ name: 'acme-tasks' }],
      runner: { image: 'runner:1' },
      taskTypes: {
        echo: { env: [{ name: connection, valueFrom: { secretKeyRef: { name: 'storage', key: 'connection' } } }] },
      },
      webhook: { allow: ['127.0.0.1'] },
    }),
    { [connection]: azurite.connectionString, SLIPWAY_NAMESPACE: 'local', SLIPWAY_HTTP_PORT: '0' },
  );
  const stopping = new AbortController();
  const parts = {
    config,
    store,
    queues: createQueueService(config.storage, clock),
    clock,
    log: createLog('silent', {}),
  };
  const running = runOperator(parts, stopping.signal);
  const tries = await sink.waitFor('/hook', REFUSALS.length + 1, 60_000);
  stopping.abort();
  await running;

  const bodies = tries.map(({ body }) => JSON.parse(body));
  expect(bodies.map(({ result }) => result)).toEqual(tries.map(() => payload));
  expect(new Set(tries.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
});
