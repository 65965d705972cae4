/** The script that brings a repository into a pod of a CI task, with real git against git's own server. */
import { mkdtempDisposable, readdir, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLONE_ENV, CLONE_EXIT } from '#/operator/ci/clone.ts';
import { readCiPayload } from '#/operator/ci/payload.ts';
import { type CloneOptions, clone as cloneFrom } from '#/testing/clone.ts';
import { type GitServer, startGitServer } from '#/testing/git-server.ts';
import { attempt, run } from '#/testing/shell.ts';

/** As bots and people name them; a shell would find much in it. */
const ODD_REF = `dependabot/npm/@acme/x-1.2+$(id)/#7'"&;grün`;
const PASSWORD = 'token-that-must-stay-hidden';
let server: GitServer;
let first: string;
let second: string;

beforeAll(async () => {
  server = await startGitServer(PASSWORD);
  first = await server.commit('app', { Dockerfile: 'FROM scratch\n', 'src/a.txt': 'one' });
  second = await server.commit('app', { 'src/a.txt': 'two' });
  await server.git('app', 'tag', 'v1', first);
  await server.git('app', 'push', '--quiet', 'origin', 'v1', `${first}:refs/heads/${ODD_REF}`);
  await server.commit('private-app', { Dockerfile: 'FROM scratch\n' });
});
afterAll(() => server?.[Symbol.asyncDispose]());

/** Of the repository `app`, unless another is named. */
type Options = Partial<CloneOptions>;
const clone = (options: Options) => cloneFrom(server.url, { repository: 'app', ...options });

test('the exact commit, though the branch has gone on; nothing of its history', async () => {
  await using cloned = await clone({ commit: first });
  expect([cloned.code, cloned.message]).toEqual([0, first]);
  expect(await cloned.file('src/a.txt')).toBe('one');
  const { stdout } = await attempt('git', ['-C', cloned.path, 'rev-list', '--count', '--all']);
  expect(stdout.trim()).toBe('1');
});

test('a commit of a repository with SHA-256', async () => {
  const commit = await server.commit('sha256-app', { Dockerfile: 'FROM scratch\n', 'src/a.txt': 'of 64 digits' });
  await server.commit('sha256-app', { 'src/a.txt': 'later' });
  await using cloned = await clone({ repository: 'sha256-app', commit });
  expect(commit).toMatch(/^[0-9a-f]{64}$/);
  expect([cloned.code, cloned.message]).toEqual([0, commit]);
  expect(await cloned.file('src/a.txt')).toBe('of 64 digits');
});

describe('a server that gives no commit by its hash', () => {
  test('the commit is found in all that branches and tags have', async () => {
    const old = await server.commit('v0-app', { Dockerfile: 'FROM scratch\n', 'src/a.txt': 'old' });
    await server.commit('v0-app', { 'src/a.txt': 'new' });
    await using cloned = await clone({ repository: 'v0-app', commit: old });
    expect([cloned.code, cloned.message]).toEqual([0, old]);
    expect(cloned.output).toContain(`Server does not allow request for unadvertised object ${old}`);
    expect(await cloned.file('src/a.txt')).toBe('old');

    const tagged = await server.commit('v0-app', { 'src/a.txt': 'tagged' });
    await server.git('v0-app', 'commit', '--quiet', '--allow-empty', '--message', 'after it');
    await server.git('v0-app', 'push', '--quiet', 'origin', 'HEAD:refs/tags/v1');
    await server.git('v0-app', 'push', '--quiet', '--force', 'origin', `${old}:refs/heads/main`);
    await using ofTag = await clone({ repository: 'v0-app', commit: tagged });
    expect([ofTag.code, ofTag.message]).toEqual([0, tagged]);
  });

  test('nor has it in a branch or tag', async () => {
    await server.commit('v0-none', { Dockerfile: 'FROM scratch\n' });
    const commit = '0123456789'.repeat(4);
    await using cloned = await clone({ repository: 'v0-none', commit });
    expect(cloned).toMatchObject({ code: 1, message: '' });
    expect(cloned.last).toBe(`error: no branch and no tag of the repository has commit ${commit}`);
  });
});

test('a commit that is not there is said to be so, and nothing else is fetched for it', async () => {
  const commit = '0123456789'.repeat(4);
  await using cloned = await clone({ commit });
  expect(cloned).toMatchObject({ code: 1, message: '' });
  expect(cloned.last).toBe(`error: the repository has no commit ${commit}`);
  expect(cloned.output).not.toContain('fetching all');
});

test.each([
  ['a branch', 'main', () => second],
  ['a tag', 'v1', () => first],
  ['a branch whose name is not of letters alone', ODD_REF, () => first],
])('%s is resolved to its commit', async (_, ref, commit) => {
  await using cloned = await clone({ ref });
  expect([cloned.code, cloned.message]).toEqual([0, commit()]);
});

test.each([
  ['a commit that is not there', { commit: '0123456789012345678901234567890123456789' }],
  ['a branch that is not there', { ref: 'nowhere' }],
  ['a repository that is not there', { repository: 'nothing', ref: 'main' }],
  ['a repository that asks for a password', { repository: 'private-app', ref: 'main' }],
  ['a host that does not answer', { repository: 'http://127.0.0.1:1/a.git', ref: 'main' }],
])('%s fails, without a commit', async (_, options) => {
  await using cloned = await clone(options);
  expect(cloned.code).not.toBe(0);
  expect(cloned.message).toBe('');
});

test('credentials come from the environment, and stand nowhere after it', async () => {
  const env = {
    [CLONE_ENV.user]: 'ci',
    [CLONE_ENV.password]: PASSWORD,
    [CLONE_ENV.origins]: `https://a.example ${server.url}`,
  };
  await using cloned = await clone({ repository: 'private-app', ref: 'main', env });
  expect([cloned.code, cloned.output]).toEqual([0, expect.not.stringContaining(PASSWORD)]);
  expect(await cloned.whereInGit(PASSWORD)).toEqual([]);
  await using wrong = await clone({
    repository: 'private-app',
    ref: 'main',
    env: { ...env, [CLONE_ENV.password]: 'x' },
  });
  expect(wrong.code).not.toBe(0);
});

test('credentials are sent to the origins that they are for, and to no other that a message or a submodule names', async () => {
  const asked: string[] = [];
  const evil = createServer((request, response) => {
    asked.push(request.headers.authorization ?? 'nothing');
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
  });
  await new Promise<void>((done) => evil.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(evil.address() as AddressInfo).port}`;
  const env = { [CLONE_ENV.user]: 'ci', [CLONE_ENV.password]: PASSWORD, [CLONE_ENV.origins]: server.url };
  try {
    await using direct = await clone({ repository: `${url}/a.git`, ref: 'main', env });
    expect(direct.code).not.toBe(0);
    const commit = await server.commit('lures', {
      Dockerfile: 'FROM scratch\n',
      '.gitmodules': `[submodule "vendor"]\n\tpath = vendor\n\turl = ${url}/b.git\n`,
    });
    await server.git('lures', 'update-index', '--add', '--cacheinfo', `160000,${commit},vendor`);
    await server.git('lures', 'commit', '--quiet', '--message', 'a submodule');
    await server.git('lures', 'push', '--quiet', 'origin', 'HEAD:main');
    await using lured = await clone({ repository: 'lures', ref: 'main', submodules: true, env });
    expect(lured.code).not.toBe(0);
    // Both asked, and nothing was told.
    expect(asked.length).toBeGreaterThan(1);
    expect(new Set(asked)).toEqual(new Set(['nothing']));
  } finally {
    evil.closeAllConnections();
    await new Promise((done) => evil.close(done));
  }
});

test('submodules, where they are wanted; none that names a file of the pod', async () => {
  await server.commit('library', { 'lib.txt': 'lib' });
  const add = (url: string) =>
    server.git('app', '-c', 'protocol.file.allow=always', 'submodule', 'add', '--quiet', url, 'vendor');
  await add(`${server.url}/library.git`);
  const commit = await server.commit('app', {});
  await using cloned = await clone({ commit, submodules: true });
  expect([cloned.code, await cloned.file('vendor/lib.txt')]).toEqual([0, 'lib']);
  await using without = await clone({ commit });
  expect(await readdir(join(without.path, 'vendor'))).toEqual([]);
  const hostile = await server.commit('app', {
    '.gitmodules': '[submodule "vendor"]\n\tpath = vendor\n\turl = file:///etc\n',
  });
  await using refused = await clone({ commit: hostile, submodules: true });
  expect(refused.code).not.toBe(0);
  expect(refused.output).toMatch(/transport 'file' not allowed/);
});

test('a server that gives another commit than was asked for is not believed', async () => {
  // As a ref of that name would do it.
  await server.git('app', 'push', '--quiet', 'origin', `${second}:refs/heads/${'a'.repeat(40)}`).catch(() => undefined);
  await using cloned = await clone({ commit: 'a'.repeat(40) });
  expect([CLONE_EXIT.wrongCommit, 1, 128]).toContain(cloned.code);
  expect(cloned.message).toBe('');
});

test('a repository without what is to be built is told so, with the commit', async () => {
  const commit = second;
  await using noFile = await clone({ commit, dockerfile: 'docker/Dockerfile' });
  expect([noFile.code, noFile.last]).toEqual([
    CLONE_EXIT.nothingToBuild,
    `the repository has no file docker/Dockerfile at commit ${commit}`,
  ]);
  await using noFolder = await clone({ commit, context: 'services/$(id)' });
  expect([noFolder.code, noFolder.last]).toEqual([
    CLONE_EXIT.nothingToBuild,
    `the repository has no folder services/$(id) at commit ${commit}`,
  ]);
});

describe('files of Git LFS, where the image has no git-lfs', () => {
  const files = {
    Dockerfile: 'FROM scratch\n',
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    'a b.bin': `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 1\n`,
  };
  const WITHOUT_LFS =
    /^error: the repository has files of Git LFS, and the image that clones has no git-lfs: .*ci\.gitImage/;

  /** Clones with what the script and git's own scripts call, and nothing else. */
  async function cloneWithoutLfs(options: Options) {
    await using bin = await mkdtempDisposable(join(tmpdir(), 'slipway-bin-'));
    for (const name of ['git', 'sh', 'sed', 'head', 'basename', 'uname']) {
      await symlink((await run('sh', ['-c', `command -v ${name}`])).trim(), join(bin.path, name));
    }
    await using cloned = await clone({ ...options, env: { PATH: bin.path } });
    return { code: cloned.code, message: cloned.message, last: cloned.last };
  }

  test('the clone ends, in submodules too: nothing is built of pointers', async () => {
    const expected = { code: CLONE_EXIT.lfs, message: '', last: expect.stringMatching(WITHOUT_LFS) };
    await server.commit('lfs', files);
    expect(await cloneWithoutLfs({ repository: 'lfs', ref: 'main' })).toEqual(expected);

    await server.commit('lfs-parent', { Dockerfile: 'FROM scratch\n' });
    await server.git('lfs-parent', 'submodule', 'add', '--quiet', `${server.url}/lfs.git`, 'ven dor');
    const commit = await server.commit('lfs-parent', {});
    expect(await cloneWithoutLfs({ repository: 'lfs-parent', commit, submodules: true })).toEqual(expected);
    expect(await cloneWithoutLfs({ repository: 'lfs-parent', commit })).toMatchObject({ code: 0, message: commit });
  });

  test('files that are there themselves are no pointers, whatever their attribute', async () => {
    const commit = await server.commit('lfs-raw', { ...files, 'a b.bin': 'no pointer' });
    expect(await cloneWithoutLfs({ repository: 'lfs-raw', commit })).toMatchObject({ code: 0, message: commit });
  });

  test.each([
    ['url = file:///etc', 'file:///etc'],
    ['url = ssh://git@evil.example/x', 'ssh://git@evil.example/x'],
    ['url = /etc', '/etc'],
    ['[remote "origin"]\nlfsurl = file:///etc', 'file:///etc'],
  ])('an address in .lfsconfig that is not http or https is not gone to: %j', async (line, url) => {
    const commit = await server.commit('lfs-lures', { ...files, '.lfsconfig': `[lfs]\n${line}\n` });
    expect(await cloneWithoutLfs({ repository: 'lfs-lures', commit })).toEqual({
      code: CLONE_EXIT.lfs,
      message: '',
      last: `error: .lfsconfig names ${url} for Git LFS, and only http and https are spoken`,
    });
  });
});

test('what is taken for a ref is what git takes for one', async () => {
  const names = [
    'main',
    ODD_REF,
    'HEAD',
    '漢字',
    'a./b',
    '@',
    '@{u}',
    '-x',
    'a b',
    'a..b',
    'a.lock',
    'a.lock/b',
    'a/',
    '/a',
    'a//b',
  ];
  const more = ['.a', 'a/.b', 'a.', 'a:b', 'a~1', 'a^', 'a?', 'a*', 'a[', 'a\\b', 'a\tb', 'a\u00a0b', 'a@{b'];
  for (const ref of [...names, ...more]) {
    const { code } = await attempt('git', ['check-ref-format', '--allow-onelevel', ref]);
    const { kind } = readCiPayload({ repository: 'https://git.example.test/a', ref, test: { command: 'true' } });
    expect([ref, kind]).toEqual([ref, code === 0 ? 'valid' : 'invalid']);
  }
});
