import { chmod, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseReport } from '#/contract/runner-abi.ts';
import { type Docker, startDocker } from '#/testing/docker.ts';
import { buildImage, imageName, images } from '#/testing/images.ts';

let engine: Docker;
beforeAll(async () => {
  engine = await startDocker();
  for (const image of images) await buildImage(engine, image);
});
afterAll(() => engine?.[Symbol.asyncDispose]());

/** As the chart runs them: no network is needed for these, no capability, nothing to write to. */
const hardened = [
  'run',
  '--rm',
  '--network',
  'none',
  '--read-only',
  '--cap-drop',
  'ALL',
  '--security-opt',
  'no-new-privileges',
];

test.each(images)('%s: runs as a numeric user that is not root', async (image) => {
  const user = await engine.docker(['image', 'inspect', '--format', '{{.Config.User}}', imageName(image)]);
  expect(user.trim()).toBe('65532:65532');
});

test.each(images)('%s: holds its bundle and no package of others', async (image) => {
  const find = `console.log(fs.readdirSync('/app', { recursive: true }).join(' '))`;
  const files = await engine.docker([...hardened, '--entrypoint', 'node', imageName(image), '-e', find]);
  expect(files).toContain(`${image}.mjs`);
  // Of the runner what handlers of one's own find it by, and nothing else.
  const packages = [...files.matchAll(/node_modules\/([\w@-]+)/g)].map(([, name]) => name);
  expect([...new Set(packages)]).toEqual(image === 'runner' ? ['slipway-runner'] : []);
});

test('operator: a wrong configuration ends it with 78 and all reasons', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-config-'));
  await chmod(directory.path, 0o755);
  const file = join(directory.path, 'config.yaml');
  await writeFile(file, 'backend: aci\nnonsense: true\n');
  const mount = ['--volume', `${file}:/etc/slipway/config.yaml:ro`];
  const { code, stderr } = await engine.attempt([...hardened, ...mount, imageName('operator')]);
  expect(stderr).toContain('backend');
  expect(stderr).toContain('nonsense');
  expect(code).toBe(78);
});

test('operator: has the command line beside it', async () => {
  const slipway = [...hardened, '--entrypoint', 'node', imageName('operator'), '/app/cli/slipway.mjs'];
  expect(await engine.docker([...slipway, 'tasks', '--help'])).toContain('slipway tasks');
  const { code, stderr } = await engine.attempt([...slipway, 'tasks']);
  expect(stderr).toContain('there is no kubeconfig');
  expect(code).toBe(78);
});

test('operator: without a configuration it names the file that it misses', async () => {
  const { code, stderr } = await engine.attempt([...hardened, imageName('operator')]);
  expect(stderr).toContain('/etc/slipway/config.yaml');
  expect(code).toBe(78);
});

test('runner: echo from TASK_DATA ends it with 0 and a report', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-report-'));
  await chmod(directory.path, 0o755);
  const file = join(directory.path, 'termination-log');
  await writeFile(file, '');
  await chmod(file, 0o666); // as the kubelet does
  const data = JSON.stringify({ task_id: 't-1', task_type: 'echo', payload: { text: 'hello' } });
  const mount = ['--volume', `${file}:/dev/termination-log`, '--env', `TASK_DATA=${data}`];
  const { code, stderr } = await engine.attempt([...hardened, ...mount, imageName('runner')]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(parseReport(await readFile(file, 'utf8'))).toMatchObject({ v: 1, status: 'completed' });
});
