import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { storageAccess } from './access.ts';
import { createQueueService, type QueueService } from './service.ts';

/** A queue service that answers as told, and how often it was asked. */
async function serve(answer: RequestListener, deadlineMs: number) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/acme`;
  const access = storageAccess(`AccountName=acme;AccountKey=c2VjcmV0;QueueEndpoint=${endpoint}`, undefined);
  if (access.kind === 'invalid') throw new Error(access.problem);
  return {
    service: createQueueService(access, systemClock, deadlineMs),
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const CALLS: {
  readonly [method in keyof QueueService]: (service: QueueService, signal?: AbortSignal) => Promise<unknown>;
} = {
  receive: (service, signal) => service.receive('acme-tasks', 1, 60, signal),
  hasMessages: (service, signal) => service.hasMessages('acme-tasks', signal),
  renew: (service, signal) => service.renew('acme-tasks', 'id', 'receipt', 60, signal),
  remove: (service, signal) => service.remove('acme-tasks', 'id', 'receipt', signal),
  put: (service, signal) => service.put('acme-tasks', 'text', -1, signal),
  exists: (service, signal) => service.exists('acme-tasks', signal),
  list: (service, signal) => service.list(signal),
  ensureQueue: (service, signal) => service.ensureQueue('acme-tasks', signal),
};

// At once: should deadlines be lost, all wait as long as a test may, and not one after the other.
test.concurrent.each(Object.entries(CALLS))(
  'I12: %s: a server that never answers is waited for until the deadline, or the signal',
  async (_, call) => {
    await using server = await serve(() => undefined, 60);
    await expect(call(server.service)).rejects.toMatchObject({ name: 'ServiceError', kind: 'unknown' });
    await using patient = await serve(() => undefined, 60_000);
    const stop = new AbortController();
    const waiting = call(patient.service, stop.signal);
    setTimeout(() => stop.abort(), 20);
    await expect(waiting).rejects.toMatchObject({ kind: 'unknown' });
  },
);

describe.each(Object.entries(CALLS))('%s', (_, call) => {
  test('is tried once: a repetition could hide messages, or turn a lost success into not-found', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(503, { 'x-ms-error-code': 'ServerBusy' });
      response.end();
    }, 10_000);
    await expect(call(server.service)).rejects.toMatchObject({ kind: 'throttled', code: 'ServerBusy' });
    expect(server.requests()).toBe(1);
  });
});
