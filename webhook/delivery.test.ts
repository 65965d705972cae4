import { createServer } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { startWebhookSink, type WebhookSink } from '../testing/webhook-sink.ts';
import type { Resolve } from './address-guard.ts';
import { deliver, type WebhookRequest } from './delivery.ts';

let sink: WebhookSink;
beforeAll(async () => {
  sink = await startWebhookSink();
});
afterAll(() => sink[Symbol.asyncDispose]());

const request = (path: string, changes: Partial<WebhookRequest> = {}): WebhookRequest => ({
  url: `${sink.url}${path}`,
  id: 'abc_completed',
  body: '{"status":"completed","text":"Grüße"}',
  secrets: [],
  allow: ['127.0.0.0/8'],
  timeoutMs: 2000,
  ...changes,
});
const send = (path: string, changes?: Partial<WebhookRequest>) => deliver(request(path, changes), systemClock);

describe('what is sent', () => {
  test('the body byte for byte, signed over these bytes', async () => {
    const text = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    expect(await send('/signed?token=t', { secrets: [new Secret(text)] })).toEqual({ kind: 'delivered', status: 204 });
    const [received] = await sink.waitFor('/signed');
    expect(received).toMatchObject({ method: 'POST', path: '/signed?token=t', body: request('').body });
    expect(received?.headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(request('').body)),
      'user-agent': expect.stringMatching(/^slipway\/\d/),
      'webhook-id': 'abc_completed',
    });
    const headers = Object.fromEntries(
      Object.entries(received?.headers ?? {}).map(([name, value]) => [name, String(value)]),
    );
    expect(new Webhook(text).verify(received?.body ?? '', headers)).toEqual(JSON.parse(request('').body));
  });

  test('credentials of the URL as basic authentication', async () => {
    await send('/auth', { url: sink.url.replace('http://', 'http://user:p%40ss@').concat('/auth') });
    const [received] = await sink.waitFor('/auth');
    expect(received?.headers.authorization).toBe(`Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  });
});

describe('what an answer means', () => {
  test.each([200, 201, 202, 204, 299])('%i: delivered', async (status) => {
    sink.answer(`/s${status}`, { status });
    expect(await send(`/s${status}`)).toEqual({ kind: 'delivered', status });
  });

  test.each([400, 410, 413, 422])('%i: final', async (status) => {
    sink.answer(`/s${status}`, { status });
    expect(await send(`/s${status}`)).toEqual({ kind: 'refused', detail: `${sink.url} answered ${status}` });
  });

  test.each([401, 403, 404, 408, 409, 429, 500, 502, 503, 504, 599])('%i: retried', async (status) => {
    sink.answer(`/s${status}`, { status });
    expect(await send(`/s${status}`)).toEqual({ kind: 'retry', detail: `${sink.url} answered ${status}` });
  });

  test.each([301, 302, 303, 307, 308])(
    '%i: not followed, its Location shown without query and credentials',
    async (status) => {
      sink.answer(`/r${status}`, { status, headers: { location: 'http://u:p@127.0.0.1:1/next?sig=secret' } });
      const result = await send(`/r${status}`);
      expect(result).toMatchObject({
        kind: 'retry',
        detail: expect.stringContaining('with Location http://127.0.0.1:1/next; '),
      });
      expect(JSON.stringify(result)).not.toMatch(/secret|u:p/);
    },
  );

  test('a redirect without a Location, or with one that is none', async () => {
    sink.answer('/none', { status: 302 }, { status: 302, headers: { location: 'http://' } });
    for (let i = 0; i < 2; i++) {
      expect(await send('/none')).toMatchObject({
        kind: 'retry',
        detail: expect.stringContaining('answered 302; redirects are not'),
      });
    }
  });

  test('Retry-After in seconds, as a date, and in words', async () => {
    const inAnHour = new Date(systemClock.now() + 3_600_000).toUTCString();
    const answer = (value: string) => ({ status: 503, headers: { 'retry-after': value } });
    sink.answer('/later', answer('7'), answer(inAnHour), answer('soon'));
    expect(await send('/later')).toMatchObject({ retryAfterMs: 7000 });
    const dated = await send('/later');
    expect(dated.kind === 'retry' && dated.retryAfterMs).toBeGreaterThan(3_590_000);
    expect(await send('/later')).toEqual({ kind: 'retry', detail: `${sink.url} answered 503` });
  });

  test('a body without end is not waited for', async () => {
    const started = performance.now();
    await using server = await rawServer('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n', 'x'.repeat(5000));
    expect(await deliver(request('', { url: server.url }), systemClock)).toEqual({ kind: 'delivered', status: 200 });
    // A large one is left for its size, not for the time it takes.
    expect(performance.now() - started).toBeLessThan(900);
    await using slow = await rawServer('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n', 'x');
    expect(await deliver(request('', { url: slow.url, timeoutMs: 10_000 }), systemClock)).toEqual({
      kind: 'delivered',
      status: 200,
    });
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

describe('what goes wrong', () => {
  test('a server that never answers, and one that trickles its headers', async () => {
    for (const answer of ['hang', 'trickle'] as const) {
      sink.answer(`/${answer}`, answer);
      const started = performance.now();
      expect(await send(`/${answer}`, { timeoutMs: 300 })).toEqual({
        kind: 'retry',
        detail: `${sink.url}: no answer within 300 ms`,
      });
      expect(performance.now() - started).toBeLessThan(1500);
    }
  });

  test('a reset connection, a closed port, and what is no HTTP', async () => {
    sink.answer('/reset', 'reset');
    expect(await send('/reset')).toMatchObject({ kind: 'retry', detail: expect.stringMatching(/ECONNRESET|hang up/) });
    expect(await send('', { url: 'http://127.0.0.1:1/?sig=secret' })).toMatchObject({
      kind: 'retry',
      detail: 'http://127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1',
    });
    for (const answer of [
      'SSH-2.0-OpenSSH\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      '',
    ]) {
      await using server = await rawServer(answer, null);
      expect(await deliver(request('', { url: server.url }), systemClock)).toMatchObject({
        kind: 'retry',
        detail: expect.stringContaining(server.url),
      });
    }
  });

  test('headers without end', async () => {
    await using server = await rawServer(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}`, null);
    expect(await deliver(request('', { url: server.url }), systemClock)).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('overflow'),
    });
  });

  test('the caller stops', async () => {
    sink.answer('/stop', 'hang');
    const stop = new AbortController();
    const pending = deliver(request('/stop', { timeoutMs: 60_000 }), systemClock, stop.signal);
    await sink.waitFor('/stop');
    stop.abort();
    expect(await pending).toEqual({ kind: 'retry', detail: `${sink.url}: stopped before an answer came` });
    expect(await deliver(request('/stop'), systemClock, stop.signal)).toMatchObject({ kind: 'retry' });
  });

  test.each(['', 'hook', '/hook', 'ftp://example.com/', 'file:///etc/passwd'])('%j is no URL', async (url) => {
    expect(await send('', { url })).toEqual({
      kind: 'refused',
      detail: 'webhook_url is no absolute http or https URL',
    });
  });

  test('a URL whose credentials cannot be read', async () => {
    expect(await send('', { url: sink.url.replace('http://', 'http://%E0%A4%A@') })).toMatchObject({ kind: 'retry' });
  });
});

describe('addresses', () => {
  test.each([
    'http://127.0.0.1:9/',
    'http://localhost:9/',
    'http://2130706433:9/',
    'http://[::1]:9/',
    'http://[::ffff:127.0.0.1]:9/',
  ])('%s is not connected to', async (url) => {
    const result = await send('', { url, allow: [] });
    expect(result).toMatchObject({ kind: 'retry', detail: expect.stringContaining('webhook.allow') });
  });

  test('localhost is reached when it is allowed by name', async () => {
    const url = sink.url.replace('127.0.0.1', 'localhost').concat('/named');
    expect(await send('', { url, allow: ['localhost'] })).toEqual({ kind: 'delivered', status: 204 });
  });

  test('the address that was judged is the one that is connected to: there is one look-up', async () => {
    let asked = 0;
    // Public at first, then private: the rebinding attack.
    const rebinding: Resolve = (_host, done) =>
      done(null, [{ address: asked++ === 0 ? '127.0.0.1' : '8.8.8.8', family: 4 }]);
    const url = `http://rebind.example.com:${sink.port}/rebound`;
    expect(await deliver(request('', { url, allow: ['127.0.0.1'] }), systemClock, undefined, rebinding)).toEqual({
      kind: 'delivered',
      status: 204,
    });
    expect(asked).toBe(1);
    expect(sink.requests.at(-1)?.headers.host).toBe(`rebind.example.com:${sink.port}`);
  });

  test('a resolver that never answers', async () => {
    const result = await deliver(
      request('', { url: 'http://slow.example.com/', timeoutMs: 100 }),
      systemClock,
      undefined,
      () => {},
    );
    expect(result).toEqual({ kind: 'retry', detail: 'http://slow.example.com: no answer within 100 ms' });
  });
});

/** Answers every connection with `head`, then with `body` every 100 ms; null: closes instead. */
async function rawServer(head: string, body: string | null): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      if (body === null) return socket.end(head);
      socket.write(head);
      const timer = setInterval(() => socket.write(body), 100);
      return socket.on('close', () => clearInterval(timer));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => void server.close(() => done())),
  };
}
