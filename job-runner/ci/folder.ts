/**
 * A folder that somebody else has written, and may be writing: a link in it would lead to the files of this container, which has a credential.
 * So nothing is opened but by a way on which there is no link, and links are passed over, whatever they point to.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, opendir, readlink, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Below, Search } from './patterns.ts';

/** What a walk comes upon; paths are relative to the folder. `passed-over` and `missing` are told of what was wanted only. */
export type Found =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'passed-over'; readonly path: string; readonly why: string }
  | { readonly kind: 'missing'; readonly path: string };

/** How many entries of folders may still be looked at. */
export interface Budget {
  left: number;
  /** Whether more would have been needed. */
  isSpent: boolean;
}

/** As the root of a folder: without links. Of one that cannot be reached, its name, so that whatever is opened says why. */
export function rootOf(directory: string): Promise<string> {
  return realpath(directory).catch(() => directory);
}

/**
 * Opens for reading what is there, by a way on which there is no link.
 *
 * @param root as `rootOf` gives it
 * @throws Error with what is wrong with it, in words that fit behind its name; with the code of the system where that refused it
 */
export async function openPlain(root: string, path: string): Promise<FileHandle> {
  const whole = join(root, path);
  const way = relative(root, whole);
  if (way === '..' || way.startsWith('../') || path.startsWith('/')) throw new Error('leads out of the folder');
  const handle = await open(whole, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error) =>
    Promise.reject(codeOf(error) === 'ELOOP' ? new Error(LINK) : error),
  );
  try {
    // Where the kernel says that it is: a path that is looked up a second time may lead elsewhere by then.
    if ((await readlink(byDescriptor(handle))) !== whole) throw new Error(LINK);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Looks for files, each folder in the order of names, until `signal` aborts; in no further folder when the budget is spent. */
export async function* walk(
  root: string,
  { start, below }: Search,
  budget: Budget,
  signal: AbortSignal,
): AsyncGenerator<Found> {
  // Paths grow by their last part, so that they share what they have in common: whole ones could take all memory.
  const waiting: (Search & { readonly kind: Kind | undefined })[] = [{ start, below, kind: undefined }];
  for (let next = waiting.pop(); next !== undefined && !signal.aborted; next = waiting.pop()) {
    const { start: path, below: wanted } = next;
    try {
      if (UNSAFE.test(path)) throw new Error('has a name with a backslash, a control character, or what is no UTF-8');
      const kind = next.kind ?? (await kindOf(root, path));
      if (kind === 'file' && wanted.isWanted) yield { kind, path };
      if (kind === 'folder' && wanted.isOpen && !budget.isSpent) {
        const entries = await list(root, path, wanted, budget, signal);
        for (const { name, kind: itsKind, below: inIt } of entries.toReversed())
          waiting.push({ start: path === '.' ? name : `${path}/${name}`, below: inIt, kind: itsKind });
      }
      if (kind !== 'file' && kind !== 'folder') throw new Error(kind === 'link' ? LINK : 'is neither file nor folder');
    } catch (error) {
      const isMissing = ['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '');
      if (path === start && isMissing) yield { kind: 'missing', path };
      else if (path === start || wanted.isWanted)
        yield { kind: 'passed-over', path, why: isMissing ? 'is gone' : messageOf(error) };
    }
  }
}

/** Some programs take a backslash for what stands between folders. Bytes that are no UTF-8 are read as U+FFFD, by which nothing can be opened. */
const UNSAFE = /[\\\p{Cc}\uFFFD]/u;

/** A path as it may be printed. */
export function shown(path: string): string {
  return path.replaceAll(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

type Kind = 'file' | 'folder' | 'link' | 'other';

const LINK = 'is a link';

async function kindOf(root: string, path: string): Promise<Kind> {
  await using handle = await openPlain(root, path);
  return kindIn(await handle.stat());
}

function kindIn(entry: { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean }): Kind {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'folder';
  return entry.isSymbolicLink() ? 'link' : 'other';
}

/** What is wanted in a folder, in the order of names. */
async function list(root: string, path: string, wanted: Below, budget: Budget, signal: AbortSignal) {
  await using handle = await openPlain(root, path);
  const entries: { readonly name: string; readonly kind: Kind; readonly below: Below }[] = [];
  // Piece by piece: the names of a folder may be more than memory takes, and comparing all of them at once would leave no moment for the signal.
  for await (const entry of await opendir(byDescriptor(handle), { bufferSize: 1000 })) {
    if (signal.aborted) break;
    if (budget.left === 0) {
      budget.isSpent = true;
      break;
    }
    budget.left--;
    const below = wanted.into(entry.name);
    if (below !== undefined) entries.push({ name: entry.name, kind: kindIn(entry), below });
  }
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function byDescriptor({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
