/** The runner as a process, as a container starts it: environment in; exit code, termination message and log out. */
import { spawn } from 'node:child_process';
import { mkdtempDisposableSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseReport, type RunnerReport } from '#/contract/runner-abi.ts';

/** How a run ended. */
export interface RunnerRun {
  readonly code: number | null;
  /** Stdout and stderr. */
  readonly output: string;
  readonly report: RunnerReport | undefined;
  readonly durationMs: number;
}

/** A runner under way. Disposing of it kills it if it still runs. */
export interface RunnerProcess extends AsyncDisposable {
  signal(signal: NodeJS.Signals): void;
  readonly ended: Promise<RunnerRun>;
  /** What it has printed so far. */
  output(): string;
}

const MAIN = fileURLToPath(new URL('../job-runner/main.ts', import.meta.url));

/** Starts the runner with nothing of this process's environment but what is given. */
export function startRunnerProcess(env: Readonly<Record<string, string>>, script = MAIN): RunnerProcess {
  const from = performance.now();
  const { promise, resolve } = Promise.withResolvers<RunnerRun>();
  let output = '';
  const directory = mkdtempDisposableSync(join(tmpdir(), 'slipway-run-'));
  const log = join(directory.path, 'termination-log');
  const child = spawn(process.execPath, [script], {
    env: { SLIPWAY_TERMINATION_LOG: log, CLIENT_ID: 'acme', SLIPWAY_WEBHOOK_ALLOW: '127.0.0.1', ...env },
  });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  child.on('close', async (code) => {
    const report = parseReport(await readFile(log, 'utf8').catch(() => ''));
    directory.remove();
    resolve({ code, output, report, durationMs: performance.now() - from });
  });
  return {
    signal: (signal) => void child.kill(signal),
    ended: promise,
    output: () => output,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await promise;
    },
  };
}
