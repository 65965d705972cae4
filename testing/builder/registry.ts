/** The registry protocol (OCI distribution v2), as far as one image is pulled and pushed. Every request has a deadline. */

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const REQUEST_MS = 60_000;
const BLOB_MS = 600_000;
const DOCKER = 'application/vnd.docker.';
const OCI = 'application/vnd.oci.image.';
const INDEXES = [`${OCI}index.v1+json`, `${DOCKER}distribution.manifest.list.v2+json`];
const MANIFESTS = [`${OCI}manifest.v1+json`, `${DOCKER}distribution.manifest.v2+json`];

/** The types of a manifest's parts; Kaniko keeps the base image's. */
export const KINDS = {
  docker: {
    manifest: `${DOCKER}distribution.manifest.v2+json`,
    config: `${DOCKER}container.image.v1+json`,
    layer: `${DOCKER}image.rootfs.diff.tar.gzip`,
  },
  oci: { manifest: `${OCI}manifest.v1+json`, config: `${OCI}config.v1+json`, layer: `${OCI}layer.v1.tar+gzip` },
} as const;

/** A blob, as a manifest names it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A manifest, as far as it is used. */
export interface Manifest {
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** The name of an image, taken apart. */
export interface Reference {
  readonly name: string;
  /** HOST[:PORT] */
  readonly registry: string;
  readonly repository: string;
  /** A tag or a digest. */
  readonly version: string;
}

/** Takes a name apart; one without a registry is of Docker Hub. */
export function parseReference(name: string): Reference {
  const [, host, path = '', tag, digest] =
    /^(?:((?:[^/]*[.:][^/]*|localhost))\/)?([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(
      name,
    ) ?? [];
  if (path === '') throw new Error(`could not parse reference: ${name}`);
  const isHub = host === undefined || host === 'docker.io';
  return {
    name,
    registry: isHub ? 'index.docker.io' : host,
    repository: isHub && !path.includes('/') ? `library/${path}` : path,
    version: digest ?? tag ?? 'latest',
  };
}

/** Answers of one registry's, for one repository. */
export interface Repository {
  /** Throws unless something may be uploaded. */
  checkPush(): Promise<void>;
  /** The manifest for Linux on this machine's architecture. */
  manifest(): Promise<Manifest>;
  blob(digest: string, file: string): Promise<void>;
  /** Unless it is there. */
  upload(blob: Descriptor, content: string | { readonly file: string }): Promise<void>;
  putManifest(text: string, mediaType: string): Promise<void>;
}

/** @param insecure registries that are asked by plain HTTP */
export function openRepository(reference: Reference, insecure: readonly string[]): Repository {
  const { registry, repository, version } = reference;
  const origin = `${insecure.includes(registry) ? 'http' : 'https'}://${registry}`;
  const base = `${origin}/v2/${repository}`;
  let authorization: string | undefined;

  async function request(
    method: string,
    url: string,
    init: RequestInit & { ms?: number; also?: number } = {},
  ): Promise<Response> {
    const headers = new Headers(init.headers);
    if (authorization) headers.set('authorization', authorization);
    const signal = AbortSignal.timeout(init.ms ?? REQUEST_MS);
    const response = await connected(() => fetch(url, { ...init, method, headers, signal })).catch((error: Error) => {
      throw new Error(`${method} ${url}: ${String(error.cause ?? error)}`);
    });
    if (response.ok || response.status === init.also) return response;
    const text = await response.text();
    if (response.status === 401 && authorization === undefined) {
      authorization = await authorize(response.headers.get('www-authenticate') ?? '', registry, repository);
      if (authorization !== undefined) return request(method, url, init);
    }
    throw new Error(`${method} ${url}: ${complaint(response, text)}`);
  }

  async function beginUpload(): Promise<URL> {
    const begun = await request('POST', `${base}/blobs/uploads/`);
    return new URL(begun.headers.get('location') ?? '', base);
  }

  return {
    async checkPush() {
      await request('DELETE', (await beginUpload()).href, { also: 404 });
    },
    async manifest() {
      const get = async (what: string) => {
        const answer = await request('GET', `${base}/manifests/${what}`, {
          headers: { accept: [...INDEXES, ...MANIFESTS].join(', ') },
        });
        const type = answer.headers.get('content-type') ?? '';
        return { type, body: (await answer.json()) as Manifest & Index };
      };
      const first = await get(version);
      const isIndex = INDEXES.includes(first.type);
      const mine = first.body.manifests?.find(
        ({ platform }) => platform.os === 'linux' && platform.architecture === ARCHITECTURE,
      );
      if (isIndex && !mine) throw new Error(`no child with platform linux/${ARCHITECTURE} in index ${reference.name}`);
      const { type, body } = isIndex && mine ? await get(mine.digest) : first;
      if (!MANIFESTS.includes(type))
        throw new Error(`the stand-in for Kaniko cannot do manifests of type ${type}: ${reference.name}`);
      return { ...body, mediaType: type };
    },
    async blob(digest, file) {
      const { body } = await request('GET', `${base}/blobs/${digest}`, { ms: BLOB_MS });
      const hash = createHash('sha256');
      const hashed = async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          yield chunk;
        }
      };
      if (body === null) throw new Error(`GET ${base}/blobs/${digest}: no body`);
      await pipeline(Readable.fromWeb(body), hashed, createWriteStream(file));
      const found = `sha256:${hash.digest('hex')}`;
      if (found !== digest) throw new Error(`error verifying sha256 checksum; got ${found}, want ${digest}`);
    },
    async upload({ digest, size }, content) {
      if ((await request('HEAD', `${base}/blobs/${digest}`, { also: 404 })).ok) return;
      const to = await beginUpload();
      to.searchParams.set('digest', digest);
      // As a stream: of a Blob of a file, fetch keeps all in memory.
      const body = typeof content === 'string' ? content : Readable.toWeb(createReadStream(content.file));
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
      await request('PUT', to.href, { body, duplex: 'half', headers, ms: BLOB_MS });
    },
    async putManifest(body, mediaType) {
      await request('PUT', `${base}/manifests/${version}`, { body, headers: { 'content-type': mediaType } });
    },
  };
}

interface Index {
  readonly manifests?: readonly (Descriptor & {
    readonly platform: { readonly os: string; readonly architecture: string };
  })[];
}

/** As images name it. */
export const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

/** The registry's own codes are what the operator tells a failure by. */
function complaint({ status, statusText }: Response, text: string): string {
  try {
    const { errors } = JSON.parse(text) as { errors: { code: string; message: string }[] };
    return errors.map(({ code, message }) => `${code}: ${message}`).join('; ');
  } catch {
    return `unexpected status code ${status} ${statusText}${text && `: ${text.slice(0, 200)}`}`;
  }
}

/** What is to be sent, by what a registry asks for and the Docker configuration has; undefined: nothing that would help. */
async function authorize(challenge: string, registry: string, repository: string): Promise<string | undefined> {
  const auth = await credentials(registry);
  const basic = auth && `Basic ${auth}`;
  const [, scheme = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(challenge) ?? [];
  if (scheme.toLowerCase() === 'basic') return basic;
  if (scheme.toLowerCase() !== 'bearer') return undefined;
  const parameters = new Map([...rest.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]));
  const url = new URL(parameters.get('realm') ?? '');
  url.searchParams.set('service', parameters.get('service') ?? '');
  url.searchParams.set('scope', parameters.get('scope') ?? `repository:${repository}:pull,push`);
  const response = await fetch(url, {
    headers: basic ? { authorization: basic } : {},
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (!response.ok) throw new Error(`GET ${url.href}: ${complaint(response, await response.text())}`);
  const { token, access_token } = (await response.json()) as { token?: string; access_token?: string };
  return `Bearer ${token ?? access_token}`;
}

/** Go's dialer waits 30 s for a connection; fetch waits 10 s, before anything of the body is sent. */
async function connected(ask: () => Promise<Response>): Promise<Response> {
  for (let times = 1; ; times++) {
    try {
      return await ask();
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined;
      if (times === 3 || !(cause instanceof Error) || Reflect.get(cause, 'code') !== 'UND_ERR_CONNECT_TIMEOUT')
        throw error;
    }
  }
}

/** Base64 of `user:password`. */
async function credentials(registry: string): Promise<string | undefined> {
  const file = join(process.env['DOCKER_CONFIG'] ?? '/kaniko/.docker', 'config.json');
  const text = await readFile(file, 'utf8').catch(() => '{}');
  const config = JSON.parse(text) as {
    auths?: Record<string, { auth?: string; username?: string; password?: string }>;
    credsStore?: string;
    credHelpers?: Record<string, string>;
  };
  if (config.credsStore || config.credHelpers?.[registry])
    throw new Error(`the stand-in for Kaniko cannot do credential helpers: ${file}`);
  const keys =
    registry === 'index.docker.io'
      ? ['https://index.docker.io/v1/', registry, 'docker.io']
      : [registry, `https://${registry}`];
  const found = keys.map((key) => config.auths?.[key]).find((one) => one !== undefined);
  if (found?.auth) return found.auth;
  return found?.username === undefined
    ? undefined
    : Buffer.from(`${found.username}:${found.password}`).toString('base64');
}
