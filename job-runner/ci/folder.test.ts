import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { type Budget, walk } from './folder.ts';
import { EVERYTHING, searchOf } from './patterns.ts';

const ALL = { start: '.', below: EVERYTHING };

async function folderOf(...paths: readonly string[]) {
  const directory = await mkdtempDisposable(join(await realpath(tmpdir()), 'slipway-folder-'));
  for (const path of paths) {
    mkdirSync(join(directory.path, dirname(path)), { recursive: true });
    writeFileSync(join(directory.path, path), '');
  }
  const run = async (search = ALL, budget: Budget = { left: 1000, isSpent: false }, signal = SIGNAL) => {
    const found: string[] = [];
    for await (const { kind, path } of walk(directory.path, search, budget, signal)) found.push(`${kind} ${path}`);
    return found;
  };
  return { root: directory.path, run, [Symbol.asyncDispose]: () => directory.remove() };
}

const SIGNAL = new AbortController().signal;

test('files come in the order of names, folder by folder, hidden ones too', async () => {
  await using at = await folderOf('b/c', 'b/a', '.hidden/x', 'a', 'c', 'B');
  expect(await at.run()).toEqual(['file .hidden/x', 'file B', 'file a', 'file b/a', 'file b/c', 'file c']);
});

test('other folders than those of the pattern are not looked through', async () => {
  await using at = await folderOf(
    'reports/a.xml',
    'reports/deep/b.xml',
    ...Array.from({ length: 50 }, (_, n) => `x/${n}`),
  );
  const budget = { left: 4, isSpent: false };
  expect(await at.run(searchOf('reports/*.xml'), budget)).toEqual(['file reports/a.xml']);
  expect(budget).toEqual({ left: 2, isSpent: false });
});

test('no more is looked at than may be, in one folder or in many', async () => {
  await using at = await folderOf('a/1', 'a/2', 'b/1', 'b/2');
  const budget = { left: 4, isSpent: false };
  expect(await at.run(ALL, budget)).toEqual(['file a/1', 'file a/2']);
  expect(budget).toEqual({ left: 0, isSpent: true });
  const enough = { left: 6, isSpent: false };
  expect(await at.run(ALL, enough)).toHaveLength(4);
  expect(enough).toEqual({ left: 0, isSpent: false });
});

test('it ends when time is up', async () => {
  await using at = await folderOf('a/1', 'a/2');
  expect(await at.run(ALL, undefined, AbortSignal.abort())).toEqual([]);
  const controller = new AbortController();
  const found: string[] = [];
  for await (const { path } of walk(at.root, ALL, { left: 1000, isSpent: false }, controller.signal)) {
    found.push(path);
    controller.abort();
  }
  expect(found).toEqual(['a/1']);
});

test('a folder of very many files, and folders deeper than a path may be', async () => {
  await using at = await folderOf();
  const script =
    'mkdir many deep; cd many; seq 30000 | xargs touch; cd ../deep; for at in $(seq 100); do mkdir "$1"; cd -P "$1"; done';
  execFileSync('bash', ['-c', script, 'bash', 'd'.repeat(100)], { cwd: at.root });
  const budget = { left: 1000, isSpent: false };
  expect(await at.run({ start: 'many', below: EVERYTHING }, budget)).toHaveLength(1000);
  expect(budget).toEqual({ left: 0, isSpent: true });
  expect(await at.run({ start: 'deep', below: EVERYTHING })).toEqual([expect.stringMatching(/^passed-over deep\/d/)]);
  // Node.js cannot remove them either.
  execFileSync('rm', ['-rf', join(at.root, 'deep')]);
});

test('what is not there, and what is none of both', async () => {
  await using at = await folderOf('a');
  symlinkSync('a', join(at.root, 'link'));
  expect(await at.run({ start: 'gone/b', below: EVERYTHING })).toEqual(['missing gone/b']);
  expect(await at.run({ start: 'a/b', below: EVERYTHING })).toEqual(['missing a/b']);
  expect(await at.run(searchOf('*.xml'))).toEqual([]);
  expect(await at.run()).toEqual(['file a', 'passed-over link']);
});

test('a name that is no UTF-8 is passed over', async () => {
  await using at = await folderOf('a');
  writeFileSync(Buffer.concat([Buffer.from(`${at.root}/`), Buffer.from([0xff, 0x62])]), '');
  expect(await at.run()).toEqual(['file a', 'passed-over \ufffdb']);
});

test('a pattern that takes long leaves a moment for the signal', async () => {
  await using at = await folderOf();
  const script = 'name=$(printf "a%.0s" $(seq 240)); seq 10000 50000 | sed "s/^/$name/" | xargs touch';
  execFileSync('bash', ['-c', script], { cwd: at.root });
  const from = performance.now();
  // Each name costs ten thousand steps and more.
  const search = searchOf(`*${'?'.repeat(110)}b*`);
  expect(await at.run(search, { left: 100_000, isSpent: false }, AbortSignal.timeout(250))).toEqual([]);
  const tookMs = performance.now() - from;
  expect(tookMs).toBeLessThan(1000);
});
