/**
 * The sidecar of a CI task: it waits, while the repository is cloned, the image built and tested, until the pod ends; then it collects what the
 * tests have left, within the grace period. How they ended is not its business: their exit code is the operator's to read.
 */
import { type CiReport, formatCiReport } from '../../contract/ci-report.ts';
import { EXIT } from '../../contract/runner-abi.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Secret } from '../../lib/secret.ts';
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
  /** @throws ConfigurationError */
  readonly openStore: (storage: Secret) => BlobStore;
  readonly writeMessage: (text: string) => void;
}

/** For writing the whole report, of the time that there is. */
const LAST_MS = 5000;
const FOREVER_MS = 2 ** 31 - 1;

/** Runs until the pod ends. Gives the exit code; never throws. */
export async function accompany(config: SidecarConfig, tools: SidecarTools): Promise<number> {
  const { clock, log, stopping } = tools;
  const { store, problems } = storeOf(config, tools);
  for (const problem of problems) log.error({}, problem);
  log.info({}, 'waiting for the tests to end');
  while (!stopping.aborted) await clock.sleep(FOREVER_MS, stopping);
  const { taskId, clientId, directory, withinMs, settings } = config;
  const owner = { taskId, clientId };
  const container = settings.resultContainer;
  const place: ArtifactPlace | undefined = store && { store, container, prefix: resultPath(owner, '/artifacts') };
  // That artifacts are not kept has been said then.
  const wanted = problems.length === 0 ? config.wanted : { ...config.wanted, artifacts: [] };
  const collected = await collect(directory, wanted, place, log, clock.deadline(Math.max(0, withinMs - LAST_MS)));
  const found = { ...collected, problems: [...problems, ...collected.problems] };
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

/** The storage account; undefined where none is configured, or one that cannot be used, which is a problem. */
function storeOf(
  { settings: { storage }, problems }: SidecarConfig,
  { openStore }: SidecarTools,
): { readonly store: BlobStore | undefined; readonly problems: readonly string[] } {
  const without = (why: string) => ({ store: undefined, problems: [`artifacts and reports are not stored: ${why}`] });
  if (problems.length > 0) return without(problems.join('; '));
  try {
    return { store: storage && openStore(storage), problems: [] };
  } catch (error) {
    return without(messageOf(error));
  }
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
