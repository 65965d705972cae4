/** The sidecar of a CI task as a process: it waits, and collects when it is told to stop; real Azurite. */
import { mkdir, mkdtempDisposable, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCiReport } from '#/contract/ci-report.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { startRunnerProcess } from '#/testing/runner-process.ts';

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite({ queue: false });
  await BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient('results').create();
});
afterAll(() => azurite?.[Symbol.asyncDispose]());

const PLAIN = '<testsuite><testcase name="a" time="2"/></testsuite>';

async function run(
  storage: boolean,
  report: string | Iterable<string> = PLAIN,
  env: Readonly<Record<string, string>> = {},
) {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-sidecar-'));
  const [artifacts, log] = [join(directory.path, 'artifacts'), join(directory.path, 'log')];
  await mkdir(join(artifacts, 'reports'), { recursive: true });
  await using runner = startRunnerProcess({
    CI_COLLECT: JSON.stringify({ artifacts: ['run.log', 'gone'], junit: ['reports/*.xml'] }),
    CI_ARTIFACTS: artifacts,
    TASK_ID: `ci-${storage}`,
    SLIPWAY_TERMINATION_LOG: log,
    ...(storage ? { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString } : {}),
    ...env,
  });
  await eventually(() => expect(runner.output()).toContain('waiting for the tests to end'));
  // Only what is there at the end counts.
  await writeFile(join(artifacts, 'run.log'), 'all went well');
  await writeFile(join(artifacts, 'reports', 'a.xml'), report);
  runner.signal('SIGTERM');
  const { code, output } = await runner.ended;
  expect([code, output]).toEqual([0, expect.any(String)]);
  return parseCiReport(await readFile(log, 'utf8'));
}

test('reports are read, artifacts kept, and all of it told, with the place of the whole', async () => {
  const report = await run(true);
  expect(report).toMatchObject({
    tests: { tests: 1, passed: 1, failed: 0, skipped: 0, seconds: 2 },
    artifacts: [{ path: 'run.log', bytes: 13 }],
    artifactCount: 1,
    problems: ['the artifact gone is not there'],
  });
  const container = BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient('results');
  const text = async (name: string) => (await container.getBlobClient(name).downloadToBuffer()).toString();
  expect(await text('acme/ci-true/artifacts/run.log')).toBe('all went well');
  expect(report?.url).toBe(`${azurite.blobUrl}/results/acme/ci-true.tests.json`);
  expect(JSON.parse(await text('acme/ci-true.tests.json'))).toMatchObject({ tests: { tests: 1 } });
});

test('without a storage account the reports are read all the same', async () => {
  expect(await run(false)).toMatchObject({
    tests: { tests: 1 },
    artifacts: [],
    problems: ['artifacts are not kept: no storage account is configured'],
  });
});

test.each([
  [
    'what is no connection string',
    { AZURE_STORAGE_CONNECTION_STRING: 'AccountKey=c2VjcmV0' },
    /^artifacts and reports are not stored: AZURE_STORAGE_CONNECTION_STRING \(value not shown\) is no connection string\. Copy it whole/,
  ],
  [
    'one that does not lead to Blob Storage',
    { AZURE_STORAGE_CONNECTION_STRING: 'AccountName=acme;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:1/acme' },
    /^artifacts and reports are not stored: AZURE_STORAGE_CONNECTION_STRING \(value not shown\) does not lead to Blob/,
  ],
  [
    'what is no name of a container',
    { RESULT_CONTAINER: 'No Container' },
    /^artifacts and reports are not stored: RESULT_CONTAINER = "No Container" is no container name/,
  ],
])('with %s it waits all the same, reads the reports and says what is wrong', async (_, env, problem) => {
  const report = await run(true, PLAIN, env);
  expect(report).toMatchObject({ tests: { tests: 1, passed: 1 }, artifacts: [], artifactCount: 0 });
  expect(report?.problems).toEqual([expect.stringMatching(problem)]);
  expect(report?.url).toBeUndefined();
  expect(JSON.stringify(report)).not.toContain('c2VjcmV0');
});

test('handlers that cannot be loaded are no matter of it', async () => {
  expect(await run(false, PLAIN, { SLIPWAY_HANDLERS: '/nowhere/handler.js' })).toMatchObject({ tests: { tests: 1 } });
});

test('where nothing says what is to be collected, it refuses', async () => {
  await using runner = startRunnerProcess({ CI_COLLECT: 'no json', TASK_ID: 'ci-refused' });
  const { code, report } = await runner.ended;
  expect([code, report?.error?.message]).toEqual([78, expect.stringContaining('CI_COLLECT = "no json" is no JSON')]);
});

test('a report of 100 MB, with all that its tests have printed, is read in the memory that the sidecar has', async () => {
  function* report() {
    yield '<testsuites><testsuite>';
    for (let at = 0; at < 1000; at++)
      yield `<testcase classname="k" name="n${at}" time="0.001">${OUTPUT}</testcase>`.repeat(50);
    yield '</testsuite></testsuites>';
  }
  const OUTPUT = `<system-out>${'a line of a test\n'.repeat(125)}</system-out>`;
  // About what Node.js takes for itself of a container's 256 MiB.
  const told = await run(false, report(), { NODE_OPTIONS: '--max-old-space-size=128' });
  expect(told).toMatchObject({ tests: { tests: 50_000, passed: 50_000, seconds: 50 } });
});

/** A sidecar that is asked for its own environment, by way of a name that begins with each of these. */
const UPWARDS = ['../', '{..,x}/', '[.][.]/', '@(..|x)/', './../'];

test('what leads out of the folder is not kept: the environment of the sidecar least of all', async () => {
  await using directory = await mkdtempDisposable(join(await realpath(tmpdir()), 'slipway-sidecar-'));
  const [artifacts, log, script] = ['artifacts', 'log', 'start.mjs'].map((name) => join(directory.path, name)) as [
    ...[string, string, string],
  ];
  await mkdir(artifacts);
  await BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient('upwards').create();
  await writeFile(join(artifacts, 'good.txt'), 'good');
  await symlink('/proc', join(artifacts, 'link'));
  // Nobody knows the id of a process before it has begun.
  const main = new URL('../../job-runner/main.ts', import.meta.url).href;
  const set = 'process.env.CI_COLLECT = process.env.CI_COLLECT.replaceAll("PID", process.pid)';
  await writeFile(script, `${set};\nawait import(${JSON.stringify(main)});\n`);
  const depth = artifacts.split('/').length - 1;
  const names = [
    ...UPWARDS.map((up) => `${up.repeat(depth)}proc/PID/environ`),
    'link/PID/environ',
    '/proc/PID/environ',
  ];
  await using runner = startRunnerProcess(
    {
      CI_COLLECT: JSON.stringify({ artifacts: [...names, 'good.txt'], junit: names }),
      CI_ARTIFACTS: artifacts,
      TASK_ID: 'ci-upwards',
      RESULT_CONTAINER: 'upwards',
      SLIPWAY_TERMINATION_LOG: log,
      AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    },
    script,
  );
  await eventually(() => expect(runner.output()).toContain('waiting for the tests to end'));
  runner.signal('SIGTERM');
  const { code, output } = await runner.ended;
  expect([code, output]).toEqual([0, expect.any(String)]);
  const container = BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient('upwards');
  const blobs: string[] = [];
  // All of them: a blob's name that leads upwards would be elsewhere.
  for await (const { name } of container.listBlobsFlat()) blobs.push(name);
  expect(blobs).toEqual(['acme/ci-upwards.tests.json', 'acme/ci-upwards/artifacts/good.txt']);
  const whole = (await container.getBlobClient('acme/ci-upwards.tests.json').downloadToBuffer()).toString();
  expect(parseCiReport(whole)?.problems).toHaveLength(names.length + 1);
  for (const text of [whole, output, await readFile(log, 'utf8')]) expect(text).not.toContain('AccountKey');
});
