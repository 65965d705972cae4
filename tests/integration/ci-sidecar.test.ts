/** The sidecar of a CI task as a process: it waits, and collects when it is told to stop; real Azurite. */
import { mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
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
    ...env,
    ...(storage ? { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString } : {}),
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
