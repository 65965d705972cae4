/**
 * A proxy that does to requests what a script says: a real HTTP server on loopback in front of a real one, so that
 * faults happen where they happen in life, on the wire, and the product's own clients have to cope with them.
 */
import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * What is done to a request. Those that "do not reach the server" have no effect there; all others have their effect.
 */
export type Fault =
  /** Answered by the proxy; does not reach the server. `name` is what it is counted as. */
  | {
      readonly kind: 'answer';
      readonly name: string;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  /** Accepted, and never answered; does not reach the server. */
  | { readonly kind: 'hang' }
  /** The connection is reset; does not reach the server. */
  | { readonly kind: 'reset' }
  /** The server's answer is thrown away and the connection reset. */
  | { readonly kind: 'lost-reply' }
  /**
   * The answer's head arrives (where there is no body: a part of the head) and `lines` lines, then nothing more; the
   * connection stays.
   */
  | { readonly kind: 'half-open'; readonly lines?: number }
  /**
   * Half of the answer's first part arrives (where there is no body: a part of the head), then the connection is
   * closed.
   */
  | { readonly kind: 'truncate' }
  /** All arrives, but the request only after `ms`. */
  | { readonly kind: 'slow'; readonly ms: number }
  /**
   * All arrives, but each line of the body as `edit` gives it; undefined drops the line, and only that counts as a
   * fault.
   */
  | { readonly kind: 'edit-lines'; readonly edit: (line: string) => string | undefined };

/** A request that came. */
export interface ProxiedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** What it asks for, by the proxy's `operationOf`. */
  readonly operation: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** What was done to it: the fault's name; undefined when it was passed on. */
  readonly fault: string | undefined;
}

/** A request that the server has answered, whatever became of the answer then. */
export interface AnsweredRequest extends ProxiedRequest {
  readonly body: Buffer;
  /** The server's. */
  readonly status: number;
}

/** Decides about each request when it has arrived whole. */
export type FaultScript = (request: Omit<ProxiedRequest, 'fault'>) => Fault | undefined;

/** What a proxy is started with. */
export interface FaultProxyOptions {
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly upstream: string;
  /** PEM certificates that the server's is checked against. */
  readonly ca?: string;
  /** Names what a request asks for. */
  readonly operationOf: (method: string, path: string) => string;
  /** Is told of each request that the server has answered. */
  readonly observe?: (request: AnsweredRequest) => void;
}

/** A running proxy. Disposing of it destroys every connection, on both sides. */
export interface FaultProxy extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Everything that came, in order. */
  readonly requests: readonly ProxiedRequest[];
  /** The script from now on; undefined passes everything on. */
  use(script: FaultScript | undefined): void;
  /**
   * How often a fault (all faults) was really done to an operation (to all): a lost reply counts when the server had
   * answered, a dropped line when there was one.
   */
  injected(fault?: string, operation?: string): number;
  /** Resets every connection there is. */
  resetConnections(): void;
  /** Lets every answer that is under way go silent: nothing more arrives, not even its end. */
  silence(): void;
}

/** The name a fault is counted as. */
export function faultName(fault: Fault): string {
  return fault.kind === 'answer' ? fault.name : fault.kind;
}

/** Starts a proxy on a free port that passes everything on until it gets a script. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { hostname, port, protocol } = new URL(options.upstream);
  // Azurite closes idle connections after 5 s: a request that met that would suffer a fault that nobody injected.
  const upstream =
    protocol === 'https:'
      ? { send: https.request, agent: new https.Agent({ keepAlive: true, ...(options.ca && { ca: options.ca }) }) }
      : { send: http.request, agent: new http.Agent({ keepAlive: false }) };
  const requests: ProxiedRequest[] = [];
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const underWay = new Set<Answer>();
  const closing = new AbortController();
  let script: FaultScript | undefined;

  /** Passes a request on; gives the head of the answer. */
  async function ask(request: IncomingMessage, body: Buffer, response: ServerResponse): Promise<IncomingMessage> {
    const { 'accept-encoding': _, connection: __, 'transfer-encoding': chunked, ...headers } = request.headers;
    const asked = upstream.send({
      agent: upstream.agent,
      hostname,
      port,
      method: request.method,
      path: request.url,
      headers: chunked === undefined ? headers : { ...headers, 'content-length': body.length },
      signal: closing.signal,
    });
    // A server finishes what it has begun, whoever waits for it: a client that dies meanwhile does not hide what was done.
    let isAnswered = false;
    response.once('close', () => isAnswered && asked.destroy());
    asked.end(body);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    isAnswered = true;
    // From here on the answer itself tells of a broken connection.
    asked.on('error', () => undefined);
    return answer;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await wholeBody(request);
    const { method = '', url: path = '' } = request;
    const seen = { method, path, operation: options.operationOf(method, path), at: Date.now() };
    const fault = script?.(seen);
    const asked = { ...seen, fault: fault && faultName(fault) };
    requests.push(asked);
    const askAndTell = async () => {
      const answer = await ask(request, body, response);
      options.observe?.({ ...asked, body, status: answer.statusCode ?? 0 });
      return answer;
    };
    const count = () => {
      if (fault === undefined) return;
      const cell = cellOf(faultName(fault), seen.operation);
      counts.set(cell, (counts.get(cell) ?? 0) + 1);
    };
    switch (fault?.kind) {
      case 'answer':
        response.once('finish', count);
        response.writeHead(fault.status, fault.headers).end(fault.body);
        return;
      case 'hang':
        return count();
      case 'reset':
        count();
        request.socket.resetAndDestroy();
        return;
      case 'lost-reply': {
        const answer = await askAndTell();
        count();
        answer.destroy();
        request.socket.resetAndDestroy();
        return;
      }
      case 'slow':
        await delay(fault.ms, undefined, { signal: closing.signal });
        count();
    }
    const told = await askAndTell();
    if (response.destroyed) {
      told.destroy();
      return;
    }
    const answer = new Answer(told, response, fault, count);
    underWay.add(answer);
    response.once('close', () => underWay.delete(answer));
    answer.deliver();
  }

  const server = createServer((request, response) => {
    // A server that breaks off, or a client that has gone away: the other side is told the same way.
    handle(request, response).catch(() => response.destroy());
  });
  // Never closed for being idle, for the same reason as above.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    use: (next) => {
      script = next;
    },
    injected: (fault, operation) =>
      [...counts]
        .filter(([cell]) => cell === cellOf(fault ?? cell.split(SEPARATOR)[0], operation ?? cell.split(SEPARATOR)[1]))
        .reduce((sum, [, times]) => sum + times, 0),
    resetConnections: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    silence: () => {
      for (const answer of underWay) answer.silence();
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      upstream.agent.destroy();
    },
  };
}

const SEPARATOR = ' of ';

function cellOf(fault = '', operation = ''): string {
  return `${fault}${SEPARATOR}${operation}`;
}

/** Headers of one connection, not of the answer. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding'];
const NEWLINE = 0x0a;

/** An answer on its way to the client. */
class Answer {
  readonly #from: IncomingMessage;
  readonly #to: ServerResponse;
  readonly #fault: Fault | undefined;
  readonly #count: () => void;
  #silent = false;

  constructor(from: IncomingMessage, to: ServerResponse, fault: Fault | undefined, count: () => void) {
    this.#from = from;
    this.#to = to;
    this.#fault = fault;
    this.#count = count;
  }

  deliver(): void {
    const [from, to] = [this.#from, this.#to];
    to.once('close', () => from.destroy());
    from.on('error', () => to.destroy());
    if (!hasBody(from) && (this.#fault?.kind === 'half-open' || this.#fault?.kind === 'truncate')) {
      this.#partOfHead();
      return;
    }
    const { 'content-length': length, ...headers } = headersOf(from);
    const edited = this.#fault?.kind === 'edit-lines' || length === undefined;
    to.writeHead(from.statusCode ?? 0, edited ? headers : { ...headers, 'content-length': length });
    to.flushHeaders();
    const take = this.#taker();
    from.on('data', (chunk: Buffer) => {
      if (!this.#silent) take(chunk);
    });
    from.once('end', () => {
      if (!this.#silent) to.end();
    });
  }

  silence(): void {
    this.#silent = true;
  }

  /** What is done with each part of the body. */
  #taker(): (chunk: Buffer) => void {
    const [to, fault] = [this.#to, this.#fault];
    switch (fault?.kind) {
      case 'half-open': {
        let left = fault.lines ?? 0;
        const stopAfterTheLast = () => {
          if (left > 0) return;
          this.silence();
          this.#count();
        };
        stopAfterTheLast();
        return (chunk) => {
          let end = 0;
          while (left > 0 && end < chunk.length) if (chunk[end++] === NEWLINE) left--;
          to.write(chunk.subarray(0, end));
          stopAfterTheLast();
        };
      }
      case 'truncate':
        return (chunk) => {
          this.silence();
          to.write(chunk.subarray(0, Math.ceil(chunk.length / 2)), () => this.#close());
        };
      case 'edit-lines': {
        let rest = '';
        return (chunk) => {
          const lines = (rest + chunk.toString('utf8')).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) {
            const edited = fault.edit(line);
            if (edited === undefined) this.#count();
            else to.write(`${edited}\n`);
          }
        };
      }
      default:
        return (chunk) => void to.write(chunk);
    }
  }

  /** An answer without a body is whole with its head. */
  #partOfHead(): void {
    const { statusCode, statusMessage } = this.#from;
    this.#to.socket?.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\ncontent-`, () => {
      if (this.#fault?.kind === 'truncate') this.#close();
      else this.#count();
    });
    this.silence();
  }

  /** Closes the connection when what was written has left; a reset could overtake it. */
  #close(): void {
    this.#count();
    this.#to.socket?.destroySoon();
  }
}

function headersOf(answer: IncomingMessage): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}

function hasBody({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode !== 204 && headers['content-length'] !== '0';
}

async function wholeBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
