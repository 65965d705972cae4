import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { testConfig } from '../testing/jobs.ts';
import { createMetrics } from './metrics.ts';
import { createSendWebhook } from './send-webhook.ts';

/** A receiver of webhooks, and an operator's way of sending them under some settings. */
async function setUp(allow: string, status = 204) {
  const received: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const metrics = createMetrics();
  const { webhook } = testConfig(`webhook: { allow: [${allow}] }\ntaskTypes: { echo: {} }`).file;
  const send = createSendWebhook(() => webhook, [new Secret(`whsec_${'c2VjcmV0'.repeat(4)}`)], metrics, systemClock);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return {
    received,
    send: () => send({ url, id: 'id_completed', body: '{"a":1}' }),
    counts: async () => (await metrics.webhooks.get()).values.map(({ labels, value }) => [labels['result'], value]),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('a webhook of the operator', () => {
  test('carries its id, is signed with the installation’s secret, and is counted', async () => {
    await using at = await setUp('127.0.0.1');
    expect(await at.send()).toEqual({ kind: 'delivered', status: 204 });
    expect(at.received).toMatchObject([
      {
        headers: { 'webhook-id': 'id_completed', 'webhook-signature': expect.stringMatching(/^v1,/) },
        body: '{"a":1}',
      },
    ]);
    expect(await at.counts()).toEqual([['delivered', 1]]);
  });

  test('goes to no private address that the configuration does not allow', async () => {
    await using at = await setUp('');
    expect(await at.send()).toMatchObject({ kind: 'retry', detail: expect.stringContaining('webhook.allow') });
    expect(at.received).toEqual([]);
  });

  test('that is refused for good is counted as such', async () => {
    await using at = await setUp('127.0.0.1', 410);
    expect(await at.send()).toMatchObject({ kind: 'refused' });
    expect(await at.counts()).toEqual([['refused', 1]]);
  });
});
