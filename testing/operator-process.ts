/** The operator as a process of its own, as it runs in a pod: environment and configuration file in, log lines out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

/** What an operator is started with. */
export interface OperatorOptions {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly connectionString: string;
  /** The configuration file as a value. */
  readonly config: object;
  /** A module to run instead of operator/main.ts, relative to the repository. */
  readonly entry?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A log line of the operator; other output is `{ msg }`. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/** A running operator. Disposing of it kills it if it still runs. */
export interface OperatorProcess extends AsyncDisposable {
  readonly pid: number | undefined;
  readonly lines: readonly LogLine[];
  /** The port of its HTTP server. */
  readonly port: Promise<number>;
  /** The first line (past or future) that fits. */
  waitFor(what: string, fits: (line: LogLine) => boolean, timeoutMs?: number): Promise<LogLine>;
  /** Its exit code, once it has ended; null where a signal ended it. */
  readonly ended: Promise<number | null>;
  /** SIGTERM, then its exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

const repository = fileURLToPath(new URL('..', import.meta.url));

/** Starts an operator and returns at once. */
export async function startOperator(options: OperatorOptions): Promise<OperatorProcess> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'slipway-operator-'));
  const file = join(directory.path, 'config.yaml');
  await writeFile(file, stringify(options.config));
  const child = spawn(
    process.execPath,
    [join(repository, options.entry ?? 'operator/main.ts'), ...(options.args ?? [])],
    {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        KUBECONFIG: options.kubeconfig,
        SLIPWAY_CONFIG: file,
        SLIPWAY_NAMESPACE: options.namespace,
        SLIPWAY_HTTP_PORT: '0',
        // One that is started anew under the name of one that was killed leads at once, as a restarted container does.
        SLIPWAY_POD_NAME: 'operator-0',
        AZURE_STORAGE_CONNECTION_STRING: options.connectionString,
        ...options.env,
      },
    },
  );
  const lines: LogLine[] = [];
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (text) => {
      lines.push(parse(text));
      for (const look of [...waiting]) look();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  void ended.then(() => {
    for (const look of [...waiting]) look();
  });

  const waitFor: OperatorProcess['waitFor'] = (what, fits, timeoutMs = 60_000) => {
    const { promise, resolve, reject } = Promise.withResolvers<LogLine>();
    const fail = (why: string) =>
      reject(
        new Error(
          `${why} waiting for ${what}; the operator's last lines:\n${lines
            .slice(-15)
            .map((line) => JSON.stringify(line))
            .join('\n')}`,
        ),
      );
    const timer = setTimeout(() => fail('time is up'), timeoutMs);
    const look = () => {
      const line = lines.find(fits);
      if (line !== undefined) resolve(line);
      else if (child.exitCode !== null) fail(`the operator ended with ${child.exitCode}`);
    };
    waiting.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(look);
    });
  };
  const end = async (signal: NodeJS.Signals) => {
    if (isRunning(child)) child.kill(signal);
    return ended;
  };
  return {
    pid: child.pid,
    lines,
    ended,
    waitFor,
    get port() {
      return waitFor('its start', (line) => line.msg === 'the operator starts').then((line) => Number(line['port']));
    },
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
      await directory.remove();
    },
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function parse(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { msg: text };
  }
}
