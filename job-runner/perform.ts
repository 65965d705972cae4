/** One task from its text to its end: decoded, given to its handler, bounded by its time. What is told of it is for others to do. */
import { EXIT } from '../contract/runner-abi.ts';
import type { Rate } from '../contract/usage.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { PermanentError } from './errors.ts';
import { type Execution, execute, type Failure, failure } from './execute.ts';
import type { Handler, HandlerContext } from './handlers/handler.ts';
import type { EndedTask } from './report.ts';
import type { RunnerSettings } from './settings.ts';
import type { TaskReading } from './task.ts';

/** The handlers to choose from. */
export interface HandlerSet {
  /** Their task types, for messages. */
  readonly types: readonly string[];
  /** The handler of a task type; undefined when there is none. */
  load(type: string): Promise<Handler | undefined>;
}

/** What a task is done with. */
export interface PerformTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly handlers: HandlerSet;
  readonly settings: RunnerSettings;
  /** Aborts when the task is to stop before it is done. */
  readonly stopping: AbortSignal;
  /** Settles with an error that nobody caught. */
  readonly crashed: Promise<unknown>;
  readonly timeoutMs: number;
  readonly rate: Rate | undefined;
  /** The most memory that the process has had so far. */
  readonly maxMemoryBytes: () => number;
}

/** A task, as its text says it, and whose it is. `taskId` and `taskType`: what is known of them where the text does not tell. */
export interface GivenTask {
  readonly reading: TaskReading;
  readonly taskId: string;
  readonly taskType: string;
  readonly clientId: string;
}

/** How it ended; `undefined` when it was stopped before that. */
export interface Performed {
  readonly ended: EndedTask | undefined;
  readonly log: Log;
}

/** So long before the end of its time a task that still runs is warned of: a tenth of it, at most. */
const WARN_BEFORE_MS = 60_000;

/** Does a task. Never throws. */
export async function performTask(given: GivenTask, tools: PerformTools): Promise<Performed> {
  const { clock, timeoutMs } = tools;
  const { reading, clientId } = given;
  const taskId = (reading.kind === 'valid' ? reading.task.taskId : reading.taskId) ?? given.taskId;
  const taskType = reading.kind === 'valid' ? reading.task.taskType : given.taskType;
  const log = tools.log.child({ task: taskId, type: taskType, client: clientId });
  log.info({ timeoutSeconds: timeoutMs / 1000 }, 'task started');

  const metrics = new Map<string, number>();
  const count = (metric: string, value: number) => void metrics.set(metric, (metrics.get(metric) ?? 0) + value);
  const startedAt = clock.now();
  const from = clock.monotonic();
  using warning = warnBefore(timeoutMs, clock, log);
  const execution: Execution =
    reading.kind === 'invalid'
      ? failure(reading.error)
      : await execute((signal) => handle(reading.task, clientId, { ...tools, log }, count, signal), tools);
  warning[Symbol.dispose]();
  const durationMs = Math.round(clock.monotonic() - from);
  if (execution.kind === 'terminated') {
    log.warn({ durationMs }, 'stopped before the task was done; nothing is reported');
    return { ended: undefined, log };
  }
  if (execution.kind === 'completed') log.info({ durationMs }, 'task completed');
  else logFailure(log, execution, durationMs);
  return {
    log,
    ended: {
      taskId,
      taskType,
      clientId,
      webhookUrl: reading.kind === 'valid' ? reading.task.webhookUrl : reading.webhookUrl,
      ending: execution,
      startedAt,
      finishedAt: startedAt + durationMs,
      rate: tools.rate,
      metrics: { ...Object.fromEntries(metrics), maxMemoryBytes: tools.maxMemoryBytes() },
    },
  };
}

/** Says while there is still time to look what the task is at. */
function warnBefore(timeoutMs: number, clock: Clock, log: Log): Disposable {
  const over = new AbortController();
  const leftMs = Math.min(WARN_BEFORE_MS, timeoutMs / 10);
  void clock.sleep(timeoutMs - leftMs, over.signal).then(() => {
    if (!over.signal.aborted)
      log.warn({ secondsLeft: leftMs / 1000 }, 'the task is still running; its time is nearly over');
  });
  return { [Symbol.dispose]: () => over.abort() };
}

async function handle(
  task: { readonly taskId: string; readonly taskType: string; readonly payload: unknown },
  clientId: string,
  { handlers, clock, log, settings }: PerformTools,
  count: HandlerContext['count'],
  signal: AbortSignal,
): Promise<unknown> {
  const handler = await handlers.load(task.taskType);
  if (handler === undefined) {
    const known = handlers.types.join(', ');
    throw new PermanentError(`task_type "${task.taskType}" is unknown to this runner; it knows ${known}`, {
      code: 'UnknownTaskType',
    });
  }
  return handler.run({ taskId: task.taskId, clientId, payload: task.payload }, { signal, clock, log, settings, count });
}

function logFailure(log: Log, { exit, code, message, error }: Failure, durationMs: number): void {
  const fields = { durationMs, exit, code, reason: message };
  // Expected failures are told by their message; of the others, where they came from is wanted too.
  if (exit === EXIT.failed && code === 'TaskFailed') log.error({ ...fields, err: error }, 'task failed');
  else log.error(fields, 'task failed');
}
