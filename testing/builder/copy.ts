/** COPY. */
import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
} from 'node:fs/promises';
import { basename, dirname, join, normalize, resolve } from 'node:path';
import { type Ignored, unlessGone } from './root.ts';
import type { Owner } from './users.ts';
import { glob } from './words.ts';

/** What is copied, with variables put in. */
export interface Copy {
  /** Where sources are looked for. */
  readonly root: string;
  readonly sources: readonly string[];
  readonly destination: string;
  readonly workdir: string;
  /** Undefined: as it was. */
  readonly owner: Owner | undefined;
  /** Undefined: as it was. */
  readonly mode: number | undefined;
  /** By .dockerignore; relative to the root. */
  readonly excluded: (path: string) => boolean;
  readonly ignored: Ignored;
}

/** A source that is not there: Kaniko sees that before it executes anything of the instruction. */
export class MissingSource extends Error {
  constructor(path: string) {
    super(
      `failed to get files used from context: failed to get fileinfo for ${path}: lstat ${path}: no such file or directory`,
    );
  }
}

/** Copies; throws {@link MissingSource}, or what the file system refuses. */
export async function copy(request: Copy): Promise<void> {
  const sources = await matching(request);
  const isOne = sources.length === 1;
  const target = resolve('/', request.workdir, request.destination) + (/[/.]$/.test(request.destination) ? '/' : '');
  const isFolder = await isDirectory(target);
  for (const source of sources) {
    const from = join(request.root, source);
    const stats = await lstat(from).catch(unlessGone);
    if (!stats) throw new MissingSource(from);
    await inside(request.root, from);
    if (!isOne && !isFolder && !stats.isDirectory())
      throw new Error(
        "when specifying multiple sources in a COPY command, destination must be a directory and end in '/'",
      );
    const to = stats.isDirectory() || !isFolder ? target : join(target, basename(source));
    await copyAny(request, source, await resolved(normalize(to).replace(/(?<=.)\/$/, ''), stats.isDirectory()), true);
  }
}

async function matching({ root, sources }: Copy): Promise<string[]> {
  const cleaned = sources.map((source) => normalize(source).replace(/(?<=.)\/$/, ''));
  if (!cleaned.some((source) => /[*?[]/.test(source))) return cleaned;
  const all = (await readdir(root, { recursive: true })).sort();
  return cleaned.flatMap((source) => {
    const pattern = glob(source.replace(/^\//, ''));
    return all.filter((path) => pattern.test(path));
  });
}

/** A link of a stage's could lead out of where it was unpacked. */
async function inside(root: string, path: string): Promise<void> {
  const folder = await realpath(dirname(path));
  if (path !== root && !`${folder}/`.startsWith(`${await realpath(root)}/`))
    throw new Error(`the stand-in for Kaniko cannot do a COPY from ${path}: it leads to ${folder}`);
}

async function isDirectory(path: string): Promise<boolean> {
  const stats = await stat(path).catch(unlessGone);
  return stats?.isDirectory() ?? path.endsWith('/');
}

/** The path without links in its folders. The last part is left as it is, unless it is to be a folder. */
async function resolved(path: string, isFolder: boolean): Promise<string> {
  const stats = await lstat(path).catch(unlessGone);
  if (stats && (isFolder || !stats.isSymbolicLink())) return realpath(path);
  return path === '/' ? path : join(await resolved(dirname(path), true), basename(path));
}

async function copyAny(copying: Copy, source: string, to: string, isTop: boolean): Promise<void> {
  const { root, excluded, ignored, mode } = copying;
  const from = join(root, source);
  const stats = await lstat(from);
  const { uid, gid } = copying.owner ?? stats;
  if (stats.isDirectory()) {
    const isLeftOut = (!isTop && excluded(source)) || ignored(to);
    if (!isLeftOut) {
      const before = await lstat(to).catch(unlessGone);
      if (before && !before.isDirectory()) await unlink(to);
      await mkdir(to, { recursive: true });
      if (!before) await chmod(to, isTop ? 0o755 : stats.mode & 0o1777); // mkdir(2) knows no set-group-ID
      if (!isTop && mode !== undefined) await chmod(to, mode);
      await chown(to, uid, gid);
    }
    // Also of one that is left out: a pattern may make exceptions.
    for (const name of (await readdir(from)).sort()) await copyAny(copying, join(source, name), join(to, name), false);
    if (!isLeftOut) await utimes(to, stats.atime, stats.mtime);
    return;
  }
  if (excluded(source) || ignored(to)) return;
  const isLink = stats.isSymbolicLink();
  await makeParents(dirname(to), isLink ? undefined : { uid, gid });
  if (isLink) {
    await rm(to, { recursive: true, force: true });
    return symlink(await readlink(from), to);
  }
  if (!stats.isFile()) throw new Error(`the stand-in for Kaniko cannot do the kind of file that ${from} is`);
  await copyFile(from, to);
  await chown(to, uid, gid);
  await chmod(to, mode ?? stats.mode & 0o7777);
  await utimes(to, stats.atime, stats.mtime);
}

/** @param owner of those that are made */
async function makeParents(folder: string, owner: Owner | undefined): Promise<void> {
  if (await lstat(folder).catch(unlessGone)) return;
  await makeParents(dirname(folder), owner);
  await mkdir(folder);
  if (owner) await chown(folder, owner.uid, owner.gid);
}
