import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { storageAccess } from '../../queue/access.ts';
import { createReadResult } from './stored-result.ts';

/** A Blob service that answers as told, and a reader that waits for it so long. */
async function serve(answer: RequestListener, deadlineMs = 30_000) {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/acme`;
  const access = storageAccess(
    `AccountName=acme;AccountKey=c2VjcmV0;QueueEndpoint=${base};BlobEndpoint=${base}`,
    undefined,
  );
  if (access.kind === 'invalid') throw new Error(access.problem);
  const clock = {
    ...systemClock,
    deadline: (_: number, parent?: AbortSignal) => systemClock.deadline(deadlineMs, parent),
  };
  const read = createReadResult(access, clock);
  return {
    read: (url = `${base}/results/a/b.json`) => read(url, new AbortController().signal),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const holds =
  (text: string, length = Buffer.byteLength(text)): RequestListener =>
  (request, response) => {
    const range = request.method === 'GET' ? { 'content-range': `bytes 0-${length - 1}/${length}` } : {};
    response.writeHead(request.method === 'GET' ? 206 : 200, { 'content-length': length, etag: '"1"', ...range });
    response.end(request.method === 'GET' ? text : undefined);
  };

describe('a result that lies in Blob', () => {
  test('is read', async () => {
    await using server = await serve(holds('{"pages":3}'));
    expect(await server.read()).toEqual({ kind: 'found', value: { pages: 3 } });
  });

  test.each<[what: string, answer: RequestListener]>([
    ['is not there', (_, response) => response.writeHead(404).end()],
    ['is too large to send', holds('', 9_000_000)],
  ])('is missing when it %s', async (_, answer) => {
    await using server = await serve(answer);
    expect(await server.read()).toMatchObject({ kind: 'missing' });
  });

  test('is missing when it lies elsewhere: the operator fetches nothing that a report names', async () => {
    let asked = 0;
    await using server = await serve((_, response) => {
      asked++;
      response.end();
    });
    for (const url of [
      'http://127.0.0.1:1/acme/r/x',
      'file:///etc/passwd',
      'https://other.blob.core.windows.net/r/x',
      '',
    ])
      expect(await server.read(url)).toMatchObject({ kind: 'missing' });
    expect(asked).toBe(0);
  });

  test('cannot be read with a SAS for queues', async () => {
    const access = storageAccess(undefined, 'https://acme.queue.core.windows.net/?sig=x');
    if (access.kind === 'invalid') throw new Error(access.problem);
    const read = createReadResult(access, systemClock);
    expect(await read('https://acme.blob.core.windows.net/r/x', new AbortController().signal)).toMatchObject({
      kind: 'missing',
    });
  });

  test.each<[what: string, answer: RequestListener]>([
    ['is busy', (_, response) => response.writeHead(503).end()],
    ['refuses', (_, response) => response.writeHead(403).end()],
  ])('may come later when the service %s', async (_, answer) => {
    await using server = await serve(answer);
    expect(await server.read()).toMatchObject({ kind: 'later' });
  });

  test('I12: is not waited for longer than the deadline', async () => {
    await using server = await serve(() => undefined, 60);
    expect(await server.read()).toMatchObject({ kind: 'later' });
  });
});
