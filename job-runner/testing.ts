/** Runs a handler as the runner does, without a queue, a container or a webhook: `slipway-runner/testing`. */
import { systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log-interface.ts';
import { readConfig } from './config.ts';
import { execute } from './execute.ts';
import type { Handler } from './handlers/handler.ts';

/** What a handler has logged. */
export interface LogEntry {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

/** How a run ended. */
export interface TestRun {
  /** `terminated`: it was stopped by `stop`. */
  readonly status: 'completed' | 'failed' | 'terminated';
  /** As the webhook would have it: a JSON value; undefined for none. */
  readonly result?: unknown;
  /** As the webhook would have it. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Of the runner: 0 done, 1 failed, 65 never tried again, 75 temporary, 78 wrong configuration, 143 stopped. */
  readonly exitCode: number;
  readonly logs: readonly LogEntry[];
  /** What it counted. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** How a handler is run. */
export interface TestOptions {
  readonly taskId?: string;
  readonly clientId?: string;
  /** Settings as the environment would give them, such as AZURE_STORAGE_CONNECTION_STRING; nothing else of it is seen. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds until its signal aborts and the run fails with TaskTimedOut. Default: 10 s. */
  readonly timeoutMs?: number;
  /** Stops it, as SIGTERM does. */
  readonly stop?: AbortSignal;
}

const TERMINATED = 143;

/**
 * Runs a handler with a payload. A failure is a result, not an exception.
 *
 * @example
 * const { status, result } = await runHandler(greet, { name: 'Ines' });
 */
export async function runHandler(handler: Handler, payload: unknown, options: TestOptions = {}): Promise<TestRun> {
  const reading = readConfig({ ...options.env, TASK_DATA: '{}' });
  if (reading.kind === 'invalid') throw new Error(reading.problems.join('; '));
  const logs: LogEntry[] = [];
  const metrics = new Map<string, number>();
  const task = { taskId: options.taskId ?? 'test', clientId: options.clientId ?? 'test', payload };
  const ended = await execute(
    (signal) =>
      handler.run(task, {
        signal,
        clock: systemClock,
        log: recordingLog(logs),
        settings: reading.config.settings,
        count: (metric, value) => void metrics.set(metric, (metrics.get(metric) ?? 0) + value),
      }),
    {
      timeoutMs: options.timeoutMs ?? 10_000,
      stopping: options.stop ?? new AbortController().signal,
      crashed: new Promise(() => undefined),
      clock: systemClock,
    },
  );
  const seen = { logs, metrics: Object.fromEntries(metrics) };
  switch (ended.kind) {
    case 'completed':
      return { status: 'completed', result: ended.result, exitCode: 0, ...seen };
    case 'failed':
      return { status: 'failed', error: { code: ended.code, message: ended.message }, exitCode: ended.exit, ...seen };
    case 'terminated':
      return { status: 'terminated', exitCode: TERMINATED, ...seen };
  }
}

function recordingLog(logs: LogEntry[]): Log {
  const at = (level: LogEntry['level']) => (fields: object, message: string) =>
    void logs.push({ level, fields, message });
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return log;
}
