/** document-processing with everything in containers: the runner from its Dockerfile, Azurite, PostgreSQL. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseReport } from '#/contract/runner-abi.ts';
import { type Containers, startContainers } from '#/testing/containers.ts';
import type { RunnerProcess, RunnerRun } from '#/testing/runner-process.ts';
import { documentSuite } from '#/testing/suites/documents.ts';

let made = 0;

documentSuite(async () => {
  const containers = await startContainers();
  const { connectionString } = await containers.startAzurite();
  const { pool } = await containers.startPostgres();
  return {
    connectionString,
    pool,
    start: (env) => startInContainer(containers, env),
    [Symbol.asyncDispose]: () => containers[Symbol.asyncDispose](),
  };
});

/** As the chart runs it: read-only, no capability, not root. Signals reach it as the kubelet's would. */
function startInContainer({ docker, runner }: Containers, env: Readonly<Record<string, string>>): RunnerProcess {
  const name = `run-${++made}`;
  const directory = mkdtempDisposableSync(join(tmpdir(), 'slipway-container-'));
  const log = join(directory.path, 'termination-log');
  chmodSync(directory.path, 0o755);
  writeFileSync(log, '');
  chmodSync(log, 0o666);
  const all = { CLIENT_ID: 'acme', SLIPWAY_WEBHOOK_ALLOW: '127.0.0.1', ...env };
  const hardened = ['--network', 'host', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
  const variables = Object.keys(all).flatMap((key) => ['--env', key]);
  const mount = ['--volume', `${log}:/dev/termination-log`];
  const from = performance.now();
  const child = spawn('docker', ['run', '--rm', '--name', name, ...hardened, ...mount, ...variables, runner], {
    env: { ...all, PATH: process.env['PATH'], DOCKER_HOST: docker.host },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const { promise, resolve } = Promise.withResolvers<RunnerRun>();
  child.on('close', async (code) => {
    const report = parseReport(await readFile(log, 'utf8').catch(() => ''));
    directory.remove();
    resolve({ code, output, report, durationMs: performance.now() - from });
  });
  const kill = (signal: NodeJS.Signals) => docker.attempt(['kill', '--signal', signal, name]);
  return {
    signal: (signal) => void kill(signal),
    ended: promise,
    output: () => output,
    async [Symbol.asyncDispose]() {
      await kill('SIGKILL');
      await promise;
    },
  };
}
