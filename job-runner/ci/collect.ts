/** What tests have left in their folder: reports are read, artifacts are put into Blob. */
import type { FileHandle } from 'node:fs/promises';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { BlobStore } from '../blob-store.ts';
import { type Budget, openPlain, rootOf, shown, walk } from './folder.ts';
import { NO_TESTS, readJunit, type TestSummary, together } from './junit.ts';
import { EVERYTHING, looksLikePattern, plainPath, type Search, searchOf } from './patterns.ts';

/** What is to be collected; paths and patterns are relative to the folder. */
export interface Wanted {
  /** Names of files, and of folders with all that is in them, hidden or not. */
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

/** Of reports, and of artifacts. */
const MAX_FILES = 500;
/** So many entries of folders are looked at for either: a folder may have more than memory takes. */
const MAX_ENTRIES = 100_000;
const MAX_ARTIFACT_BYTES = 1024 * 1024 * 1024;
const MAX_PROBLEMS = 100;
const LONGEST_PROBLEM = 1000;

/** Collects, as far as it gets until `signal` aborts. Never throws. */
export async function collect(
  directory: string,
  wanted: Wanted,
  place: ArtifactPlace | undefined,
  log: Log,
  signal: AbortSignal,
): Promise<Collected> {
  const problems = problemList(log);
  const root = await rootOf(directory);
  const tests = wanted.junit.length === 0 ? undefined : await readReports(root, wanted.junit, problems.tell, signal);
  const artifacts = await keepArtifacts(root, wanted.artifacts, place, problems.tell, signal);
  return { tests, artifacts, problems: problems.all() };
}

type Tell = (problem: string) => void;

/** What tests leave can be wrong in any number of ways: the first ones are told. */
function problemList(log: Log): { readonly tell: Tell; readonly all: () => readonly string[] } {
  const first: string[] = [];
  let others = 0;
  const tell = (text: string) => {
    const problem = text.slice(0, LONGEST_PROBLEM).toWellFormed();
    if (first.includes(problem)) return;
    if (first.length === MAX_PROBLEMS) others++;
    else {
      first.push(problem);
      log.warn({}, problem);
    }
  };
  return { tell, all: () => (others === 0 ? first : [...first, `and ${others} more problems`]) };
}

async function readReports(
  root: string,
  patterns: readonly string[],
  tell: Tell,
  signal: AbortSignal,
): Promise<TestSummary | undefined> {
  const { files } = await look(root, patterns, searchOf, tell, signal);
  if (signal.aborted) return cut(tell, 'reports');
  if (files.length === 0) {
    tell(`no report matches ${patterns.map(shown).join(', ')}`);
    return undefined;
  }
  let all = NO_TESTS;
  for (const path of files) {
    try {
      await using file = await openFile(root, path);
      const read = await readJunit(textOf(file, signal));
      if ('problem' in read) tell(`${path} ${read.problem}`);
      else all = together(all, read.summary);
    } catch (error) {
      if (signal.aborted) return cut(tell, 'reports');
      tell(`${path} could not be read: ${messageOf(error)}`);
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
  root: string,
  wanted: readonly string[],
  place: ArtifactPlace | undefined,
  tell: Tell,
  signal: AbortSignal,
): Promise<readonly Kept[]> {
  if (wanted.length === 0) return [];
  if (place === undefined) {
    tell('artifacts are not kept: no storage account is configured');
    return [];
  }
  const kept: Kept[] = [];
  const { files, missing, empty } = await look(
    root,
    wanted,
    (path) => ({ start: path, below: EVERYTHING }),
    tell,
    signal,
  );
  for (const path of files) {
    if (signal.aborted) break;
    try {
      await using file = await openFile(root, path);
      const { size } = await file.stat();
      if (size > MAX_ARTIFACT_BYTES) {
        tell(`${path} has ${size} bytes; at most ${MAX_ARTIFACT_BYTES} are kept`);
        continue;
      }
      const stream = file.createReadStream({ autoClose: false });
      const url = await place.store.putStream(place.container, `${place.prefix}/${path}`, stream, signal);
      kept.push({ path, bytes: size, url });
    } catch (error) {
      if (!signal.aborted) tell(`${path} could not be kept: ${messageOf(error)}`);
    }
  }
  if (signal.aborted) cut(tell, 'artifacts');
  for (const path of missing) {
    const remedy = looksLikePattern(path) ? ': artifacts are names of files and folders, not patterns' : '';
    tell(`the artifact ${shown(path)} is not there${remedy}`);
  }
  for (const path of empty) tell(`the artifact ${shown(path)} has no files in it`);
  return kept;
}

/**
 * Looks for files.
 *
 * @returns names of files, sorted, each of them once; what of `wanted` is not there; and what of it is, without files
 */
async function look(
  root: string,
  wanted: readonly string[],
  search: (wanted: string) => Search,
  tell: Tell,
  signal: AbortSignal,
) {
  const budget: Budget = { left: MAX_ENTRIES, isSpent: false };
  const files = new Set<string>();
  const [missing, empty] = [new Set<string>(), new Set<string>()];
  const overfull = (what: string) => tell(`${what}; the others are passed over, of ${wanted.map(shown).join(', ')}`);
  searches: for (const one of new Set(wanted)) {
    const path = plainPath(one);
    if (path === undefined) {
      tell(`${shown(one)} is passed over: leads out of the folder`);
      continue;
    }
    let isEmpty = true;
    for await (const found of walk(root, search(path), budget, signal)) {
      if (found.kind === 'missing') missing.add(path);
      isEmpty = false;
      if (found.kind === 'passed-over') tell(`${shown(found.path)} is passed over: ${found.why}`);
      if (found.kind !== 'file' || files.has(found.path)) continue;
      if (files.size === MAX_FILES) {
        overfull(`there are more than ${MAX_FILES} files`);
        break searches;
      }
      files.add(found.path);
    }
    if (signal.aborted) break;
    if (budget.isSpent) {
      overfull(`there are more than ${MAX_ENTRIES} files and folders to look at`);
      break;
    }
    if (isEmpty && path !== '.') empty.add(path);
  }
  return { files: [...files].toSorted(), missing, empty };
}

/** Opens what was a file when it was found. */
async function openFile(root: string, path: string): Promise<FileHandle> {
  const handle = await openPlain(root, path);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new Error('is no file');
}

function cut(tell: Tell, what: string): undefined {
  tell(`time was up before all ${what} were collected`);
}
