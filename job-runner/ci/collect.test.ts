import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { createLog } from '../../lib/log.ts';
import type { BlobStore } from '../blob-store.ts';
import { collect, type Wanted } from './collect.ts';
import { openPlain } from './folder.ts';

const JUNIT = '<testsuite><testcase name="a"/><testcase name="b"><failure message="no"/></testcase></testsuite>';

/** A folder of tests, and what is collected of it. */
async function setUp(files: Readonly<Record<string, string>>) {
  const whole = await mkdtempDisposable(join(tmpdir(), 'slipway-collect-'));
  const directory = join(whole.path, 'artifacts');
  mkdirSync(directory);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  const blobs = new Map<string, string>();
  const failing = new Set<string>();
  const store = {
    putStream: async (container, path, stream, signal) => {
      signal.throwIfAborted();
      if (failing.has(path)) throw new Error('Azure Blob Storage answered 503');
      blobs.set(`${container}/${path}`, await text(stream));
      return `https://blobs.example/${container}/${path}`;
    },
  } satisfies Pick<BlobStore, 'putStream'> as unknown as BlobStore;
  const place = { store, container: 'results', prefix: 'acme/1' };
  const run = (wanted: Partial<Wanted>, signal = new AbortController().signal, at: typeof place | undefined = place) =>
    collect(directory, { artifacts: [], junit: [], ...wanted }, at, createLog('silent', {}), signal);
  return { directory, outside: whole.path, blobs, failing, run, [Symbol.asyncDispose]: () => whole.remove() };
}

test('reports that match are put together, files and whole folders are kept', async () => {
  await using at = await setUp({
    'reports/a.xml': JUNIT,
    'reports/deep/b.xml': JUNIT,
    'logs/run.log': 'line',
    'logs/deep/more.log': 'lines',
    'other.txt': 'not wanted',
  });
  const { tests, artifacts, problems } = await at.run({
    junit: ['reports/**/*.xml', 'reports/a.xml'],
    artifacts: ['logs', 'reports/a.xml'],
  });
  expect(tests).toMatchObject({ tests: 4, passed: 2, failed: 2 });
  expect(artifacts).toEqual([
    { path: 'logs/deep/more.log', bytes: 5, url: 'https://blobs.example/results/acme/1/logs/deep/more.log' },
    { path: 'logs/run.log', bytes: 4, url: expect.any(String) },
    { path: 'reports/a.xml', bytes: JUNIT.length, url: expect.any(String) },
  ]);
  expect(at.blobs.get('results/acme/1/logs/run.log')).toBe('line');
  expect(problems).toEqual([]);
});

test('nothing asked for is nothing told', async () => {
  await using at = await setUp({ 'a.txt': 'a' });
  expect(await at.run({})).toEqual({ tests: undefined, artifacts: [], problems: [] });
});

test('everything, where the folder itself is named', async () => {
  await using at = await setUp({ 'a.txt': 'a', 'b/c.txt': 'c' });
  expect((await at.run({ artifacts: ['.'] })).artifacts.map(({ path }) => path)).toEqual(['a.txt', 'b/c.txt']);
});

describe('artifacts are names', () => {
  const kept = async (artifacts: string[], files: Readonly<Record<string, string>>) => {
    await using at = await setUp(files);
    const collected = await at.run({ artifacts });
    return [collected.artifacts.map(({ path }) => path), collected.problems];
  };

  test('of hidden files and folders too', async () => {
    const files = { 'coverage/.resultset.json': '{}', 'coverage/.hid/a.txt': 'a', '.top': 't', 'coverage/b': 'b' };
    const inCoverage = ['coverage/.hid/a.txt', 'coverage/.resultset.json', 'coverage/b'];
    expect(await kept(['coverage'], files)).toEqual([inCoverage, []]);
    expect(await kept(['.'], files)).toEqual([['.top', ...inCoverage], []]);
    expect(await kept(['.top', 'coverage/.hid'], files)).toEqual([['.top', 'coverage/.hid/a.txt'], []]);
  });

  test('whatever characters they have', async () => {
    const names = ['page[id].html', '{a,b}', 'w*t?', '@(x)', '..a', 'ü ›'];
    const files = Object.fromEntries([...names, 'pagei.html', 'a', 'b', 'what'].map((name) => [name, name]));
    expect(await kept(names, files)).toEqual([names.toSorted(), []]);
  });

  test('however they are written', async () => {
    const files = { 'coverage/index.html': 'i' };
    for (const name of ['coverage/./index.html', './coverage', 'coverage//', 'coverage/.', './.'])
      expect(await kept([name, 'coverage'], files)).toEqual([['coverage/index.html'], []]);
  });

  test('and no patterns: that is said where there is no such file', async () => {
    await using at = await setUp({ 'a.log': 'a' });
    mkdirSync(join(at.directory, 'nothing', 'in', 'it'), { recursive: true });
    expect(await at.run({ artifacts: ['*.log', 'gone.log', 'nothing'] })).toMatchObject({
      artifacts: [],
      problems: [
        'the artifact *.log is not there: artifacts are names of files and folders, not patterns',
        'the artifact gone.log is not there',
        'the artifact nothing has no files in it',
      ],
    });
  });

  test('of at most 500 files, the first ones by their names', async () => {
    const files = Object.fromEntries(Array.from({ length: 510 }, (_, at) => [`many/${1000 + at}`, '']));
    const [paths, problems] = await kept(['many', 'gone'], files);
    expect(paths).toEqual(Object.keys(files).slice(0, 500));
    expect(problems).toEqual(['there are more than 500 files; the others are passed over, of many, gone']);
  });
});

test('the first hundred problems are told, however many there are', async () => {
  await using at = await setUp({});
  for (let link = 1000; link < 1150; link++) symlinkSync('/etc/passwd', join(at.directory, `${link}`));
  const { problems } = await at.run({ artifacts: ['.'] });
  expect(problems).toHaveLength(101);
  expect([problems[0], problems[100]]).toEqual(['1000 is passed over: is a link', 'and 50 more problems']);
});

describe('what is missing is told', () => {
  test('reports and artifacts that are not there, or cannot be read', async () => {
    await using at = await setUp({ 'bad.xml': 'tests passed', 'a.txt': 'a' });
    at.failing.add('acme/1/a.txt');
    const { tests, problems } = await at.run({ junit: ['*.xml'], artifacts: ['a.txt', 'gone'] });
    expect(tests).toMatchObject({ tests: 0 });
    expect(problems).toEqual([
      expect.stringMatching(/^bad\.xml is no XML/),
      'a.txt could not be kept: Azure Blob Storage answered 503',
      'the artifact gone is not there',
    ]);
    expect((await at.run({ junit: ['nothing/*.xml'] })).problems).toEqual(['no report matches nothing/*.xml']);
  });

  test('no place for artifacts', async () => {
    await using at = await setUp({ 'a.txt': 'a' });
    const { problems } = await collect(
      at.directory,
      { artifacts: ['a.txt'], junit: [] },
      undefined,
      createLog('silent', {}),
      new AbortController().signal,
    );
    expect(problems).toEqual(['artifacts are not kept: no storage account is configured']);
  });

  test('the time is up', async () => {
    await using at = await setUp({ 'a.txt': 'a', 'a.xml': JUNIT });
    const { problems } = await at.run({ junit: ['*.xml'], artifacts: ['a.txt'] }, AbortSignal.abort());
    expect(problems).toEqual([
      'time was up before all reports were collected',
      'time was up before all artifacts were collected',
    ]);
  });
});

describe('nothing leads out of the folder', () => {
  test.each(['{..,x}/', '[.][.]/', '@(..)/', '+(.)/', '..\\\\', '../', './../'])(
    'no name that begins with %s',
    async (up) => {
      await using at = await setUp({ 'good.txt': 'good' });
      writeFileSync(join(at.outside, 'secret.txt'), JUNIT);
      const toRoot = up.repeat(at.directory.split('/').length - 1);
      const names = [`${up}secret.txt`, `${up}*`, `${toRoot}proc/${process.pid}/environ`];
      for (const name of names) {
        const { tests, artifacts, problems } = await at.run({ artifacts: [name], junit: [name] });
        expect([name, artifacts, tests]).toEqual([name, [], undefined]);
        expect(problems.join()).toMatch(/leads out of the folder|is not there|backslash/);
      }
      expect(at.blobs).toEqual(new Map());
    },
  );

  test.each(['../secret.txt', '../artifacts-2/a', '/etc/passwd', '..'])('and %s is not opened', async (path) => {
    await using at = await setUp({});
    mkdirSync(join(at.outside, 'artifacts-2'));
    for (const file of ['secret.txt', 'artifacts-2/a']) writeFileSync(join(at.outside, file), 'hidden');
    await expect(openPlain(realpathSync(at.directory), path)).rejects.toThrow('leads out of the folder');
  });

  test('nor does a name that some programs would take for a path', async () => {
    const names = ['..\\..\\x.xml', 'a\nb.xml', '\u009b2J.xml', 'deep\\/a.xml'];
    await using at = await setUp(Object.fromEntries(['good.xml', ...names].map((name) => [name, JUNIT])));
    const { tests, artifacts, problems } = await at.run({ artifacts: ['.'], junit: ['**/*.xml'] });
    expect(artifacts.map(({ path }) => path)).toEqual(['good.xml']);
    expect(tests?.tests).toBe(2);
    for (const name of ['..\\..\\x.xml', 'a\\u000ab.xml', '\\u009b2J.xml', 'deep\\'])
      expect(problems).toContain(
        `${name} is passed over: has a name with a backslash, a control character, or what is no UTF-8`,
      );
  });

  test('nor does a folder that becomes a link, and a folder again, all the time', async () => {
    await using at = await setUp({ 'real/a.txt': 'good' });
    const [folder, spare] = [join(at.directory, 'folder'), join(at.directory, 'spare')];
    mkdirSync(join(at.outside, 'other'));
    writeFileSync(join(at.outside, 'other', 'a.txt'), 'hidden');
    renameSync(join(at.directory, 'real'), folder);
    symlinkSync(join(at.outside, 'other'), spare);
    const swap = `const { renameSync: mv } = require('node:fs'); const [a, b] = process.argv.slice(1);
      for (;;) { mv(a, a + '-'); mv(b, a); mv(a, b); mv(a + '-', a); }`;
    const swapping = spawn(process.execPath, ['-e', swap, folder, spare]);
    const root = realpathSync(at.directory);
    const seen = new Set<string>();
    try {
      for (let tries = 0; tries < 20_000 && !(tries > 2000 && seen.has('good') && seen.has('is a link')); tries++) {
        const handle = await openPlain(root, 'folder/a.txt').catch((error: Error) => void seen.add(error.message));
        if (handle === undefined) continue;
        seen.add((await handle.readFile()).toString());
        await handle.close();
      }
    } finally {
      swapping.kill('SIGKILL');
      await once(swapping, 'exit');
    }
    expect(seen).toContain('good');
    expect(seen).toContain('is a link');
    expect(seen).not.toContain('hidden');
  });
});

describe('links lead nowhere', () => {
  test('neither a file, nor a folder, nor one on the way; each is told', async () => {
    await using at = await setUp({ 'good.txt': 'good' });
    const secret = join(at.outside, 'secret.txt');
    writeFileSync(secret, 'hidden');
    mkdirSync(join(at.outside, 'folder'));
    writeFileSync(join(at.outside, 'folder', 'secret.xml'), JUNIT);
    symlinkSync(secret, join(at.directory, 'file.txt'));
    symlinkSync('/proc/self/environ', join(at.directory, 'environ.txt'));
    symlinkSync(join(at.outside, 'folder'), join(at.directory, 'folder'));
    const { tests, artifacts, problems } = await at.run({
      junit: ['**/*.xml', 'folder/secret.xml'],
      artifacts: ['.', 'file.txt', 'environ.txt', 'folder', 'folder/secret.xml'],
    });
    expect(artifacts.map(({ path }) => path)).toEqual(['good.txt']);
    expect(tests?.tests ?? 0).toBe(0);
    expect([...at.blobs.values()]).toEqual(['good']);
    for (const link of ['file.txt', 'environ.txt', 'folder', 'folder/secret.xml'])
      expect(problems).toContain(`${link} is passed over: is a link`);
  });

  test('a pipe that nobody writes to holds nothing up', async () => {
    await using at = await setUp({ 'good.txt': 'good' });
    execFileSync('mkfifo', [join(at.directory, 'pipe')]);
    const { artifacts, problems } = await at.run({ artifacts: ['pipe', '.'] });
    expect(artifacts.map(({ path }) => path)).toEqual(['good.txt']);
    expect(problems).toEqual(['pipe is passed over: is neither file nor folder']);
  });
});
