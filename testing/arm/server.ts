/** The stand-in of service.ts over HTTP, and the SDK's client for it with and without a network. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  ContainerInstanceManagementClient,
  type ContainerInstanceManagementClientOptionalParams,
} from '@azure/arm-containerinstance';
import { type ArmOptions, type ArmService, createArm } from '#/testing/arm/service.ts';

/** A running stand-in. */
export interface ArmServer extends ArmService, AsyncDisposable {
  /** `http://HOST:PORT` */
  readonly url: string;
}

/** Starts it on a free port, of 127.0.0.1 unless another `host` is given. */
export async function startArm(options: ArmOptions, host = '127.0.0.1'): Promise<ArmServer> {
  const arm = createArm(options);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, hangs, body, retryAfterSeconds } = arm.handle(
      request.method ?? '',
      request.url ?? '',
      await wholeText(request),
    );
    if (hangs === true) return;
    if (status === 0) return void request.socket.destroy();
    response.writeHead(status, headers(retryAfterSeconds));
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.writeHead(599).end(String(error)));
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    ...arm,
    get groups() {
      return arm.groups;
    },
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The SDK's own client, whose requests are answered by a stand-in in this process: nothing waits but by the test's clock. */
export function clientFor(arm: Pick<ArmService, 'handle'>, subscriptionId = 's'): ContainerInstanceManagementClient {
  const client = new ContainerInstanceManagementClient({ getToken: async () => null }, subscriptionId, {
    endpoint: 'http://127.0.0.1',
    allowInsecureConnection: true,
    retryOptions: { maxRetries: 0 },
    httpClient: {
      sendRequest: async (request) => {
        const { pathname, search } = new URL(request.url);
        const { status, hangs, body, retryAfterSeconds } = arm.handle(
          request.method,
          `${pathname}${search}`,
          typeof request.body === 'string' ? request.body : '',
        );
        if (hangs === true)
          await new Promise((_, reject) => request.abortSignal?.addEventListener('abort', () => reject(abortError())));
        if (status === 0) throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
        return {
          request,
          status,
          headers: answerHeaders(headers(retryAfterSeconds)),
          bodyAsText: body === undefined ? null : JSON.stringify(body),
        };
      },
    },
  });
  // Over plain HTTP the SDK gives no token.
  client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
  return client;
}

/** As the SDK's own HTTP client ends a request that is given up. */
function abortError(): Error {
  return Object.assign(new Error('The operation was aborted.'), { name: 'AbortError' });
}

/** Headers as the SDK's pipeline has them. */
function answerHeaders(plain: Record<string, string>): HttpHeaders {
  const all = new Map(Object.entries(plain));
  return {
    get: (name) => all.get(name.toLowerCase()),
    has: (name) => all.has(name.toLowerCase()),
    set: (name, value) => void all.set(name.toLowerCase(), String(value)),
    delete: (name) => void all.delete(name.toLowerCase()),
    toJSON: () => Object.fromEntries(all),
    [Symbol.iterator]: () => all[Symbol.iterator](),
  };
}

type HttpHeaders = Awaited<
  ReturnType<NonNullable<ContainerInstanceManagementClientOptionalParams['httpClient']>['sendRequest']>
>['headers'];

function headers(retryAfterSeconds: number | undefined): Record<string, string> {
  return {
    'content-type': 'application/json; charset=utf-8',
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
  };
}

async function wholeText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
