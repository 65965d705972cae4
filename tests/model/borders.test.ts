/** The model's faults are what the real clients make of real answers: each is given by a server, and what the client says is compared. */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { systemClock } from '#/lib/clock.ts';
import { ServiceError } from '#/lib/errors.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { storageAccess } from '#/queue/access.ts';
import { createQueueService } from '#/queue/service.ts';
import {
  API_FAULTS,
  apiFailing,
  QUEUE_FAULTS,
  queueFailing,
  RETRY_AFTER_S,
  WEBHOOK_FAULTS,
  webhookFailing,
} from '#/testing/model/faults.ts';
import { deliver } from '#/webhook/delivery.ts';

/** Short where a call hangs; an answer has time to come on any machine. */
const deadlineMs = (fault: string) => (fault === 'hang' ? 200 : 30_000);

/** How a server behaves that shows a fault: by its status, and the code or reason after it. */
function answer(fault: string, body: (code: string, status: number) => string): RequestListener {
  const [status = '', code = ''] = fault.split(' ');
  return (request, response) => {
    request.resume();
    if (fault === 'hang') return;
    if (!/^\d+$/.test(status)) return void request.socket.destroy();
    const headers = {
      ...(code === '' ? {} : { 'x-ms-error-code': code }),
      ...(status === '429' ? { 'retry-after': String(RETRY_AFTER_S) } : {}),
      ...(status === '302' ? { location: '/login' } : {}),
    };
    response.writeHead(Number(status), headers).end(body(code, Number(status)));
  };
}

async function serve(listener: RequestListener) {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A failed call, as far as anybody looks at it. */
async function failureOf(call: Promise<unknown>): Promise<object> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ServiceError)) throw new Error('the call did not fail with a ServiceError');
  const { kind, code, retryAfterMs } = error;
  // What came without an answer is known by its kind alone: the code is the socket's.
  return kind === 'unknown' ? { kind } : { kind, code, retryAfterMs };
}

describe('the queue service', () => {
  test.each(QUEUE_FAULTS)('%s', async (fault) => {
    await using server = await serve(answer(fault, (code) => `<Error><Code>${code}</Code></Error>`));
    const endpoint = `QueueEndpoint=${server.url}/acme`;
    const access = storageAccess(`AccountName=acme;AccountKey=c2VjcmV0;${endpoint}`, undefined);
    if (access.kind === 'invalid') throw new Error(access.problem);
    const service = createQueueService(access, systemClock, deadlineMs(fault));
    const real = await failureOf(service.remove('acme-tasks', 'id', 'receipt'));
    expect(real).toEqual(await failureOf(Promise.reject(queueFailing('remove', fault).error)));
  });
});

describe('the API server', () => {
  test.each(API_FAULTS)('%s', async (fault) => {
    await using server = await serve(
      answer(fault, (reason, code) => JSON.stringify({ kind: 'Status', status: 'Failure', reason, code })),
    );
    const config = new KubeConfig();
    config.loadFromOptions({
      clusters: [{ name: 'c', server: server.url, skipTLSVerify: true }],
      users: [{ name: 'u', token: 'token' }],
      contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
      currentContext: 'x',
    });
    const api = createKubernetesApi(config, systemClock, deadlineMs(fault));
    const real = await failureOf(api.request({ method: 'PATCH', path: '/apis/batch/v1/jobs/x', body: {} }));
    expect(real).toEqual(await failureOf(Promise.reject(apiFailing('patch outcome', fault).error)));
  });
});

describe('the receiver of a webhook', () => {
  test.each(WEBHOOK_FAULTS)('%s', async (fault) => {
    await using server = await serve(answer(fault, () => ''));
    const request = {
      url: server.url,
      id: 'id',
      body: '{}',
      secrets: [],
      allow: ['127.0.0.0/8'],
      timeoutMs: deadlineMs(fault),
    };
    const { detail: _, ...real } = { detail: '', ...(await deliver(request, systemClock)) };
    const { detail: __, ...modelled } = { detail: '', ...webhookFailing(fault).result };
    expect(real).toEqual(modelled);
  });
});
