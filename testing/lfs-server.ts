/**
 * A stand-in for a server of Git LFS: it speaks the batch API for downloads, and basic transfers. It knows no uploads, no locks and no
 * repositories: whoever may ask gets every object. Real git-lfs is its client; it was never compared with a server in use.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What was asked, and with which header `Authorization`. */
interface LfsRequest {
  /** `METHOD PATH` */
  readonly line: string;
  readonly authorization: string | undefined;
}

/** A running stand-in. */
export interface LfsServer extends AsyncDisposable {
  /** `http://HOST:PORT`; an endpoint is this with any path. */
  readonly url: string;
  /** In order of arrival. */
  readonly requests: readonly LfsRequest[];
  /** Keeps a file, and gives the pointer that a repository has in its place. */
  add(content: string): string;
  /** Answers batch requests that another server got, and has let pass; the downloads are from this one. */
  readonly batch: RequestListener;
}

interface BatchRequest {
  readonly operation: string;
  readonly objects: readonly { readonly oid: string; readonly size: number }[];
}

/** The pointer to a file, in version 1 of its format. */
export function lfsPointer(content: string): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${oidOf(content)}\nsize ${Buffer.byteLength(content)}\n`;
}

/** Starts it. @param password is wanted for batch requests, where one is given; downloads want what the answer to these names */
export async function startLfsServer(password?: string, host = '127.0.0.1'): Promise<LfsServer> {
  const objects = new Map<string, string>();
  const requests: LfsRequest[] = [];
  const ticket = `RemoteAuth ${randomUUID()}`;

  const batch = async (request: IncomingMessage, response: ServerResponse) => {
    const { operation, objects: wanted } = JSON.parse(await textOf(request)) as BatchRequest;
    if (operation !== 'download') return refuse(response, 501, `the stand-in does not know the operation ${operation}`);
    const answers = wanted.map(({ oid, size }) => {
      if (!objects.has(oid)) return { oid, size, error: { code: 404, message: 'Object does not exist' } };
      return { oid, size, actions: { download: { href: `${url}/objects/${oid}`, header: { Authorization: ticket } } } };
    });
    send(response, 200, { transfer: 'basic', objects: answers });
  };

  const server = createServer((request, response) => {
    const { method = '', url: path = '', headers } = request;
    requests.push({ line: `${method} ${path}`, authorization: headers.authorization });
    if (method === 'POST' && path.endsWith('/objects/batch')) {
      if (password === undefined || passwordOf(request) === password) return void batch(request, response);
      return refuse(response, 401, 'Credentials needed', { 'www-authenticate': 'Basic realm="Git LFS"' });
    }
    const content = objects.get(/^\/objects\/([0-9a-f]{64})$/.exec(path)?.[1] ?? '');
    if (method !== 'GET' || content === undefined)
      return refuse(response, 501, `the stand-in does not know ${method} ${path}`);
    if (headers.authorization !== ticket)
      return refuse(response, 403, 'not what the answer to the batch request named');
    response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(content);
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  const url = `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requests,
    batch,
    add(content) {
      objects.set(oidOf(content), content);
      return lfsPointer(content);
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function oidOf(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

function passwordOf({ headers }: IncomingMessage): string | undefined {
  const basic = (headers.authorization ?? '').replace(/^Basic /, '');
  return Buffer.from(basic, 'base64').toString('utf8').split(':')[1];
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function refuse(response: ServerResponse, status: number, message: string, headers: Record<string, string> = {}): void {
  send(response, status, { message }, headers);
}

function send(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/vnd.git-lfs+json', ...headers }).end(JSON.stringify(body));
}
