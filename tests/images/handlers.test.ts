/** docs/handlers.md as a reader would follow it: its files are written, its commands are run, in an empty folder and in our image. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VERSION } from '#/lib/version.ts';
import { type Docker, startDocker } from '#/testing/docker.ts';
import { buildImage, imageName } from '#/testing/images.ts';
import { type Block, pageBlocks } from '#/testing/page-blocks.ts';
import { attempt, run } from '#/testing/shell.ts';
import { startWebhookSink } from '#/testing/webhook-sink.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const node = join(root, 'node_modules/.bin');

let blocks: readonly Block[];
let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let engine: Docker;

beforeAll(async () => {
  blocks = pageBlocks('handlers.md');
  folder = await mkdtempDisposable(join(tmpdir(), 'slipway-handler-'));
  await run('npm', ['run', '--silent', 'build'], { cwd: root, timeoutMs: 120_000 });
  await run('npm', ['pack', join(root, 'dist/runner'), '--pack-destination', folder.path], { cwd: folder.path });
  for (const block of blocks.filter(({ file }) => file !== ''))
    await writeFile(join(folder.path, block.file), block.text);
  engine = await startDocker();
  await buildImage(engine, 'runner');
  // The image under the name that the page has for it.
  await engine.docker(['tag', imageName('runner'), `registry.example.com/slipway-runner:${VERSION}`]);
});
afterAll(async () => {
  await engine?.[Symbol.asyncDispose]();
  await folder?.remove();
});

const commands = (words: string) => {
  const found = blocks.filter(({ file, text }) => file === '' && text.includes(words));
  expect(found, words).toHaveLength(1);
  return found[0]?.text ?? '';
};
const inFolder = (text: string, env: Record<string, string> = {}) =>
  attempt('sh', ['-ec', text], {
    cwd: folder.path,
    env: { PATH: `${node}:${process.env['PATH']}`, HOME: folder.path, ...env },
    timeoutMs: 300_000,
  });

test('from an empty folder to a handler that is tested and has run', async () => {
  const installed = await inFolder(commands('npm install').replaceAll('npm install', 'npm install --prefer-offline'), {
    npm_config_cache: (await run('npm', ['config', 'get', 'cache'])).trim(),
    npm_config_registry: (await run('npm', ['config', 'get', 'registry'])).trim(),
  });
  expect([installed.code, installed.stderr]).toEqual([0, expect.any(String)]);
  const tested = await inFolder(commands('node --test'));
  expect(tested.stdout).toMatch(/pass 3\n.*fail 0\n/s);
  const ran = await inFolder(commands('npx slipway-runner'));
  expect(ran.code).toBe(0);
  expect(ran.stdout).toContain('"result":{"greeting":"Hello, Ines!"}');
  expect(ran.stdout).toContain('"metrics":{"durationMs":');
});

test('its types are those of the package', async () => {
  const tsc = join(node, 'tsc');
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--allowImportingTsExtensions',
  ];
  const types = ['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node'];
  const good = await attempt(tsc, [...options, ...types, 'greet.ts', 'greet.test.ts'], { cwd: folder.path });
  expect(good.stdout).toBe('');
  const text = await readFile(join(folder.path, 'greet.ts'), 'utf8');
  await writeFile(join(folder.path, 'wrong.ts'), text.replace('payload.name === ', 'payload.nome === '));
  const wrong = await attempt(tsc, [...options, ...types, 'wrong.ts'], { cwd: folder.path });
  expect(wrong.stdout).toContain("Property 'nome' does not exist");
});

test('in an image made of the runner’s, and under what the chart would run it', async () => {
  const docker = commands('docker build').replace(/^docker push.*$/m, '');
  const { code, stdout, stderr } = await inFolder(
    docker.replaceAll('docker run', 'docker run --network none --read-only --user 65532'),
    {
      DOCKER_HOST: engine.host,
      DOCKER_BUILDKIT: '0',
    },
  );
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  expect(stdout).toContain('task completed');
});

test('modules that cannot be used end with 78, and say why', async () => {
  const cases: [string, RegExp][] = [
    ['none.ts', /none\.ts, which is not there/],
    ['broken.ts', /broken\.ts, which cannot be loaded: /],
    ['package.json', /package\.json, which cannot be loaded/],
    ['empty.ts', /empty\.ts, which exports no handler/],
    ['greet.ts other.ts', /has two handlers, in greet\.ts and other\.ts/],
  ];
  await writeFile(join(folder.path, 'broken.ts'), "import 'nothing-of-that-name';\n");
  await writeFile(join(folder.path, 'empty.ts'), 'export const answer = 42;\n');
  await writeFile(join(folder.path, 'other.ts'), await readFile(join(folder.path, 'greet.ts'), 'utf8'));
  for (const [modules, words] of cases) {
    const { code, stdout } = await inFolder('npx slipway-runner', { SLIPWAY_HANDLERS: modules, TASK_DATA: '{}' });
    expect([modules, code]).toEqual([modules, 78]);
    expect(stdout).toMatch(words);
  }
});

test('the values are taken', async () => {
  for (const name of ['values.yaml', 'foreign-values.yaml']) {
    const base = 'queues: [{ name: acme-tasks }]\nrunner: { image: registry.example.com/slipway-runner:0.1.0 }\n';
    const text = await readFile(join(folder.path, name), 'utf8');
    const file = join(folder.path, `whole-${name}`);
    const config = `config:\n${base.replaceAll(/^/gm, '  ').trimEnd()}\n`;
    await writeFile(file, `storage: { existingSecret: storage }\n${text.replace('config:\n', config)}`);
    const { code, stdout, stderr } = await attempt(process.execPath, [
      join(root, 'cli/main.ts'),
      'config',
      'check',
      file,
    ]);
    expect([code, stderr, stdout]).toEqual([0, '', expect.any(String)]);
  }
});

test('the worker in Python and the one in shell do as they say', async () => {
  await using sink = await startWebhookSink();
  const task = (n: unknown) => ({
    TASK_DATA: JSON.stringify({ task_id: '1', task_type: 'double', payload: { n }, webhook_url: `${sink.url}/double` }),
  });
  expect((await inFolder('python3 worker.py', task(21))).code).toBe(0);
  expect(sink.requests.map(({ body }) => JSON.parse(body))).toEqual([{ task_id: '1', doubled: 42 }]);
  expect((await inFolder('python3 worker.py', task(null))).code).toBe(1);
  await chmod(join(folder.path, 'worker.sh'), 0o755);
  const child = spawn(join(folder.path, 'worker.sh'), [], {
    cwd: folder.path,
    env: {
      ...task(1),
      TASK_ID: '1',
      TASK_TYPE: 'check',
      CLIENT_ID: 'acme',
      WORKER_TASK_TIMEOUT: '60',
      PATH: '/bin:/usr/bin',
    },
    stdio: 'ignore',
  });
  expect((await once(child, 'close'))[0]).toBe(0);
});
