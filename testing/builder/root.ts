/**
 * The container's own root folder as the image's. As Kaniko does it, so that a RUN needs neither a mount nor chroot: the image is unpacked into /,
 * and whatever is needed to build lies in /kaniko. What is mounted belongs to the container and is left alone.
 */
import { createHash } from 'node:crypto';
import { constants, createReadStream, createWriteStream, type Stats } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip, createZstdDecompress } from 'node:zlib';
import { extract, type Header, pack } from 'tar-stream';

export const OWN = '/kaniko';
/** Also of Kaniko's: nobody knows whether they are the container's or the image's. */
const NOT_OF_THE_IMAGE = [OWN, '/etc/mtab', '/var/run'];

/** Whether a path is none of the image's. */
export type Ignored = (path: string) => boolean;

/** Reads what is mounted. */
export async function readIgnored(): Promise<Ignored> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  const mounts = lines.map((line) => line.split(' ')[4] ?? '').filter((path) => path !== '' && path !== '/');
  const all = [...NOT_OF_THE_IMAGE, ...mounts];
  return (path) => all.some((one) => path === one || path.startsWith(`${one}/`));
}

/** Every path below a folder that is not ignored, parents first. */
async function* walk(folder: string, ignored: Ignored): AsyncGenerator<{ path: string; stats: Stats }> {
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name);
    if (ignored(path)) continue;
    const stats = await lstat(path);
    yield { path, stats };
    if (stats.isDirectory()) yield* walk(path, ignored);
  }
}

/** Removes all but what is ignored. */
export async function clear(ignored: Ignored, folder = '/'): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (ignored(path)) continue;
    if (!(await lstat(path)).isDirectory()) await rm(path);
    else {
      await clear(ignored, path);
      // One that holds something ignored stays.
      if ((await readdir(path)).length === 0) await rm(path, { recursive: true });
    }
  }
}

const DECOMPRESS: Readonly<Record<string, () => Transform>> = { '1f8b': createGunzip, '28b5': createZstdDecompress };

/** Unpacks a layer: owners, modes, times, whiteouts. */
export async function unpack(file: string, root: string, ignored: Ignored): Promise<void> {
  const magic = Buffer.from(await readStart(file)).toString('hex');
  const entries = extract();
  const source = createReadStream(file);
  const tar = DECOMPRESS[magic]?.();
  const piped = tar ? pipeline(source, tar, entries) : pipeline(source, entries);
  const folders: [string, Date][] = [];
  const made = new Set<string>();
  const unpacking = (async () => {
    for await (const entry of entries) {
      const path = join(root, entry.header.name);
      if (path !== root && !ignored(path)) {
        await within(root, dirname(path));
        const name = basename(path);
        if (name === '.wh..wh..opq') {
          for (const child of await readdir(dirname(path))) {
            const below = join(dirname(path), child);
            if (!made.has(below)) await rm(below, { recursive: true, force: true });
          }
        } else if (name.startsWith('.wh.'))
          await rm(join(dirname(path), name.slice(4)), { recursive: true, force: true });
        else {
          await place(entry, entry.header, path, root);
          made.add(path);
          if (entry.header.type === 'directory') folders.push([path, entry.header.mtime]);
        }
      }
      entry.resume();
    }
  })();
  await Promise.all([piped, unpacking]);
  for (const [path, time] of folders) await utimes(path, time, time).catch(unlessGone);
}

async function readStart(file: string): Promise<Uint8Array> {
  for await (const chunk of createReadStream(file, { end: 1 })) return chunk as Buffer;
  return new Uint8Array();
}

/** Refuses a path that a link leads out of the root. */
async function within(root: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const real = await realpath(folder);
  if (real !== root && !real.startsWith(root === '/' ? '/' : `${root}/`))
    throw new Error(`${folder} leads out of ${root}, to ${real}`);
}

async function place(content: AsyncIterable<unknown>, header: Header, path: string, root: string): Promise<void> {
  const { type, uid, gid, mode, mtime, linkname } = header;
  const capability = (header.pax as Readonly<Record<string, string>> | null)?.['SCHILY.xattr.security.capability'];
  if (capability !== undefined) throw new Error(`the stand-in for Kaniko cannot do file capabilities: ${path}`);
  const before = await lstat(path).catch(unlessGone);
  if (before && !(before.isDirectory() && type === 'directory')) await rm(path, { recursive: true });
  if (type === 'directory') await mkdir(path, { recursive: true });
  else if (type === 'symlink') await symlink(linkname, path);
  else if (type === 'link') await link(join(root, linkname), path);
  else if (type === 'file' || type === 'contiguous-file')
    await pipeline(Readable.from(content), createWriteStream(path));
  else throw new Error(`the stand-in for Kaniko cannot do a ${type}: ${path}`);
  if (type === 'link') return;
  if (type === 'symlink') return lchown(path, uid, gid);
  await chown(path, uid, gid);
  await chmod(path, mode); // after the owner, whose change takes away the set-user-ID bit
  await utimes(path, mtime, mtime);
}

/** What each path was: everything that makes Kaniko see a change. */
export type Snapshot = ReadonlyMap<string, string>;

/** Looks at the whole image. */
export async function takeSnapshot(ignored: Ignored): Promise<Snapshot> {
  const seen = new Map<string, string>();
  for await (const { path, stats } of walk('/', ignored)) {
    const content = stats.isFile() ? await sha256(path) : stats.isSymbolicLink() ? await readlink(path) : '';
    seen.set(path, [stats.mode, stats.uid, stats.gid, stats.mtimeMs, content].join(' '));
  }
  return seen;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A layer's file, and its two digests. */
export interface Layer {
  readonly file: string;
  /** `sha256:…`, as packed. */
  readonly digest: string;
  readonly size: number;
  /** `sha256:…`, unpacked. */
  readonly diffId: string;
}

/** Writes what has changed since, with whiteouts for what is gone, each with its parents. */
export async function writeLayer(file: string, before: Snapshot, ignored: Ignored): Promise<Layer> {
  const now = await takeSnapshot(ignored);
  const gone = [...before.keys()].filter((path) => !now.has(path) && (dirname(path) === '/' || now.has(dirname(path))));
  const changed = [...now.keys()].filter((path) => now.get(path) !== before.get(path));
  const tar = pack();
  const [unpacked, packed] = [createHash('sha256'), createHash('sha256')];
  let size = 0;
  const writing = pipeline(
    tar,
    hashing(unpacked),
    createGzip(),
    hashing(packed, (bytes) => {
      size += bytes;
    }),
    createWriteStream(file),
  );
  const added = new Set(['/']);
  const inodes = new Map<number, string>();
  const add = async (path: string): Promise<void> => {
    if (added.has(path)) return;
    await add(dirname(path));
    added.add(path);
    await addToTar(tar, path, inodes);
  };
  const filling = (async () => {
    for (const path of gone.sort()) {
      await add(dirname(path));
      tar.entry({ name: join(dirname(path), `.wh.${basename(path)}`).slice(1), size: 0, mode: constants.S_IFREG }, '');
    }
    for (const path of await withTargets(changed, ignored)) await add(path);
    tar.finalize();
  })();
  await Promise.all([writing, filling]);
  return { file, size, digest: `sha256:${packed.digest('hex')}`, diffId: `sha256:${unpacked.digest('hex')}` };
}

/** With what links among them lead to, as Kaniko writes it, and all parents; sorted. */
async function withTargets(paths: readonly string[], ignored: Ignored): Promise<string[]> {
  const all = new Set<string>();
  for (const path of paths) {
    const target = await realpath(path).catch(unlessGone);
    for (const one of target === undefined || ignored(target) ? [path] : [path, target]) {
      for (let above = one; above !== '/'; above = dirname(above)) all.add(above);
    }
  }
  return [...all].sort();
}

async function addToTar(tar: ReturnType<typeof pack>, path: string, inodes: Map<number, string>): Promise<void> {
  const stats = await lstat(path);
  if (stats.isSocket()) return;
  const { uid, gid, mtime, mode, ino, size } = stats;
  // With the bits of its type: of a mode that is 0 the packer would make 644.
  const header = { name: path.slice(1), uid, gid, mtime, mode };
  const original = inodes.get(ino);
  if (stats.isDirectory()) tar.entry({ ...header, name: `${header.name}/`, type: 'directory' });
  else if (stats.isSymbolicLink()) tar.entry({ ...header, type: 'symlink', linkname: await readlink(path) });
  else if (!stats.isFile()) throw new Error(`the stand-in for Kaniko cannot do the kind of file that ${path} is`);
  else if (original !== undefined) tar.entry({ ...header, type: 'link', linkname: original.slice(1) });
  else {
    if (stats.nlink > 1) inodes.set(ino, path);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sink = tar.entry({ ...header, type: 'file', size }, (error) => (error ? reject(error) : resolve()));
    await Promise.all([promise, pipeline(createReadStream(path), sink as unknown as NodeJS.WritableStream)]);
  }
}

function hashing(hash: ReturnType<typeof createHash>, onBytes: (count: number) => void = () => undefined) {
  return async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      onBytes(chunk.length);
      yield chunk;
    }
  };
}

/** For `catch`: undefined where there is nothing of that name. */
export function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
}
