import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Fault, type FaultProxy, startFaultProxy } from '#/testing/fault-proxy.ts';
import { azureError } from '#/testing/fault-servers.ts';

/** A server behind a proxy, and what reached it. */
interface Bench extends AsyncDisposable {
  readonly proxy: FaultProxy;
  /** Method, path and body of each request. */
  readonly reached: readonly string[];
  /** Connections that the server has. */
  connections(): Promise<number>;
}

const LINES = 'one\ntwo\nthree\nfour\n';

/** `/empty` answers 204, `/stream` a line and then nothing for ever, anything else four lines. */
function respond(path: string, response: ServerResponse): void {
  if (path === '/empty') response.writeHead(204).end();
  else if (path === '/stream') response.writeHead(200).write('one\n');
  else response.writeHead(200, { 'content-length': LINES.length }).end(LINES);
}

async function bench(script?: () => Fault | undefined): Promise<Bench> {
  const reached: string[] = [];
  const server = createServer(async (incoming: IncomingMessage, response) => {
    let body = '';
    for await (const chunk of incoming) body += chunk;
    reached.push(`${incoming.method} ${incoming.url} ${body}`);
    respond(incoming.url ?? '', response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const proxy = await startFaultProxy({ upstream, operationOf: (method, path) => `${method} ${path.split('?')[0]}` });
  proxy.use(script);
  return {
    proxy,
    reached,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Seen {
  readonly status?: number;
  readonly text: string;
  readonly end: 'whole' | 'broken' | 'open';
}

/** What a client gets; `end`: how it went out, which is `open` when nothing more has come for so long. */
async function call(
  { proxy }: Bench,
  path: string,
  { body, openAfterMs = 20_000 }: { readonly body?: string; readonly openAfterMs?: number } = {},
): Promise<Seen> {
  let status: number | undefined;
  let text = '';
  const asked = request(`${proxy.url}${path}`, { method: body === undefined ? 'GET' : 'POST', agent: false });
  asked.end(body);
  const ended = new Promise<'whole' | 'broken'>((resolve) => {
    asked.once('error', () => resolve('broken'));
    asked.once('response', (answer) => {
      status = answer.statusCode;
      answer.on('data', (chunk) => {
        text += chunk;
      });
      answer.once('end', () => resolve('whole'));
      answer.once('error', () => resolve('broken'));
    });
  });
  const end = await Promise.race([ended, delay(openAfterMs, 'open' as const)]);
  asked.destroy();
  return { ...(status === undefined ? {} : { status }), text, end };
}

test('without a script everything passes, and is noted', async () => {
  await using through = await bench();
  expect(await call(through, '/a?b=%2B', { body: 'grüße' })).toEqual({ status: 200, text: LINES, end: 'whole' });
  expect(through.reached).toEqual(['POST /a?b=%2B grüße']);
  expect(through.proxy.requests).toMatchObject([
    { method: 'POST', path: '/a?b=%2B', operation: 'POST /a', fault: undefined, at: expect.any(Number) },
  ]);
  expect(through.proxy.injected()).toBe(0);
});

describe('what a client sees of a fault, and whether its request reached the server', () => {
  const busy = azureError(503);
  test.each<[string, string, Fault, Seen, boolean]>([
    [
      'status 503',
      '/',
      busy,
      { status: 503, text: expect.stringContaining('<Code>ServerBusy</Code>'), end: 'whole' },
      false,
    ],
    ['hang', '/', { kind: 'hang' }, { text: '', end: 'open' }, false],
    ['reset', '/', { kind: 'reset' }, { text: '', end: 'broken' }, false],
    ['lost-reply', '/', { kind: 'lost-reply' }, { text: '', end: 'broken' }, true],
    ['lost-reply', '/stream', { kind: 'lost-reply' }, { text: '', end: 'broken' }, true],
    ['half-open', '/', { kind: 'half-open' }, { status: 200, text: '', end: 'open' }, true],
    ['half-open', '/', { kind: 'half-open', lines: 2 }, { status: 200, text: 'one\ntwo\n', end: 'open' }, true],
    ['half-open', '/empty', { kind: 'half-open' }, { text: '', end: 'open' }, true],
    ['truncate', '/', { kind: 'truncate' }, { status: 200, text: 'one\ntwo\nth', end: 'broken' }, true],
    ['truncate', '/stream', { kind: 'truncate' }, { status: 200, text: 'on', end: 'broken' }, true],
    ['truncate', '/empty', { kind: 'truncate' }, { text: '', end: 'broken' }, true],
    ['slow', '/', { kind: 'slow', ms: 30 }, { status: 200, text: LINES, end: 'whole' }, true],
    [
      'edit-lines',
      '/',
      { kind: 'edit-lines', edit: (line) => (line === 'two' ? undefined : line.toUpperCase()) },
      { status: 200, text: 'ONE\nTHREE\nFOUR\n', end: 'whole' },
      true,
    ],
  ])('%s of %s', async (name, path, fault, seen, reaches) => {
    await using through = await bench(() => fault);
    const { end } = seen;
    expect(await call(through, path, end === 'open' ? { openAfterMs: 1000 } : {})).toEqual(seen);
    expect(through.reached).toEqual(reaches ? [`GET ${path} `] : []);
    expect(through.proxy.injected()).toBe(1);
    expect(through.proxy.injected(name, `GET ${path}`)).toBe(1);
    expect(through.proxy.injected(name, 'GET /other')).toBe(0);
    expect(through.proxy.requests).toMatchObject([{ fault: name }]);
    // The next request is none of the fault's business.
    through.proxy.use(undefined);
    expect(await call(through, '/')).toEqual({ status: 200, text: LINES, end: 'whole' });
    expect(through.proxy.injected()).toBe(1);
  });
});

test('an answer under way can be silenced, and every connection be reset', async () => {
  await using through = await bench();
  const silent = call(through, '/stream', { openAfterMs: 1000 });
  await expect.poll(() => through.reached.length).toBe(1);
  through.proxy.silence();
  expect(await silent).toMatchObject({ end: 'open' });
  const reset = call(through, '/stream');
  await expect.poll(() => through.reached.length).toBe(2);
  through.proxy.resetConnections();
  expect(await reset).toMatchObject({ end: 'broken' });
});

test('what a server did is told, though the client that asked for it has died meanwhile', async () => {
  const { promise: reached, resolve: reach } = Promise.withResolvers<ServerResponse>();
  await using stack = new AsyncDisposableStack();
  const server = createServer((_, response) => reach(response)).listen(0, '127.0.0.1');
  stack.defer(() => void server.close());
  await once(server, 'listening');
  const { promise: told, resolve: tell } = Promise.withResolvers<number>();
  const proxy = stack.use(
    await startFaultProxy({
      upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      operationOf: (method) => method,
      observe: ({ status }) => tell(status),
    }),
  );
  const client = request(`${proxy.url}/message`, { method: 'DELETE' }).on('error', () => undefined);
  client.end();
  const response = await reached;
  client.destroy();
  await delay(20);
  response.writeHead(204).end();
  expect(await told).toBe(204);
});

test('a server that does not answer at all is a broken connection', async () => {
  await using proxy = await startFaultProxy({ upstream: 'http://127.0.0.1:1', operationOf: (method) => method });
  await expect(fetch(proxy.url)).rejects.toThrow('fetch failed');
});

test('disposing of it ends what hangs, and leaves no connection to the server', async () => {
  await using through = await bench();
  const streaming = call(through, '/stream');
  await expect.poll(() => through.reached.length).toBe(1);
  through.proxy.use(() => ({ kind: 'hang' }));
  const hanging = call(through, '/');
  await expect.poll(() => through.proxy.injected('hang')).toBe(1);
  await through.proxy[Symbol.asyncDispose]();
  expect(await streaming).toMatchObject({ end: 'broken' });
  expect(await hanging).toMatchObject({ end: 'broken' });
  await expect.poll(through.connections).toBe(0);
  // A second time is harmless: `through` disposes of it too.
});
