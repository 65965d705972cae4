/**
 * What tests have left in their folder: reports are read, artifacts are put into Blob. The folder is theirs, and whoever wrote them may have
 * meant harm: a link would lead to the files of this container, which has a credential, so links are passed over, whatever they point to.
 */
import { constants } from 'node:fs';
import { type FileHandle, glob, open, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { BlobStore } from '../blob-store.ts';
import { NO_TESTS, readJunit, type TestSummary, together } from './junit.ts';

/** What is to be collected; paths and patterns are relative to the folder. */
export interface Wanted {
  /** Files, and folders with all that is in them. */
  readonly artifacts: readonly string[];
  /** Patterns, such as `reports/*.xml`. */
  readonly junit: readonly string[];
}

/** A file that was kept. */
export interface Kept {
  readonly path: string;
  readonly bytes: number;
  readonly url: string;
}

/** What was found. */
export interface Collected {
  /** Undefined where no report was asked for. */
  readonly tests: TestSummary | undefined;
  readonly artifacts: readonly Kept[];
  /** What is missing, and why, for people. */
  readonly problems: readonly string[];
}

/** Where artifacts go: their paths are put behind `prefix`. Undefined: no storage account is configured. */
export interface ArtifactPlace {
  readonly store: BlobStore;
  readonly container: string;
  readonly prefix: string;
}

const MAX_REPORTS = 500;
const MAX_ARTIFACTS = 500;
const MAX_ARTIFACT_BYTES = 1024 * 1024 * 1024;

/** Collects, as far as it gets until `signal` aborts. Never throws. */
export async function collect(
  directory: string,
  wanted: Wanted,
  place: ArtifactPlace | undefined,
  log: Log,
  signal: AbortSignal,
): Promise<Collected> {
  const problems: string[] = [];
  const tests = wanted.junit.length === 0 ? undefined : await readReports(directory, wanted.junit, problems, signal);
  const artifacts = await keepArtifacts(directory, wanted.artifacts, place, problems, signal);
  for (const problem of problems) log.warn({}, problem);
  return { tests, artifacts, problems };
}

async function readReports(
  directory: string,
  patterns: readonly string[],
  problems: string[],
  signal: AbortSignal,
): Promise<TestSummary | undefined> {
  const files = await matching(directory, patterns, MAX_REPORTS, problems);
  if (files.length === 0) {
    problems.push(`no report matches ${patterns.join(', ')}`);
    return undefined;
  }
  let all = NO_TESTS;
  for (const path of files) {
    await using file = await openPlain(directory, path, problems);
    if (file === undefined) continue;
    try {
      const read = await readJunit(textOf(file.handle, signal));
      if ('problem' in read) problems.push(`${path} ${read.problem}`);
      else all = together(all, read.summary);
    } catch (error) {
      if (signal.aborted) return cut(problems, 'reports');
      problems.push(`${path} could not be read: ${messageOf(error)}`);
    }
  }
  return all;
}

/** Its text in pieces; throws when time is up. */
async function* textOf(handle: FileHandle, signal: AbortSignal): AsyncGenerator<string> {
  for await (const piece of handle.createReadStream({ autoClose: false, encoding: 'utf8' })) {
    signal.throwIfAborted();
    yield piece;
  }
}

async function keepArtifacts(
  directory: string,
  wanted: readonly string[],
  place: ArtifactPlace | undefined,
  problems: string[],
  signal: AbortSignal,
): Promise<readonly Kept[]> {
  if (wanted.length === 0) return [];
  if (place === undefined) {
    problems.push('artifacts are not kept: no storage account is configured');
    return [];
  }
  const kept: Kept[] = [];
  const patterns = wanted.flatMap((path) => (path === '.' ? ['**'] : [path, `${path}/**`]));
  const files = await matching(directory, patterns, MAX_ARTIFACTS, problems);
  for (const path of files) {
    if (signal.aborted) {
      cut(problems, 'artifacts');
      break;
    }
    await using file = await openPlain(directory, path, problems);
    if (file === undefined) continue;
    const { size } = await file.handle.stat();
    if (size > MAX_ARTIFACT_BYTES) {
      problems.push(`${path} has ${size} bytes; at most ${MAX_ARTIFACT_BYTES} are kept`);
      continue;
    }
    try {
      const stream = file.handle.createReadStream({ autoClose: false });
      const url = await place.store.putStream(place.container, `${place.prefix}/${path}`, stream, signal);
      kept.push({ path, bytes: size, url });
    } catch (error) {
      if (signal.aborted) cut(problems, 'artifacts');
      else problems.push(`${path} could not be kept: ${messageOf(error)}`);
    }
  }
  for (const path of wanted)
    if (path !== '.' && !files.some((file) => file === path || file.startsWith(`${path}/`)))
      problems.push(`the artifact ${path} is not there`);
  return kept;
}

/** Names of files, sorted; a name that matches twice is there once. */
async function matching(
  directory: string,
  patterns: readonly string[],
  most: number,
  problems: string[],
): Promise<readonly string[]> {
  const found = new Set<string>();
  for await (const entry of glob([...patterns], { cwd: directory, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    if (found.size === most) {
      problems.push(`more than ${most} files match ${patterns.join(', ')}; the others are passed over`);
      break;
    }
    found.add(relative(directory, join(entry.parentPath, entry.name)).replaceAll(sep, '/'));
  }
  return [...found].toSorted();
}

/** Opens a file that is one, by a way on which there is no link. */
async function openPlain(
  directory: string,
  path: string,
  problems: string[],
): Promise<({ readonly handle: FileHandle } & AsyncDisposable) | undefined> {
  let handle: FileHandle | undefined;
  try {
    const whole = join(directory, path);
    handle = await open(whole, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    // Folders on the way may be links too, and may become some meanwhile: what was opened has to be what the plain path leads to.
    const [root, real, opened] = [await realpath(directory), await realpath(whole), await handle.stat()];
    const there = await stat(real);
    if (real !== join(root, path) || !opened.isFile() || there.ino !== opened.ino || there.dev !== opened.dev)
      throw new Error('is a link');
    const kept = handle;
    return { handle: kept, [Symbol.asyncDispose]: () => kept.close() };
  } catch (error) {
    await handle?.close();
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    problems.push(`${path} is passed over: ${code === 'ELOOP' ? 'is a link' : messageOf(error)}`);
    return undefined;
  }
}

function cut(problems: string[], what: string): undefined {
  problems.push(`time was up before all ${what} were collected`);
}
