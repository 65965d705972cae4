/** One task from TASK_DATA to the exit code. */
import { EXIT, type RunnerReport } from '../contract/runner-abi.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type RunnerConfig, webhookBase } from './config.ts';
import { PermanentError } from './errors.ts';
import { type Execution, execute, type Failure, failure } from './execute.ts';
import type { Handler } from './handlers/handler.ts';
import { type EndedTask, report } from './report.ts';
import { keepResult } from './result-store.ts';
import { readTask } from './task.ts';

/** The handlers to choose from. */
export interface HandlerSet {
  /** Their task types, for messages. */
  readonly types: readonly string[];
  /** The handler of a task type; undefined when there is none. */
  load(type: string): Promise<Handler | undefined>;
}

/** What a run needs from the process. */
export interface RunTools {
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts on SIGTERM. */
  readonly stopping: AbortSignal;
  /** Settles with an error that nobody caught. */
  readonly crashed: Promise<unknown>;
  readonly handlers: HandlerSet;
  readonly writeReport: (report: RunnerReport) => void;
}

/** Does the task and reports it. Gives the exit code; the process is to end then, whatever the handler has left behind. */
export async function runTask(config: RunnerConfig, tools: RunTools): Promise<number> {
  const { clock, stopping } = tools;
  const reading = readTask(config.taskData);
  const taskId = (reading.kind === 'valid' ? reading.task.taskId : reading.taskId) ?? config.taskId;
  const taskType = reading.kind === 'valid' ? reading.task.taskType : config.taskType;
  const log = tools.log.child({ task: taskId, type: taskType, client: config.clientId });
  log.info({ timeoutSeconds: config.timeoutMs / 1000, attempts: config.maxAttempts }, 'task started');

  const startedAt = clock.now();
  const from = clock.monotonic();
  const execution: Execution =
    reading.kind === 'invalid'
      ? failure(reading.error)
      : await execute((signal) => handle(reading.task, config, { ...tools, log }, signal), {
          ...tools,
          timeoutMs: config.timeoutMs,
        });
  const durationMs = Math.round(clock.monotonic() - from);
  if (execution.kind === 'terminated') {
    log.warn({ durationMs }, 'stopped before the task was done; nothing is reported');
    return EXIT.terminated;
  }
  if (execution.kind === 'completed') log.info({ durationMs }, 'task completed');
  else logFailure(log, execution, durationMs);

  const webhookUrl = reading.kind === 'valid' ? reading.task.webhookUrl : reading.webhookUrl;
  const { clientId } = config;
  const ended: EndedTask = {
    taskId,
    taskType,
    clientId,
    webhookUrl,
    ending: execution,
    startedAt,
    finishedAt: startedAt + durationMs,
    rate: config.rate,
  };
  await report(ended, {
    webhook: { ...config.webhook, idBase: webhookBase(config, taskId) },
    maxAttempts: config.maxAttempts,
    writeReport: tools.writeReport,
    keepResult: (result, signal) => keepResult(config.settings, { taskId, clientId }, result, clock, signal),
    clock,
    log,
    stopping,
  });
  return execution.kind === 'completed' ? EXIT.done : execution.exit;
}

async function handle(
  task: { taskId: string; taskType: string; payload: unknown },
  { clientId, settings }: RunnerConfig,
  { handlers, clock, log }: RunTools,
  signal: AbortSignal,
): Promise<unknown> {
  const handler = await handlers.load(task.taskType);
  if (handler === undefined) {
    const known = handlers.types.join(', ');
    throw new PermanentError(`task_type "${task.taskType}" is unknown to this runner; it knows ${known}`, {
      code: 'UnknownTaskType',
    });
  }
  return handler.run({ taskId: task.taskId, clientId, payload: task.payload }, { signal, clock, log, settings });
}

function logFailure(log: Log, { exit, code, message, error }: Failure, durationMs: number): void {
  const fields = { durationMs, exit, code, reason: message };
  // Expected failures are told by their message; of the others, where they came from is wanted too.
  if (exit === EXIT.failed && code === 'TaskFailed') log.error({ ...fields, err: error }, 'task failed');
  else log.error(fields, 'task failed');
}
