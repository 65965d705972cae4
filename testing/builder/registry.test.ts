import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ARCHITECTURE, KINDS, openRepository, parseReference } from './registry.ts';

test.each([
  ['busybox', 'index.docker.io', 'library/busybox', 'latest'],
  ['docker.io/acme/app:1', 'index.docker.io', 'acme/app', '1'],
  ['localhost/a', 'localhost', 'a', 'latest'],
  ['127.0.0.1:5000/a/b:1.2', '127.0.0.1:5000', 'a/b', '1.2'],
  [`r.example.com/a:1@sha256:${'0'.repeat(64)}`, 'r.example.com', 'a', `sha256:${'0'.repeat(64)}`],
])('%s', (name, registry, repository, version) => {
  expect(parseReference(name)).toEqual({ name, registry, repository, version });
});

test.each(['', 'UPPER', 'a b', 'r.example.com/'])('%j is no name', (name) => {
  expect(() => parseReference(name)).toThrow(`could not parse reference: ${name}`);
});

/** Answers each request by its method and path; notes the credentials it came with. */
async function startServer(answer: (request: string, authorization: string | undefined) => Answer) {
  const seen: string[] = [];
  const server = createServer(({ method, url, headers }, response) => {
    seen.push(`${method} ${url} ${headers.authorization ?? '-'}`);
    const { status = 200, body = '', ...more } = answer(`${method} ${url}`, headers.authorization);
    response.writeHead(status, more.headers).end(body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    seen,
    name: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const open = (registry: string) => openRepository(parseReference(`${registry}/app:1`), [registry]);

test('a token is fetched with the credentials of the Docker configuration, and sent', async () => {
  await using server = await startServer((request, authorization) => {
    if (request.startsWith('GET /token')) return { body: '{"token":"t"}' };
    const challenge = `Bearer realm="http://${server.name}/token",service="s",scope="repository:app:pull,push"`;
    if (authorization !== 'Bearer t') return { status: 401, headers: { 'www-authenticate': challenge } };
    return { status: 202, headers: { location: '/v2/app/blobs/uploads/1' } };
  });
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-docker-config-'));
  const config = { auths: { [server.name]: { username: 'u', password: 'p' } } };
  await writeFile(join(directory.path, 'config.json'), JSON.stringify(config));
  process.env['DOCKER_CONFIG'] = directory.path;
  try {
    await open(server.name).checkPush();
  } finally {
    delete process.env['DOCKER_CONFIG'];
  }
  expect(server.seen).toEqual([
    'POST /v2/app/blobs/uploads/ -',
    `GET /token?service=s&scope=repository%3Aapp%3Apull%2Cpush Basic ${Buffer.from('u:p').toString('base64')}`,
    'POST /v2/app/blobs/uploads/ Bearer t',
    'DELETE /v2/app/blobs/uploads/1 Bearer t',
  ]);
});

test('of an index the manifest for this machine is taken', async () => {
  const descriptor = { mediaType: KINDS.oci.manifest, size: 1 };
  const platforms = [
    { ...descriptor, digest: 'sha256:other', platform: { os: 'linux', architecture: 's390x' } },
    { ...descriptor, digest: 'sha256:mine', platform: { os: 'linux', architecture: ARCHITECTURE } },
  ];
  const of = (manifests: object[]) =>
    startServer((request) => ({
      headers: {
        'content-type': request.endsWith('/1') ? 'application/vnd.oci.image.index.v1+json' : KINDS.oci.manifest,
      },
      body: JSON.stringify(request.endsWith('/1') ? { manifests } : { layers: [] }),
    }));
  await using server = await of(platforms);
  await open(server.name).manifest();
  expect(server.seen[1]).toBe('GET /v2/app/manifests/sha256:mine -');
  await using other = await of(platforms.slice(0, 1));
  await expect(open(other.name).manifest()).rejects.toThrow(`no child with platform linux/${ARCHITECTURE}`);
});

test('what is not what its digest says is refused', async () => {
  await using server = await startServer(() => ({ body: 'something else' }));
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-blob-'));
  const fetched = open(server.name).blob(`sha256:${'0'.repeat(64)}`, join(directory.path, 'blob'));
  await expect(fetched).rejects.toThrow('error verifying sha256 checksum');
});

test('a registry’s own code stands in the error', async () => {
  const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'no' }] });
  await using server = await startServer(() => ({ status: 403, body }));
  await expect(open(server.name).checkPush()).rejects.toThrow(/^POST http:.*\/v2\/app\/blobs\/uploads\/: DENIED: no$/);
});
