/** The runner as a process: environment → configuration → task → report → exit code. */
import { EXIT, type RunnerReport } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { listenForSignals } from '../lib/lifecycle.ts';
import { createLog, type Log } from '../lib/log.ts';
import { readConfig } from './config.ts';
import { listenForCrashes } from './crash.ts';
import type { Handler } from './handlers/handler.ts';
import type { OwnHandlers } from './handlers/own-handlers.ts';
import type { HandlerSet } from './perform.ts';
import { runTask } from './run-task.ts';
import type { SidecarConfig } from './settings.ts';
import { writeTerminationLog, writeText } from './termination-log.ts';

/** Does the task of this process's environment, or polls. Gives the exit code; never throws. */
export async function runProcess(builtIn: HandlerSet): Promise<number> {
  const reading = readConfig();
  const log =
    reading.kind === 'valid'
      ? createLog(reading.config.logLevel, { service: 'runner', pod: reading.config.pod })
      : createLog('info', { service: 'runner' });
  if (reading.kind === 'invalid') return refuse(reading.problems, reading.terminationLog, log);
  const { config } = reading;
  const terminationLog = config.mode === 'polling' ? undefined : config.terminationLog;
  try {
    if (config.mode === 'sidecar') return await runSidecar(config, log);
    const own = await ownHandlers(config.handlers);
    if (own.kind === 'invalid') return refuse(own.problems, terminationLog, log);
    const tools = {
      clock: systemClock,
      log,
      stopping: stopSignal(),
      crashed: listenForCrashes(log),
      handlers: withOwn(builtIn, own.handlers),
      // Kilobytes, by Node.js' documentation.
      maxMemoryBytes: () => process.resourceUsage().maxRSS * 1024,
    };
    if (config.mode === 'task') {
      const writeReport = (report: RunnerReport) => writeTerminationLog(config.terminationLog, report, log);
      return await runTask(config, { ...tools, writeReport });
    }
    const [{ poll }, { createQueueService }, { sendWebhook }] = await Promise.all([
      import('./polling/poller.ts'),
      import('../queue/service.ts'),
      import('./report.ts'),
    ]);
    const { access } = config;
    const queues = createQueueService(access, systemClock);
    return await poll({ ...tools, config, account: access.account, queues, send: sendWebhook });
  } catch (error) {
    log.error({ err: error }, 'the runner itself failed');
    return EXIT.failed;
  }
}

/** Aborts on the first signal; a second one ends the process. */
function stopSignal(): AbortSignal {
  return listenForSignals(() => process.exit(EXIT.terminated)).stopping;
}

/** Its handlers' and other settings are of no use to it, and nothing that is wrong with them may end it. */
async function runSidecar(config: SidecarConfig, log: Log): Promise<number> {
  // First of all: its pod may end at any moment.
  const stopping = stopSignal();
  void listenForCrashes(log);
  const [{ accompany }, { openBlobStore }] = await Promise.all([import('./ci/sidecar.ts'), import('./blob-store.ts')]);
  return await accompany(config, {
    clock: systemClock,
    log,
    stopping,
    openStore: (storage) => openBlobStore(storage, systemClock),
    writeMessage: (text) => writeText(config.terminationLog, text, log),
  });
}

async function ownHandlers(paths: readonly string[]): Promise<OwnHandlers> {
  if (paths.length === 0) return { kind: 'valid', handlers: new Map() };
  const { loadOwnHandlers } = await import('./handlers/own-handlers.ts');
  return loadOwnHandlers(paths, process.cwd());
}

/** One's own go first: they may take the place of one that is built in. */
function withOwn(builtIn: HandlerSet, own: ReadonlyMap<string, Handler>): HandlerSet {
  return {
    types: [...new Set([...own.keys(), ...builtIn.types])],
    load: async (type) => own.get(type) ?? builtIn.load(type),
  };
}

/** The webhook is the operator's then: without a configuration the runner does not know how to send one. */
function refuse(problems: readonly string[], terminationLog: string | undefined, log: Log): number {
  log.error({ problems }, 'the configuration cannot be used');
  const message = ["the runner's configuration cannot be used:", ...problems.map((problem) => `  - ${problem}`)].join(
    '\n',
  );
  const report: RunnerReport = { v: 1, status: 'failed', error: { code: 'TaskFailed', message }, webhook: 'owed' };
  if (terminationLog !== undefined) writeTerminationLog(terminationLog, report, log);
  return EXIT.badConfig;
}
