import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the supervisor says once, after `up`. */
export type Report = { readonly up: true } | { readonly failed: string };

/** Something that a script started and will stop. */
export interface Service extends AsyncDisposable {
  /** Removed with the service. */
  readonly directory: string;
}

/** How a service is started. */
export interface ServiceOptions {
  /** Where its name appears: in its directory's name and in errors. */
  readonly name: string;
  /** A command that knows `up` and `down`; `down` stops also what an `up` that failed has left. */
  readonly script: string;
  /** The environment of both, made from the service's own directory, in which this may put files as well. */
  readonly env: (directory: string) => Record<string, string> | Promise<Record<string, string>>;
  /** Only one service of the machine may hold this lock. */
  readonly lock?: string;
}

/**
 * Starts a service under a supervisor (see supervisor.ts), which stops it when it is disposed of or when this process dies.
 * Rejects when `up` fails, after `down` has run.
 */
export async function service(options: ServiceOptions): Promise<Service> {
  const directory = await mkdtemp(join(tmpdir(), `slipway-${options.name}-`));
  const env = await options.env(directory);
  const log = join(directory, 'supervisor.log');
  await using output = await open(log, 'w');
  const supervisor = fork(
    fileURLToPath(new URL('./supervisor.ts', import.meta.url)),
    [options.script, options.lock ?? ''],
    {
      cwd: directory,
      detached: true,
      env: { ...process.env, ...env },
      execArgv: [],
      stdio: ['ignore', output.fd, output.fd, 'ipc'],
    },
  );
  const exited = once(supervisor, 'exit');

  const stop = async () => {
    supervisor.ref();
    if (supervisor.connected) supervisor.disconnect();
    const [code] = await exited;
    const said = code === 0 ? '' : await readFile(log, 'utf8');
    await rm(directory, { recursive: true, force: true });
    return said;
  };

  const [report] = (await Promise.race([
    once(supervisor, 'message'),
    exited.then(async () => [{ failed: await readFile(log, 'utf8') }]),
  ])) as [Report];
  if ('failed' in report) {
    await stop();
    throw new Error(`${options.name} did not start: ${report.failed}`);
  }
  supervisor.unref();
  supervisor.channel?.unref();
  return {
    directory,
    async [Symbol.asyncDispose]() {
      const said = await stop();
      if (said !== '') throw new Error(`${options.name} was not stopped cleanly: ${said}`);
    },
  };
}
