/** One task from TASK_DATA to the exit code. */
import { EXIT, type RunnerReport } from '../contract/runner-abi.ts';
import { webhookBase } from './config.ts';
import { type PerformTools, performTask } from './perform.ts';
import { report } from './report.ts';
import { keepResult } from './result-store.ts';
import type { TaskConfig } from './settings.ts';
import { readTask } from './task.ts';

/** What a run needs from the process. */
export interface RunTools extends Omit<PerformTools, 'settings' | 'timeoutMs' | 'rate'> {
  readonly writeReport: (report: RunnerReport) => void;
}

/** Does the task and reports it. Gives the exit code; the process is to end then, whatever the handler has left behind. */
export async function runTask(config: TaskConfig, tools: RunTools): Promise<number> {
  const { taskId, taskType, clientId, settings, timeoutMs, rate } = config;
  const given = { reading: readTask(config.taskData), taskId, taskType, clientId };
  const { ended, log } = await performTask(given, { ...tools, settings, timeoutMs, rate });
  if (ended === undefined) return EXIT.terminated;
  await report(ended, {
    webhook: { ...config.webhook, idBase: webhookBase(config, ended.taskId) },
    maxAttempts: config.maxAttempts,
    writeReport: tools.writeReport,
    keepResult: (result, signal) => keepResult(settings, ended, result, tools.clock, signal),
    clock: tools.clock,
    log,
    stopping: tools.stopping,
  });
  return ended.ending.kind === 'completed' ? EXIT.done : ended.ending.exit;
}
