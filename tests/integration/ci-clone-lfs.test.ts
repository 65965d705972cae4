/** The clone of a CI task with files of Git LFS: real git and real git-lfs, which ask a stand-in for its server. */
import { chmod, mkdir, mkdtempDisposable, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLONE_ENV, CLONE_EXIT } from '#/operator/ci/clone.ts';
import { type CloneOptions, clone as cloneFrom } from '#/testing/clone.ts';
import { type GitServer, startGitServer } from '#/testing/git-server.ts';
import { type LfsServer, lfsPointer, startLfsServer } from '#/testing/lfs-server.ts';
import { attempt } from '#/testing/shell.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const PASSWORD = 'token-that-must-stay-hidden';
const BASIC = `Basic ${Buffer.from(`ci:${PASSWORD}`).toString('base64')}`;
const CONTENT = 'what is large\n';
const LOST = 'what the server has not\n';
const TRACKED = { Dockerfile: 'FROM scratch\n', '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n' };

const services = new AsyncDisposableStack();
let git: GitServer;
let open: LfsServer;
let closed: LfsServer;
/** Whoever wants to be sent the Secret: it asks for credentials and records what it gets. */
let evil: WebhookSink;

beforeAll(async () => {
  open = services.use(await startLfsServer());
  closed = services.use(await startLfsServer(PASSWORD));
  evil = services.use(await startWebhookSink());
  git = services.use(await startGitServer(PASSWORD, '127.0.0.1', open.batch));
  open.add(CONTENT);
  closed.add(CONTENT);
});
afterAll(() => services.disposeAsync());

const clone = (options: CloneOptions) => cloneFrom(git.url, { ref: 'main', ...options });

/** A repository whose `a b/x.bin` is of Git LFS, and whose endpoint is the one named. */
const commit = (name: string, url: string, files: Readonly<Record<string, string>> = {}) =>
  git.commit(name, {
    ...TRACKED,
    'a b/x.bin': lfsPointer(CONTENT),
    '.lfsconfig': `[lfs]\n\turl = ${url}\n`,
    ...files,
  });

/** The Secret, and the origins that it is for. */
const secretFor = (...origins: readonly string[]) => ({
  [CLONE_ENV.user]: 'ci',
  [CLONE_ENV.password]: PASSWORD,
  [CLONE_ENV.origins]: origins.join(' '),
});

const asksForCredentials = { status: 401, headers: { 'www-authenticate': 'Basic realm="Git LFS"' } };
const authorizations = (sink: WebhookSink, path: string) =>
  sink.requests.filter((request) => request.path === path).map(({ headers }) => headers.authorization);

describe('a file is there, not the pointer to it', () => {
  test('from the server of the repository, where no other is named', async () => {
    const head = await git.commit('plain', { ...TRACKED, 'a b/x.bin': lfsPointer(CONTENT), 'y.bin': 'no pointer' });
    await using cloned = await clone({ repository: 'plain' });
    expect([cloned.code, cloned.message]).toEqual([0, head]);
    expect(await cloned.file('a b/x.bin')).toBe(CONTENT);
    expect(await cloned.file('y.bin')).toBe('no pointer');
    expect(cloned.output).toContain(`fetching files of Git LFS from ${git.url}/plain.git/info/lfs`);
  });

  test('from the server that .lfsconfig names', async () => {
    await commit('named', `${open.url}/named`);
    await using cloned = await clone({ repository: 'named' });
    expect([cloned.code, await cloned.file('a b/x.bin')]).toEqual([0, CONTENT]);
    expect(open.requests.map(({ line }) => line)).toContain('POST /named/objects/batch');
  });

  test('in a submodule, where these are wanted', async () => {
    await commit('vendor', `${closed.url}/vendor`);
    await git.commit('parent', { Dockerfile: 'FROM scratch\n' });
    await git.git('parent', 'submodule', 'add', '--quiet', `${git.url}/vendor.git`, 'ven dor');
    await git.commit('parent', {});
    await using cloned = await clone({ repository: 'parent', submodules: true, env: secretFor(closed.url) });
    expect([cloned.code, await cloned.file('ven dor/a b/x.bin')]).toEqual([0, CONTENT]);

    await using refused = await clone({ repository: 'parent', submodules: true });
    expect(refused).toMatchObject({ code: CLONE_EXIT.lfs, message: '', last: cannotFetch(`${closed.url}/vendor`) });
    await using without = await clone({ repository: 'parent' });
    expect([without.code, await readdir(join(without.path, 'ven dor'))]).toEqual([0, []]);
  });

  test('but where .lfsconfig leaves it out, which is no error', async () => {
    const lfsconfig = `[lfs]\n\turl = ${open.url}/some\n\tfetchexclude = lost.bin\n`;
    await commit('excluded', '', { 'lost.bin': lfsPointer(LOST), '.lfsconfig': lfsconfig });
    await using cloned = await clone({ repository: 'excluded' });
    expect([cloned.code, await cloned.file('a b/x.bin')]).toEqual([0, CONTENT]);
    expect(await cloned.file('lost.bin')).toBe(lfsPointer(LOST));
  });
});

describe('the Secret', () => {
  test('is sent to a server whose origin it is for, and stands nowhere after it', async () => {
    await commit('private-app', `${closed.url}/allowed`);
    await using cloned = await clone({ repository: 'private-app', env: secretFor(git.url, closed.url) });
    expect([cloned.code, cloned.output]).toEqual([0, expect.not.stringContaining(PASSWORD)]);
    expect(await cloned.file('a b/x.bin')).toBe(CONTENT);
    const asked = closed.requests.filter(({ line }) => line === 'POST /allowed/objects/batch');
    expect(asked.at(-1)?.authorization).toBe(BASIC);
    expect(await cloned.whereInGit(PASSWORD)).toEqual([]);
  });

  test('is not sent to a server whose origin it is not for', async () => {
    evil.answer('/lure/objects/batch', asksForCredentials);
    await commit('lure', `${evil.url}/lure`);
    await using cloned = await clone({ repository: 'lure', env: secretFor(git.url) });
    expect(cloned).toMatchObject({ code: CLONE_EXIT.lfs, message: '', last: cannotFetch(`${evil.url}/lure`) });
    expect(new Set(authorizations(evil, '/lure/objects/batch'))).toEqual(new Set([undefined]));

    // Where its origin is named it gets it, the test sees what is sent: once, since it is refused, and git-lfs would offer it without end.
    await using trusting = await clone({ repository: 'lure', env: secretFor(git.url, evil.url) });
    expect(trusting).toMatchObject({ code: CLONE_EXIT.lfs, message: '', last: cannotFetch(`${evil.url}/lure`) });
    expect(authorizations(evil, '/lure/objects/batch').filter((one) => one === BASIC)).toHaveLength(1);
  });

  test('does not go on to the server that one of its own redirects to', async () => {
    await using trusted = await startWebhookSink();
    const path = '/redirects/objects/batch';
    trusted.answer(path, asksForCredentials, { status: 307, headers: { location: evil.url + path } });
    evil.answer(path, asksForCredentials);
    await commit('redirects', `${trusted.url}/redirects`);
    await using cloned = await clone({ repository: 'redirects', env: secretFor(git.url, trusted.url) });
    expect(cloned).toMatchObject({ code: CLONE_EXIT.lfs, message: '' });
    expect(authorizations(trusted, path)).toContain(BASIC);
    // git-lfs looked for credentials for it, and there were none.
    expect(cloned.output).toContain(`could not read Username for '${evil.url}'`);
    expect(authorizations(evil, path).filter((one) => one !== undefined)).toEqual([]);
  });
});

test.each([
  ['is not told otherwise', ''],
  ['is told that it does not matter', '\tskipdownloaderrors = true\n'],
])('a file that the server has not ends the clone, where .lfsconfig %s', async (_, more) => {
  const lfsconfig = `[lfs]\n\turl = ${open.url}/lost\n${more}`;
  await commit('lost', '', { 'lost.bin': lfsPointer(LOST), '.lfsconfig': lfsconfig });
  await using cloned = await clone({ repository: 'lost' });
  expect(cloned).toMatchObject({ code: CLONE_EXIT.lfs, message: '' });
  expect(cloned.last).toMatch(cannotFetchReason(`${open.url}/lost`, /\[[0-9a-f]{64}\] Object does not exist.*/));
});

describe('a hostile .lfsconfig', () => {
  /** A folder with a program that leaves a mark there, and whether it has run. */
  async function trap() {
    const directory = await mkdtempDisposable(join(tmpdir(), 'slipway-trap-'));
    const program = join(directory.path, 'program');
    await writeFile(program, `#!/bin/sh\ntouch ${directory.path}/ran\nexit 1\n`);
    await chmod(program, 0o755);
    return {
      program,
      path: directory.path,
      hasRun: async () => (await readdir(directory.path)).includes('ran'),
      [Symbol.asyncDispose]: () => directory.remove(),
    };
  }

  /** What the script does not: git-lfs goes where the file says. */
  const pullAsToldBy = (folder: string, env: Record<string, string> = {}, ...config: readonly string[]) =>
    attempt('git', ['-C', folder, ...config.flatMap((one) => ['-c', one]), 'lfs', 'pull'], {
      env: { GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', ...env },
    });

  const refusal = (url: string) => ({
    code: CLONE_EXIT.lfs,
    message: '',
    last: `error: .lfsconfig names ${url} for Git LFS, and only http and https are spoken`,
  });

  test('that names a folder of the pod gets nothing of it', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'slipway-pod-'));
    await attempt('git', ['init', '--quiet', '--bare', folder.path]);
    const secret = 'a file of the pod\n';
    const oid = /sha256:(\w+)/.exec(lfsPointer(secret))?.[1] ?? '';
    const objects = join(folder.path, 'lfs/objects', oid.slice(0, 2), oid.slice(2, 4));
    await mkdir(objects, { recursive: true });
    await writeFile(join(objects, oid), secret);
    const url = `file://${folder.path}`;
    await commit('folder', url, { 'a b/x.bin': lfsPointer(secret) });
    await using cloned = await clone({ repository: 'folder' });
    expect(cloned).toMatchObject(refusal(url));
    expect(await cloned.file('a b/x.bin')).toBe(lfsPointer(secret));

    await pullAsToldBy(cloned.path, {}, 'filter.lfs.smudge=git-lfs smudge -- %f');
    expect(await cloned.whereInGit(secret)).toHaveLength(1);
  });

  test('that names ssh starts none', async () => {
    await using ssh = await trap();
    const env = { GIT_SSH: ssh.program };
    await commit('ssh', 'ssh://git@evil.example/x');
    await using cloned = await clone({ repository: 'ssh', env });
    expect(cloned).toMatchObject(refusal('ssh://git@evil.example/x'));
    expect(await ssh.hasRun()).toBe(false);

    await pullAsToldBy(cloned.path, env);
    expect(await ssh.hasRun()).toBe(true);
  });

  test('that names programs has none of them run, and the file comes from its server', async () => {
    await using agent = await trap();
    const url = `${open.url}/agent`;
    const lfsconfig = `[lfs]
	url = ${url}
	standalonetransferagent = x
[lfs "${url}"]
	standalonetransferagent = x
[lfs "customtransfer.x"]
	path = ${agent.program}
[lfs "extension.x"]
	clean = ${agent.program}
	smudge = ${agent.program}
	priority = 0
[credential]
	helper = ${agent.program}
[core]
	fsmonitor = ${agent.program}
	sshCommand = ${agent.program}
[url "file:///etc"]
	insteadOf = ${open.url}
[remote "origin"]
	url = file:///etc
`;
    await commit('agent', '', { '.lfsconfig': lfsconfig });
    await using cloned = await clone({ repository: 'agent' });
    expect([cloned.code, await cloned.file('a b/x.bin')]).toEqual([0, CONTENT]);
    expect(await agent.hasRun()).toBe(false);

    // The program is one that git-lfs would run, if it were told so by git's own configuration.
    await commit('agent-told', url);
    await using told = await clone({
      repository: 'agent-told',
      env: {
        GIT_CONFIG_COUNT: '2',
        GIT_CONFIG_KEY_0: 'lfs.standalonetransferagent',
        GIT_CONFIG_VALUE_0: 'x',
        GIT_CONFIG_KEY_1: 'lfs.customtransfer.x.path',
        GIT_CONFIG_VALUE_1: agent.program,
      },
    });
    expect([told.code, await agent.hasRun()]).toEqual([CLONE_EXIT.lfs, true]);
  });
});

function cannotFetch(url: string) {
  return expect.stringMatching(cannotFetchReason(url, /batch response: Git credentials for .* not found\./));
}

function cannotFetchReason(url: string, reason: RegExp): RegExp {
  return new RegExp(`^error: files of Git LFS cannot be fetched from ${RegExp.escape(url)}: ${reason.source}$`);
}
