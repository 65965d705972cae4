/** The stand-in for Kaniko, held to what Kaniko itself made of the same contexts; and the images that a CI task's pod has besides. */
import { chmod, cp, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Build, executorArgs } from '#/kaniko/executor.ts';
import { CLONE_ENV, CLONE_SCRIPT } from '#/operator/ci/clone.ts';
import cases from '#/testing/builder/cases.json' with { type: 'json' };
import { type Docker, startDocker } from '#/testing/docker.ts';
import { startFaultProxy } from '#/testing/fault-proxy.ts';
import { startGitServer } from '#/testing/git-server.ts';
import { builderArchive, busyboxArchive, gitArchive, loadArchive } from '#/testing/images.ts';
import { type Registry, startRegistry } from '#/testing/registry.ts';
import { run } from '#/testing/shell.ts';

const BUILDER = fileURLToPath(new URL('../../testing/builder', import.meta.url));
/** What the pod gives it: see operator/ci/pod.ts. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETFCAP', 'SETGID', 'SETUID'];
const WORKSPACE = '/kaniko/workspace';

const running = new AsyncDisposableStack();
let engine: Docker;
let registry: Registry;
let image: string;
let base: string;

beforeAll(async () => {
  const archive = await builderArchive();
  registry = running.use(await startRegistry({ auth: true }));
  base = await registry.push(await busyboxArchive(), 'busybox:1');
  engine = running.use(await startDocker());
  image = await loadArchive(engine.host, archive, 'kaniko-stand-in');
});
afterAll(() => running.disposeAsync());

/** Builds a folder as the pod does: cloned by user 65532 into a volume of its group. Gives how it ended and the termination message. */
async function build(folder: string, more: Partial<Build> = {}, dockerConfig = registry.dockerConfig) {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-build-'));
  const inside = (name: string) => join(directory.path, name);
  await cp(folder, inside('workspace'), { recursive: true, verbatimSymlinks: true });
  await run('sh', [
    '-ec',
    'chown -Rh 65532:65532 "$0"; chmod -R u=rwX,go=rX "$0"; find "$0" -type d -exec chmod g+s {} +',
    inside('workspace'),
  ]);
  await writeFile(inside('config.json'), dockerConfig);
  await writeFile(inside('termination-log'), '');
  const args = executorArgs({
    workspace: WORKSPACE,
    context: '.',
    dockerfile: 'Dockerfile',
    destinations: [`${registry.name}/out:1`],
    target: undefined,
    cache: undefined,
    insecureRegistries: [registry.name],
    flags: ['--digest-file=/dev/termination-log'],
    ...more,
    buildArgs: { BASE: base, ...more.buildArgs },
  });
  const mounts = [
    `${inside('workspace')}:${WORKSPACE}:ro`,
    `${inside('config.json')}:/kaniko/.docker/config.json:ro`,
    `${inside('termination-log')}:/dev/termination-log`,
  ];
  const done = await engine.attempt([
    ...['run', '--rm', '--network', 'host', '--security-opt', 'no-new-privileges', '--cap-drop', 'ALL'],
    ...CAPABILITIES.flatMap((one) => ['--cap-add', one]),
    ...mounts.flatMap((mount) => ['--volume', mount]),
    image,
    ...args,
  ]);
  const last = done.stderr.trimEnd().split('\n').at(-1) ?? '';
  return { ...done, last, message: await readFile(inside('termination-log'), 'utf8') };
}

/** Builds what a Dockerfile says, beside one file. */
async function buildText(dockerfile: string, more: Partial<Build> = {}, dockerConfig?: string) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'slipway-context-'));
  await writeFile(join(folder.path, 'Dockerfile'), `ARG BASE\nFROM \${BASE}\n${dockerfile}\n`);
  await writeFile(join(folder.path, 'file.txt'), 'a file\n');
  return await build(folder.path, more, dockerConfig);
}

const names = Object.keys(cases) as (keyof typeof cases)[];

test.each(names)('%s: what is pushed is what Kaniko has pushed', async (name) => {
  const { buildArgs, ...more }: { buildArgs: Record<string, string>; target?: string } = cases[name];
  const destinations = [`${registry.name}/${name}:1`, `${registry.name}/${name}:latest`] as const;
  const done = await build(join(BUILDER, 'cases', name), { destinations: [...destinations], buildArgs, ...more });
  expect([done.code, done.last]).toEqual([0, expect.stringContaining('Pushed')]);
  const recorded = (file: string) => readFile(join(BUILDER, 'recorded', name, file), 'utf8');
  for (const destination of destinations) {
    const pushed = await registry.read(destination);
    expect(pushed.digest).toBe(done.message);
    expect(comparable(pushed.config)).toEqual(comparable(JSON.parse(await recorded('config.json'))));
    expect(pushed.files).toBe(await recorded('files.txt'));
  }
});

/** A configuration without its times, and without the digests of layers, in which files have theirs. */
function comparable({ created: _, rootfs, ...rest }: { created?: string; rootfs: { diff_ids: readonly string[] } }) {
  return { ...rest, layers: rootfs.diff_ids.length };
}

test('a RUN that fails ends it with its code', async () => {
  const done = await buildText('RUN echo some words >&2; exit 42', { destinations: [`${registry.name}/failed:1`] });
  expect([done.code, done.message]).toEqual([42, '']);
  expect(done.stderr).toContain('\nsome words\n');
  expect(done.last).toBe(
    'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 42',
  );
  await expect(registry.read(`${registry.name}/failed:1`)).rejects.toThrow('manifest unknown');
});

test.each([
  ['RUNN x', 'error building image: parsing dockerfile: dockerfile parse error on line 3: unknown instruction: RUNN'],
  ['HEALTHCHECK NONE', 'cannot do HEALTHCHECK (line 3 of the Dockerfile)'],
  [
    'COPY none.txt /',
    'error building image: error building stage: failed to get files used from context: failed to get fileinfo for /kaniko/workspace/none.txt: lstat /kaniko/workspace/none.txt: no such file or directory',
  ],
  ['COPY *.txt Dockerfile /one', "destination must be a directory and end in '/'"],
  ['USER nobody\nRUN true', 'user nobody is not a uid and does not exist on the system'],
  [
    'RUN mkdir -m 700 /closed\nWORKDIR /closed\nUSER 7\nRUN true',
    'starting command: fork/exec /bin/sh: permission denied',
  ],
  ['RUN ["/bin/none"]', 'starting command: fork/exec /bin/none: no such file or directory'],
])('%j ends it with 1', async (text, words) => {
  const done = await buildText(text);
  expect([done.code, done.last]).toEqual([1, expect.stringContaining(words)]);
});

test('without the right to push nothing is built', async () => {
  const refused = { auths: { [registry.name]: { auth: Buffer.from('ci:wrong').toString('base64') } } };
  for (const config of ['{}', JSON.stringify(refused)]) {
    const done = await buildText('RUN echo it runs >&2', {}, config);
    expect(done.code).toBe(1);
    expect(done.last).toMatch(
      /^error checking push permissions: checking push permission for "[^"]+\/out:1": .*UNAUTHORIZED/,
    );
    expect(done.stderr).not.toContain('it runs');
  }
});

test('a push that fails is tried again, and says so', async () => {
  await using proxy = await startFaultProxy({ upstream: `http://${registry.name}`, operationOf: (method) => method });
  const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'not this one' }] });
  proxy.use(({ method, path }) =>
    method === 'PUT' && path.includes('/manifests/')
      ? { kind: 'answer', name: 'denied', status: 403, headers: {}, body }
      : undefined,
  );
  const name = new URL(proxy.url).host;
  const config = registry.dockerConfig.replace(registry.name, name);
  const of = {
    destinations: [`${name}/out:1`],
    insecureRegistries: [name],
    buildArgs: { BASE: base.replace(registry.name, name) },
  } as const;
  const done = await buildText('RUN true', of, config);
  // Kaniko too has told the digest by then.
  expect([done.code, done.message]).toEqual([1, expect.stringMatching(/^sha256:/)]);
  expect(done.last).toMatch(/^error pushing image: failed to push to destination .*: PUT .*: DENIED: not this one$/);
  expect(proxy.injected('denied')).toBe(4);
});

test('a base image that is not there', async () => {
  const missing = await buildText('', { buildArgs: { BASE: `${registry.name}/none:1` } });
  expect([missing.code, missing.last]).toEqual([1, expect.stringMatching(/^error building image: .*MANIFEST_UNKNOWN/)]);
});

test('a registry that is not named insecure is asked by TLS', async () => {
  const done = await buildText('', { insecureRegistries: [] });
  expect([done.code, done.last]).toEqual([1, expect.stringMatching(/^error checking push permissions: .*POST https:/)]);
});

test('what is wrong before anything is done stands before the usage', async () => {
  const cases: [Partial<Build>, string][] = [
    [{ dockerfile: 'none' }, 'error resolving dockerfile path: please provide a valid path to a Dockerfile'],
    [{ flags: ['--no-such'] }, 'unknown flag: --no-such'],
    [{ flags: ['--reproducible'] }, 'the stand-in for Kaniko cannot do --reproducible'],
  ];
  for (const [more, words] of cases) {
    const done = await buildText('', more);
    expect([done.code, done.last]).toEqual([
      1,
      'Use "executor [command] --help" for more information about a command.',
    ]);
    expect(done.stderr).toContain(`Error: ${words}`);
    // The kubelet keeps 2048 bytes of what is last.
    expect(done.stderr.slice(-2048)).not.toContain(words);
  }
});

test('a context that is not there is one without files', async () => {
  const done = await buildText('COPY file.txt /', { context: 'none' });
  expect([done.code, done.last]).toEqual([
    1,
    expect.stringContaining('lstat /kaniko/workspace/none/file.txt: no such file'),
  ]);
});

test('a cache is taken, and said to have no effect', async () => {
  const cached = await buildText('CMD ["x"]', { cache: `${registry.name}/cache` });
  expect([cached.code, cached.stderr]).toEqual([0, expect.stringContaining('takes --cache-repo, which has no effect')]);
});

test('git: the clone script in the image with git, as its pod runs it', async () => {
  const git = await loadArchive(engine.host, await gitArchive(), 'git');
  await using server = await startGitServer('secret');
  const commit = await server.commit('private', { 'src/a.txt': 'A' });
  await using workspace = await mkdtempDisposable(join(tmpdir(), 'slipway-clone-'));
  await chmod(workspace.path, 0o777);
  const env = {
    [CLONE_ENV.repository]: `${server.url}/private.git`,
    [CLONE_ENV.commit]: commit,
    [CLONE_ENV.ref]: '',
    [CLONE_ENV.submodules]: 'true',
    [CLONE_ENV.context]: '.',
    [CLONE_ENV.dockerfile]: 'src/a.txt',
    [CLONE_ENV.origins]: server.url,
    [CLONE_ENV.user]: 'git',
    [CLONE_ENV.password]: 'secret',
    CI_TERMINATION_LOG: '/tmp/log',
  };
  const { code, stdout, stderr } = await engine.attempt([
    ...['run', '--rm', '--network', 'host', '--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges', '--volume', `${workspace.path}:/workspace`, '--workdir', '/workspace'],
    ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...[git, '/bin/sh', '-c', `${CLONE_SCRIPT}echo "$(cat /tmp/log) $(id -u)"`],
  ]);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.trimEnd().split('\n').at(-1)).toBe(`${commit} 65532`);
  expect(await readFile(join(workspace.path, 'src/a.txt'), 'utf8')).toBe('A');
});
