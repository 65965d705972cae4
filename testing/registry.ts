/** A real registry (CNCF distribution, as on the node), with a password where one is wanted. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { binDirectory, ensureBinaries } from '#/testing/binaries.ts';
import { freePort } from '#/testing/free-port.ts';
import { service } from '#/testing/service.ts';
import { run } from '#/testing/shell.ts';

/** A running registry. */
export interface Registry extends AsyncDisposable {
  /** HOST:PORT, as in the names of images. It speaks plain HTTP. */
  readonly name: string;
  /** What stands in a Docker configuration file for it; without auth: `{}`. */
  readonly dockerConfig: string;
  /** Puts an image archive (OCI) into it, as `name:tag`. Returns the whole name. */
  push(archive: string, name: string): Promise<string>;
  /** Reads an image by its whole name. */
  read(image: string): Promise<PushedImage>;
}

/** What a registry has of an image. */
export interface PushedImage {
  /** `sha256:…`, of the manifest. */
  readonly digest: string;
  /** The configuration file. */
  readonly config: { readonly created?: string; readonly rootfs: { readonly diff_ids: readonly string[] } };
  /** The files of the last layer, one a line: `MODE UID:GID SIZE PATH`, and ` -> TARGET` of a link. */
  readonly files: string;
}

const USER = 'ci';
const PASSWORD = 'correct horse';
/** Both as htpasswd has them: bcrypt, which Node.js lacks. */
const HTPASSWD = `${USER}:$2b$05$tj/1CK2alYHPMMg/u/U6sOOe11F469OP84/CyVHkT4ZxPKrQdZsIi`;
const script = fileURLToPath(new URL('./images/registry.sh', import.meta.url));

/** Starts it on a free port. @param auth whether it asks for user and password (basic auth), for reading too */
export async function startRegistry({ auth = false, host = '127.0.0.1' } = {}): Promise<Registry> {
  await ensureBinaries('registry');
  const name = `${host}:${await freePort(host)}`;
  const started = await service({
    name: 'registry',
    script,
    env: (directory) => ({
      RUN: join(directory, 'run'),
      BIN: binDirectory,
      ADDRESS: name,
      HTPASSWD: auth ? HTPASSWD : '',
    }),
  });
  const creds = auth ? ['--creds', `${USER}:${PASSWORD}`] : [];
  const login = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');
  return {
    name,
    dockerConfig: JSON.stringify(auth ? { auths: { [name]: { auth: login } } } : {}),
    async push(archive, image) {
      const options = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
      const login = creds.map((word) => word.replace('--creds', '--dest-creds'));
      await run('skopeo', [...options, ...login, `oci-archive:${archive}`, `docker://${name}/${image}`]);
      return `${name}/${image}`;
    },
    async read(image) {
      await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-pushed-'));
      const options = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
      const login = creds.map((word) => word.replace('--creds', '--src-creds'));
      await run('skopeo', [...options, ...login, `docker://${image}`, `dir:${directory.path}`]);
      const blob = (digest: string) => join(directory.path, digest.replace('sha256:', ''));
      const manifest = await readFile(join(directory.path, 'manifest.json'));
      const { config, layers } = JSON.parse(manifest.toString()) as Manifest;
      return {
        digest: `sha256:${createHash('sha256').update(manifest).digest('hex')}`,
        config: JSON.parse(await readFile(blob(config.digest), 'utf8')),
        files: await filesOf(blob(layers.at(-1)?.digest ?? '')),
      };
    },
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

async function filesOf(layer: string): Promise<string> {
  const entries = extract();
  const lines: string[] = [];
  const reading = (async () => {
    for await (const entry of entries) {
      const { mode, uid, gid, size, name, linkname } = entry.header;
      const link = linkname ? ` -> ${linkname}` : '';
      lines.push(`${mode.toString(8).padStart(4, '0')} ${uid}:${gid} ${size} ${name}${link}\n`);
      entry.resume();
    }
  })();
  await Promise.all([reading, pipeline(createReadStream(layer), createGunzip(), entries)]);
  return lines.join('');
}
