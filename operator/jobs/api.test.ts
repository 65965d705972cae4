import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import type { ErrorKind } from '../../lib/errors.ts';
import { createKubernetesApi } from './api.ts';

const TOKEN = 'c2VjcmV0LXRva2Vu';

/** An API server that answers as told, and what it was asked. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void, deadlineMs = 10_000) {
  const requests: { line: string; headers: IncomingMessage['headers']; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      requests.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
      answer(request, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [
      { name: 'c', server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, skipTLSVerify: true },
    ],
    users: [{ name: 'u', token: TOKEN }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  return {
    api: createKubernetesApi(config, systemClock, deadlineMs),
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const get = { method: 'GET', path: '/api/v1/things' } as const;

test('a request is JSON with credentials, query and content type, and its answer is read as JSON', async () => {
  await using server = await serve((_, response) => response.end('{"kind":"Thing"}'));
  expect(await server.api.request({ ...get, query: { labelSelector: 'a=b,c', limit: 5 } })).toEqual({ kind: 'Thing' });
  const patch = { method: 'PATCH', path: '/x', body: { a: 1 }, contentType: 'application/merge-patch+json' } as const;
  await server.api.request(patch);
  expect(server.requests[0]).toMatchObject({
    line: 'GET /api/v1/things?labelSelector=a%3Db%2Cc&limit=5',
    headers: { authorization: `Bearer ${TOKEN}`, accept: 'application/json' },
    body: '',
  });
  expect(server.requests[1]).toMatchObject({
    line: 'PATCH /x',
    headers: { 'content-type': 'application/merge-patch+json' },
    body: '{"a":1}',
  });
});

describe('a refusal', () => {
  const table: readonly (readonly [status: number, reason: string | undefined, kind: ErrorKind])[] = [
    [400, 'BadRequest', 'invalid'],
    [401, 'Unauthorized', 'forbidden'],
    [403, 'Forbidden', 'forbidden'],
    [404, 'NotFound', 'not-found'],
    [409, 'AlreadyExists', 'conflict'],
    [409, 'Conflict', 'conflict'],
    [410, 'Expired', 'conflict'],
    [413, 'RequestEntityTooLarge', 'invalid'],
    [422, 'Invalid', 'invalid'],
    [429, 'TooManyRequests', 'throttled'],
    [500, 'InternalError', 'unavailable'],
    [503, 'ServiceUnavailable', 'unavailable'],
    [504, 'Timeout', 'unavailable'],
    [502, undefined, 'unavailable'],
    [301, undefined, 'invalid'],
  ];
  test.each(table)('%i %s is %s', async (status, reason, kind) => {
    await using server = await serve((_, response) => {
      response.statusCode = status;
      response.setHeader('retry-after', '7');
      response.end(reason === undefined ? '<html>' : JSON.stringify({ kind: 'Status', reason, message: 'because' }));
    });
    const error = await server.api.request(get).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'ServiceError', kind, code: reason ?? String(status), retryAfterMs: 7000 });
    expect(String(error)).toContain(reason === undefined ? `HTTP ${status}` : 'because');
    expect(JSON.stringify(error) + String(error)).not.toContain(TOKEN);
  });
});

describe('I12: a call ends', () => {
  test('at its deadline, when the server never answers', async () => {
    await using server = await serve(() => undefined, 60);
    await expect(server.api.request(get)).rejects.toMatchObject({ kind: 'unknown', code: 'TimeoutError' });
  });

  test('at its deadline, when the answer never ends', async () => {
    await using server = await serve((_, response) => void response.write('{"items":['), 60);
    await expect(server.api.request(get)).rejects.toMatchObject({ kind: 'unknown' });
  });

  test('at its deadline, when the credential plugin of the kubeconfig hangs', async () => {
    const config = new KubeConfig();
    config.loadFromOptions({
      clusters: [{ name: 'c', server: 'http://127.0.0.1:1', skipTLSVerify: true }],
      users: [{ name: 'u', exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sleep', args: ['1'] } }],
      contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
      currentContext: 'x',
    });
    const error = await createKubernetesApi(config, systemClock, 60)
      .request(get)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ kind: 'unknown', code: 'TimeoutError' });
  });

  test('with its signal', async () => {
    await using server = await serve(() => undefined, 60_000);
    const stop = new AbortController();
    const waiting = server.api.request({ ...get, signal: stop.signal });
    setTimeout(() => stop.abort(), 20);
    await expect(waiting).rejects.toMatchObject({ kind: 'unknown' });
  });
});

test.each<[what: string, answer: (response: ServerResponse) => void]>([
  ['a connection that breaks', (response) => response.destroy()],
  ['an answer that is no JSON', (response) => response.end('<html>')],
])('without a usable answer it is unknown whether the server did it: %s', async (_, answer) => {
  await using server = await serve((_request, response) => answer(response));
  await expect(server.api.request(get)).rejects.toMatchObject({ kind: 'unknown' });
});

describe('lines', () => {
  test('come whole, however the answer is cut, and end with it', async () => {
    await using server = await serve((_, response) => {
      const bytes = Buffer.from('{"a":"漢"}\n{"b":2}\n\n{"c":3}\n');
      response.write(bytes.subarray(0, 7));
      setTimeout(() => response.write(bytes.subarray(7, 13)), 10);
      setTimeout(() => response.end(bytes.subarray(13)), 20);
    });
    const lines: string[] = [];
    for await (const line of server.api.lines({ ...get, signal: AbortSignal.timeout(5000) })) lines.push(line);
    expect(lines).toEqual(['{"a":"漢"}', '{"b":2}', '{"c":3}']);
  });

  test('I12: end with the signal, and a refusal is told as such', async () => {
    await using server = await serve((request, response) => {
      if (request.url === '/gone') response.writeHead(410).end('{"reason":"Expired"}');
      else response.write('{"a":1}\n');
    });
    const read = async (path: string, signal: AbortSignal) => {
      for await (const _ of server.api.lines({ method: 'GET', path, signal }));
    };
    await expect(read('/x', AbortSignal.timeout(60))).rejects.toBeDefined();
    await expect(read('/gone', AbortSignal.timeout(5000))).rejects.toMatchObject({ kind: 'conflict' });
  });
});
