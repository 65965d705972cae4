/** `/healthz`, `/readyz` and `/metrics`. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Check, Health } from './health.ts';
import type { Metrics } from './metrics.ts';

/** A running server. */
export interface HttpServer {
  readonly port: number;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves health and metrics.
 *
 * @param port 0 for any free one
 * @param refresh brings gauges up to date before they are read
 */
export async function serveHttp(
  port: number,
  health: Health,
  metrics: Metrics,
  refresh: () => void,
): Promise<HttpServer> {
  const server: Server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/healthz') return answerChecks(response, health.liveness());
    if (path === '/readyz') return answerChecks(response, health.readiness());
    if (path !== '/metrics')
      return answer(response, 404, 'text/plain', 'not found: there are /healthz, /readyz and /metrics\n');
    refresh();
    metrics.registry.metrics().then(
      (text) => answer(response, 200, metrics.registry.contentType, text),
      () => answer(response, 500, 'text/plain', 'the metrics could not be read\n'),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answerChecks(response: ServerResponse, checks: readonly Check[]): void {
  const ok = checks.every((check) => check.ok);
  answer(response, ok ? 200 : 503, 'application/json', `${JSON.stringify({ ok, checks }, null, 2)}\n`);
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type });
  response.end(body);
}
