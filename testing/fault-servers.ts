/**
 * The two servers that the operator calls, as a fault proxy has to know them: what a request asks for, and how an error
 * looks.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import { type Fault, type FaultProxy, type FaultProxyOptions, startFaultProxy } from '#/testing/fault-proxy.ts';

/** What is asked of Azure's queues; named as in queue/service.ts. */
export const QUEUE_OPERATIONS = ['receive', 'renew', 'remove', 'put', 'exists', 'list', 'ensureQueue'] as const;
export type QueueOperation = (typeof QUEUE_OPERATIONS)[number];

/** Codes that Azure's queues give with an HTTP status, where they have one. */
const AZURE_CODES: Readonly<Record<number, string>> = {
  400: 'InvalidQueryParameterValue',
  403: 'AuthenticationFailed',
  404: 'QueueNotFound',
  409: 'QueueBeingDeleted',
  500: 'InternalError',
  503: 'ServerBusy',
};
/** Reasons that the API server gives with an HTTP status. */
const API_REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
};

/** Waiting is asked for with these. */
const RETRY_AFTER = { 'retry-after': '1' };

/** An error of Azure's queues. Where the service has no code of its own (429: a gateway's answer) there is none. */
export function azureError(status: number, code = AZURE_CODES[status]): Fault {
  const xml = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>injected</Message></Error>`;
  return {
    kind: 'answer',
    name: code === AZURE_CODES[status] ? `status ${status}` : `status ${status} ${code}`,
    status,
    headers: {
      ...(status === 429 || status === 503 ? RETRY_AFTER : {}),
      ...(code === undefined
        ? { 'content-type': 'text/plain' }
        : { 'content-type': 'application/xml', 'x-ms-error-code': code }),
    },
    body: code === undefined ? 'injected' : xml,
  };
}

/** An error of the API server. */
export function apiError(status: number): Fault {
  return {
    kind: 'answer',
    name: `status ${status}`,
    status,
    headers: { 'content-type': 'application/json', ...(status === 429 ? RETRY_AFTER : {}) },
    body: JSON.stringify(statusObject(status)),
  };
}

/** A watch that is accepted, and ends with one event: an error. */
export function watchError(status: number): Fault {
  return {
    kind: 'answer',
    name: `ERROR event ${status}`,
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: `${JSON.stringify({ type: 'ERROR', object: statusObject(status) })}\n`,
  };
}

function statusObject(code: number): object {
  const reason = API_REASONS[code] ?? 'Unknown';
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: 'injected', reason, code };
}

/** A proxy in front of the queues of an Azurite, with the connection string that leads through it. */
export interface QueueProxy extends FaultProxy {
  readonly connectionString: string;
}

/**
 * Starts a proxy in front of the queues of a connection string. Signatures cover path and headers, not the host, so
 * they stay valid.
 *
 * @param observe is told of each request that the queues have answered
 */
export async function startQueueProxy(
  connectionString: string,
  observe?: FaultProxyOptions['observe'],
): Promise<QueueProxy> {
  const { origin } = new URL(/QueueEndpoint=([^;]+)/.exec(connectionString)?.[1] ?? '');
  const proxy = await startFaultProxy({ upstream: origin, operationOf: queueOperation, ...(observe && { observe }) });
  return { ...proxy, connectionString: connectionString.replace(origin, proxy.url) };
}

function queueOperation(method: string, path: string): string {
  const { pathname, searchParams } = new URL(path, 'http://any');
  const [, , queue, messages] = pathname.split('/');
  if (messages === 'messages') {
    const operations: Readonly<Record<string, QueueOperation>> = {
      GET: 'receive',
      PUT: 'renew',
      DELETE: 'remove',
      POST: 'put',
    };
    return operations[method] ?? method;
  }
  if (!queue) return searchParams.get('comp') ?? method;
  return method === 'PUT' ? 'ensureQueue' : 'exists';
}

/** A proxy in front of an API server, with the kubeconfig that leads through it. */
export interface ApiProxy extends FaultProxy {
  readonly kubeconfig: string;
}

interface KubeconfigFile {
  clusters: { name: string; cluster: { server: string; 'certificate-authority-data'?: string } }[];
}

/**
 * Starts a proxy in front of the API server of a kubeconfig with one cluster, whose user has a token (a certificate
 * would end at the proxy).
 */
export async function startApiProxy(kubeconfig: string): Promise<ApiProxy> {
  const file = parse(await readFile(kubeconfig, 'utf8')) as KubeconfigFile;
  const [entry] = file.clusters;
  if (entry === undefined) throw new Error(`${kubeconfig} has no cluster`);
  const { server, 'certificate-authority-data': data = '' } = entry.cluster;
  const ca = Buffer.from(data, 'base64').toString('utf8');
  const proxy = await startFaultProxy({ upstream: server, ca, operationOf: apiOperation });
  const cluster = { server: proxy.url, 'insecure-skip-tls-verify': true };
  const through = `${kubeconfig}.${new URL(proxy.url).port}`;
  await writeFile(through, stringify({ ...file, clusters: [{ name: entry.name, cluster }] }));
  return { ...proxy, kubeconfig: through };
}

/** Such as `create jobs`, `dryRun jobs`, `patch jobs`, `get jobs`, `list pods`, `watch jobs`, `create events`. */
function apiOperation(method: string, path: string): string {
  const { pathname, searchParams } = new URL(path, 'http://any');
  const [, resource = pathname, name] = /\/namespaces\/[^/]+\/([^/]+)(?:\/([^/]+))?/.exec(pathname) ?? [];
  if (method === 'GET') {
    const verb = name !== undefined ? 'get' : searchParams.has('watch') ? 'watch' : 'list';
    return `${verb} ${resource}`;
  }
  if (method === 'POST') return `${searchParams.has('dryRun') ? 'dryRun' : 'create'} ${resource}`;
  return `${method.toLowerCase()} ${resource}`;
}
