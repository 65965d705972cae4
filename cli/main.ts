/** The command line's process. */
import { EXIT } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { listenForSignals } from '../lib/lifecycle.ts';
import { createQueueInspector } from '../queue/inspect.ts';
import { createQueueService } from '../queue/service.ts';
import { connectCluster } from './cluster.ts';
import { accessFromEnvironment } from './config.ts';
import { runProgram } from './program.ts';
import { textReader } from './read-text.ts';

/** A person waits for each call. */
const CALL_DEADLINE_MS = 15_000;

/** Runs the command of `args`; returns the exit code. */
async function main(args: readonly string[]): Promise<number> {
  using lifecycle = listenForSignals();
  // A reader such as `head` that has seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  // Awaited here: what listens for Ctrl-C ends with this function.
  return await runProgram(args, {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    colour: process.stdout.isTTY === true && process.stdout.hasColors(),
    columns: process.stdout.isTTY === true ? process.stdout.columns : undefined,
    clock: systemClock,
    stopping: lifecycle.stopping,
    readText: textReader(process.stdin),
    openCluster: (options) => connectCluster(options, systemClock, CALL_DEADLINE_MS),
    storageAccess: () => accessFromEnvironment(),
    inspectQueues: (access) => createQueueInspector(access, systemClock, CALL_DEADLINE_MS),
    connect: () => {
      const access = accessFromEnvironment();
      if (access.kind !== 'invalid') return createQueueService(access, systemClock, CALL_DEADLINE_MS);
      process.stderr.write(`slipway: ${access.problem}\n`);
      return EXIT.badConfig;
    },
    connectIfNamed: () => {
      const access = accessFromEnvironment();
      return access.kind === 'invalid' ? undefined : createQueueService(access, systemClock, CALL_DEADLINE_MS);
    },
    connectCluster: (options) => {
      const cluster = connectCluster(options, systemClock, CALL_DEADLINE_MS);
      if ('api' in cluster) return cluster;
      process.stderr.write(`slipway: ${cluster.problem}\n`);
      return EXIT.badConfig;
    },
  });
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
