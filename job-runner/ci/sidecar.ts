/**
 * The sidecar of a CI task: it waits, while the repository is cloned, the image built and tested, until the pod ends; then it collects what the
 * tests have left, within the grace period. How they ended is not its business: their exit code is the operator's to read.
 */
import { type CiReport, formatCiReport } from '../../contract/ci-report.ts';
import { EXIT } from '../../contract/runner-abi.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { BlobStore } from '../blob-store.ts';
import { resultPath } from '../result-store.ts';
import type { SidecarConfig } from '../settings.ts';
import { type ArtifactPlace, type Collected, collect } from './collect.ts';

/** What it works with. */
export interface SidecarTools {
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts on SIGTERM. */
  readonly stopping: AbortSignal;
  /** Undefined where no storage account is configured. */
  readonly store: BlobStore | undefined;
  readonly writeMessage: (text: string) => void;
}

/** For writing the whole report, of the time that there is. */
const LAST_MS = 5000;
const FOREVER_MS = 2 ** 31 - 1;

/** Runs until the pod ends. Gives the exit code; never throws. */
export async function accompany(config: SidecarConfig, tools: SidecarTools): Promise<number> {
  const { clock, log, stopping, store } = tools;
  log.info({}, 'waiting for the tests to end');
  while (!stopping.aborted) await clock.sleep(FOREVER_MS, stopping);
  const { taskId, clientId, directory, wanted, withinMs, settings } = config;
  const owner = { taskId, clientId };
  const container = settings.resultContainer;
  const place: ArtifactPlace | undefined = store && { store, container, prefix: resultPath(owner, '/artifacts') };
  const found = await collect(directory, wanted, place, log, clock.deadline(Math.max(0, withinMs - LAST_MS)));
  const whole = reportOf(found, undefined);
  // Written before the whole report is stored: a pod that is ended by force meanwhile has said what is known.
  tools.writeMessage(formatCiReport(whole));
  if (store !== undefined) {
    try {
      const json = JSON.stringify({ ...whole, artifacts: found.artifacts });
      const url = await store.put(container, resultPath(owner, '.tests.json'), json, clock.deadline(LAST_MS));
      tools.writeMessage(formatCiReport({ ...whole, url }));
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'the whole report could not be stored');
    }
  }
  log.info({ tests: found.tests?.tests, failed: found.tests?.failed, artifacts: found.artifacts.length }, 'collected');
  return EXIT.done;
}

function reportOf({ tests, artifacts, problems }: Collected, url: string | undefined): CiReport {
  return {
    v: 1,
    ...(tests === undefined
      ? {}
      : {
          tests: {
            ...tests,
            seconds: tests.seconds,
            failures: [...tests.failures],
            slowest: [...tests.slowest],
          },
        }),
    artifacts: [...artifacts],
    artifactCount: artifacts.length,
    problems: [...problems],
    ...(url === undefined ? {} : { url }),
  };
}
