import { type SpawnOptions, spawn } from 'node:child_process';

/** What a finished command left: its exit code (null when a signal ended it) and what it wrote. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command is run. */
export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Record<string, string>;
  /** Written to its standard input. */
  readonly input?: string;
  /** It is killed after this time. Default: two minutes. */
  readonly timeoutMs?: number;
  /** Its standard error is shown while it runs, as progress. */
  readonly progress?: boolean;
}

/** Runs a command to its end, whatever its exit code. Rejects when it cannot be started. */
export function attempt(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  const spawning: SpawnOptions = {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 120_000,
    killSignal: 'SIGKILL',
  };
  const child = spawn(command, args, spawning);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    if (options.progress) process.stderr.write(text);
  });
  child.on('error', reject);
  child.on('close', (code) => resolve({ code, stdout, stderr }));
  child.stdin?.on('error', () => undefined); // a command that ends without reading its input is judged by its exit code
  child.stdin?.end(options.input);
  return promise;
}

/** Runs a command and returns what it wrote to standard output. Rejects with its standard error unless it exits with 0. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(command, args, options);
  if (code === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: exit ${code}\n${stderr}${stdout}`.trim());
}
