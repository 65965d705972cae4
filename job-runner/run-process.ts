/** The runner as a process: environment → configuration → task → report → exit code. */
import { EXIT, type RunnerReport } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { listenForSignals } from '../lib/lifecycle.ts';
import { createLog, type Log } from '../lib/log.ts';
import { readConfig } from './config.ts';
import { listenForCrashes } from './crash.ts';
import { type HandlerSet, runTask } from './run-task.ts';
import { writeTerminationLog } from './termination-log.ts';

/** Does the task of this process's environment. Gives the exit code; never throws. */
export async function runProcess(handlers: HandlerSet): Promise<number> {
  const reading = readConfig();
  const log = createLog(reading.kind === 'valid' ? reading.config.logLevel : 'info', { service: 'runner' });
  if (reading.kind === 'invalid') return refuse(reading.problems, reading.terminationLog, log);
  const { config } = reading;
  try {
    return await runTask(config, {
      clock: systemClock,
      log,
      stopping: listenForSignals(() => process.exit(EXIT.terminated)).stopping,
      crashed: listenForCrashes(log),
      handlers,
      writeReport: (report) => writeTerminationLog(config.terminationLog, report, log),
    });
  } catch (error) {
    log.error({ err: error }, 'the runner itself failed');
    return EXIT.failed;
  }
}

/** The webhook is the operator's then: without a configuration the runner does not know how to send one. */
function refuse(problems: readonly string[], terminationLog: string, log: Log): number {
  log.error({ problems }, 'the configuration cannot be used');
  const message = ["the runner's configuration cannot be used:", ...problems.map((problem) => `  - ${problem}`)].join(
    '\n',
  );
  const report: RunnerReport = { v: 1, status: 'failed', error: { code: 'TaskFailed', message }, webhook: 'owed' };
  writeTerminationLog(terminationLog, report, log);
  return EXIT.badConfig;
}
