/** The chart of a release, pushed by the script of the workflow to a registry of the kind that a node pulls from, and pulled again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, cp, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VERSION } from '#/lib/version.ts';
import { binDirectory, ensureBinaries } from '#/testing/binaries.ts';
import { eventually } from '#/testing/eventually.ts';
import { attempt } from '#/testing/shell.ts';

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let registry: ChildProcess;
let address: string;

beforeAll(async () => {
  await ensureBinaries('build');
  await ensureBinaries('node');
  folder = await mkdtempDisposable(join(tmpdir(), 'slipway-chart-release-'));
  address = `127.0.0.1:${await freePort()}`;
  const config = join(folder.path, 'registry.yaml');
  const storage = `{ filesystem: { rootdirectory: ${join(folder.path, 'registry')} } }`;
  await writeFile(config, `version: 0.1\nlog: { level: warn }\nstorage: ${storage}\nhttp: { addr: "${address}" }\n`);
  registry = spawn(join(binDirectory, 'registry'), ['serve', config], {
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
    stdio: 'ignore',
  });
  await eventually(async () => expect((await fetch(`http://${address}/v2/`)).status).toBe(200));
}, 3_600_000);
afterAll(async () => {
  if (registry?.exitCode === null && registry.kill('SIGTERM')) await once(registry, 'exit');
  await folder?.remove();
});

const release = (script: string, args: readonly string[], env: Record<string, string> = {}) =>
  attempt(script, args, {
    env: {
      PATH: `${binDirectory}:${process.env['PATH']}`,
      HOME: folder.path,
      XDG_CACHE_HOME: folder.path,
      GITHUB_REF_NAME: `v${VERSION}`,
      PLAIN_HTTP: '1',
      ...env,
    },
  });
const SCRIPT = fileURLToPath(import.meta.resolve('#/scripts/ci/release-chart'));

test('is pushed to every repository with one digest, and is what was pulled again', async () => {
  const summary = join(folder.path, 'summary.md');
  const repositories = [`oci://${address}/charts`, `oci://${address}/acme`];
  const { code, stdout, stderr } = await release(SCRIPT, repositories, { GITHUB_STEP_SUMMARY: summary });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const lines = (await readFile(summary, 'utf8')).trim().split('\n');
  expect(lines.map((line) => line.replace(/@sha256:[0-9a-f]{64}/, '@DIGEST'))).toEqual(
    repositories.map((repository) => `${repository}/slipway@DIGEST is slipway ${VERSION}`),
  );
  expect(new Set(lines.map((line) => /sha256:\w+/.exec(line)?.[0])).size).toBe(1);
  for (const line of lines) expect(stdout).toContain(line);
});

test('a registry that is not there, a tag of another version and a chart that does not render fail', async () => {
  const gone = await release(SCRIPT, [`oci://127.0.0.1:${await freePort()}/charts`]);
  expect(gone.code).toBe(1);
  expect(gone.stdout).toContain('did not take the chart');

  const other = await release(SCRIPT, [`oci://${address}/other`], { GITHUB_REF_NAME: 'v99.0.0' });
  expect(other.code).toBe(1);
  expect(other.stderr).toContain(`tag v${VERSION}`);

  const copy = join(folder.path, 'copy');
  const root = fileURLToPath(new URL('../..', import.meta.url));
  await mkdir(copy);
  for (const part of ['charts', 'manifests', 'scripts/ci'])
    await cp(join(root, part), join(copy, part), { recursive: true });
  await copyFile(join(root, 'package.json'), join(copy, 'package.json'));
  await writeFile(join(copy, 'manifests/values.yaml'), 'replicas: none\n');
  const broken = await release(join(copy, 'scripts/ci/release-chart'), [`oci://${address}/broken`]);
  expect(broken.code).toBe(1);
  expect(broken.stderr).toContain('replicas');
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
