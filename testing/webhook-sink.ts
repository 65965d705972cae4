/** An HTTP server that stands for a backend: it records what it gets and answers as it is told. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** A request as it arrived. */
interface ReceivedWebhook {
  /** The sender's IP address. */
  readonly from: string;
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What to answer. `hang`: never; `trickle`: a header byte now and then, for ever; `reset`: close the connection without an answer. */
type SinkAnswer =
  | 'hang'
  | 'trickle'
  | 'reset'
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
      readonly delayMs?: number;
    };

/** A running sink. */
export interface WebhookSink extends AsyncDisposable {
  /** `http://HOST:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Everything received so far, in order of arrival. */
  readonly requests: readonly ReceivedWebhook[];
  /** Answers of a path (without query), one a request, the last one from then on. Other paths answer 204. */
  answer(path: string, ...answers: readonly [SinkAnswer, ...SinkAnswer[]]): void;
  /** Waits until `count` requests of the path have arrived and gives them; fails after `timeoutMs`. */
  waitFor(path: string, count?: number, timeoutMs?: number): Promise<readonly ReceivedWebhook[]>;
}

/** Starts a sink on a free port, of 127.0.0.1 unless another `host` is given. */
export async function startWebhookSink(host = '127.0.0.1'): Promise<WebhookSink> {
  const requests: ReceivedWebhook[] = [];
  const programs = new Map<string, SinkAnswer[]>();
  const closing = new AbortController();
  const next = (path: string): SinkAnswer => {
    const program = programs.get(path) ?? [];
    return (program.length > 1 ? program.shift() : program[0]) ?? { status: 204 };
  };
  const server = createServer((request, response) => {
    receive(request).then((received) => {
      requests.push(received);
      return reply(response, next(pathOf(received)), closing.signal);
    }, ignoreCutRequest);
  });
  const port = await new Promise<number>((done, fail) => {
    server.once('error', fail);
    server.listen(0, host, () => {
      const address = server.address();
      done(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  const ofPath = (path: string) => requests.filter((received) => pathOf(received) === path);
  return {
    url: `http://${host}:${port}`,
    port,
    requests,
    answer: (path, ...answers) => void programs.set(path, [...answers]),
    async waitFor(path, count = 1, timeoutMs = 10_000) {
      for (let waitedMs = 0; ofPath(path).length < count; waitedMs += 10) {
        if (waitedMs >= timeoutMs) throw new Error(`${ofPath(path).length} of ${count} webhooks at ${path}`);
        await delay(10);
      }
      return ofPath(path);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

function pathOf({ path }: ReceivedWebhook): string {
  return path.split('?', 1)[0] ?? '';
}

async function receive(request: IncomingMessage): Promise<ReceivedWebhook> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return {
    from: request.socket.remoteAddress ?? '',
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    body: Buffer.concat(chunks).toString('utf8'),
  };
}

async function reply(response: ServerResponse, answer: SinkAnswer, closing: AbortSignal): Promise<void> {
  if (answer === 'hang') return;
  if (answer === 'reset') return void response.socket?.resetAndDestroy();
  if (answer === 'trickle') return trickle(response, closing);
  if (answer.delayMs !== undefined) await delay(answer.delayMs, undefined, { signal: closing }).catch(() => undefined);
  response.writeHead(answer.status, { ...answer.headers });
  response.end(answer.body);
}

async function trickle(response: ServerResponse, closing: AbortSignal): Promise<void> {
  const { socket } = response;
  socket?.write('HTTP/1.1 200 OK\r\nx-trickle: ');
  while (socket?.writable && !closing.aborted) {
    socket.write('a');
    await delay(50, undefined, { signal: closing }).catch(() => undefined);
  }
}

/** A client that goes away in the middle of its request concerns nobody. */
function ignoreCutRequest(): void {}
