/**
 * `operator --remove-groups`, which `helm uninstall` runs first: stops the operator of its release, waits until nobody leads, and has every
 * container group of the installation deleted. Their Jobs stay as they are: installed anew, they start again, and no attempt is used up.
 */
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { KubernetesApi } from '../jobs/api.ts';
import type { JobStore } from '../jobs/store.ts';
import { JobsView } from '../jobs/view.ts';
import type { LeaderElection } from '../leader.ts';
import type { AciControllerParts } from './controller.ts';
import type { ContainerGroups } from './groups.ts';
import { isOfInstallation, placesOf } from './sweep.ts';

/** What it works with. */
export interface RemoveGroupsParts {
  readonly api: KubernetesApi;
  readonly store: JobStore;
  readonly election: LeaderElection;
  readonly clock: Clock;
  readonly log: Log;
  readonly namespace: string;
  readonly installation: string;
  /** The Deployment or CronJob to be stopped, as `deployments/NAME` or `cronjobs/NAME`; undefined when there is none. */
  readonly workload: string | undefined;
  readonly terms: AciControllerParts['terms'];
  readonly groupsIn: AciControllerParts['groupsIn'];
}

const LEAD_WITHIN_MS = 120_000;
const DONE_WITHIN_MS = 480_000;
const LOOK_MS = 2000;
const ASK_AGAIN_MS = 60_000;

/** @returns whether all are gone */
export async function removeGroups(parts: RemoveGroupsParts, stopping: AbortSignal): Promise<boolean> {
  const { clock, log, election } = parts;
  const signal = clock.deadline(LEAD_WITHIN_MS + DONE_WITHIN_MS, stopping);
  if (parts.workload !== undefined) await stopWorkload(parts.api, parts.namespace, parts.workload, signal);
  const resigned = new AbortController();
  const electing = election.run(resigned.signal);
  try {
    // Nobody makes a group after that: whoever worked has given up the Lease, or is dead for long enough.
    const begun = clock.monotonic();
    while (!election.isLeading && !signal.aborted) {
      if (clock.monotonic() - begun > LEAD_WITHIN_MS) {
        log.error(
          { holder: election.holder },
          'the operator of this release still works: no container group was deleted',
        );
        return false;
      }
      await clock.sleep(LOOK_MS / 4, signal);
    }
    return await removeAll(parts, signal);
  } finally {
    await election.release(clock.deadline(10_000));
    resigned.abort();
    await electing;
  }
}

/** Has the operator's Deployment, or CronJob, stop. */
export async function stopWorkload(
  api: KubernetesApi,
  namespace: string,
  workload: string,
  signal: AbortSignal,
): Promise<void> {
  const [kind, name] = workload.split('/');
  const [path, spec] =
    kind === 'cronjobs'
      ? [`/apis/batch/v1/namespaces/${namespace}/cronjobs/${name}`, { suspend: true }]
      : [`/apis/apps/v1/namespaces/${namespace}/deployments/${name}/scale`, { replicas: 0 }];
  await api.request({ method: 'PATCH', path, body: { spec }, contentType: 'application/merge-patch+json', signal });
}

async function removeAll(parts: RemoveGroupsParts, signal: AbortSignal): Promise<boolean> {
  const { store, clock, log, groupsIn } = parts;
  const view = new JobsView(clock);
  const listed = new AbortController();
  await store.follow(
    (observation) => {
      view.observe(observation);
      if (observation.kind === 'listed') listed.abort();
    },
    AbortSignal.any([signal, listed.signal]),
  );
  const places = placesOf({ view, terms: parts.terms });
  /** When (monotonic) each was last asked to go. */
  const asked = new Map<string, number>();
  while (!signal.aborted) {
    let left = 0;
    try {
      for (const place of places)
        for (const { name } of (await groupsIn(place).list(signal)).filter((one) => isOfInstallation(parts, one))) {
          left++;
          // A delete can fail in silence.
          if (clock.monotonic() - (asked.get(name) ?? Number.NEGATIVE_INFINITY) < ASK_AGAIN_MS) continue;
          if (await hasAsked(groupsIn(place), name, signal)) asked.set(name, clock.monotonic());
        }
      log.info(
        { left },
        left === 0 ? 'no container group of this installation is left' : 'container groups are deleted',
      );
      if (left === 0) return true;
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'Azure does not answer as it should; it is tried again');
    }
    await clock.sleep(LOOK_MS, signal);
  }
  log.error(
    { places: [...places] },
    'container groups are left: az container list --resource-group NAME shows them, az container delete ends them',
  );
  return false;
}

/** One that cannot go yet, such as one that is being made, must not hold up the others. */
async function hasAsked(groups: ContainerGroups, name: string, signal: AbortSignal): Promise<boolean> {
  await groups.stop(name, signal).catch(() => undefined);
  return groups.remove(name, signal).then(
    () => true,
    () => false,
  );
}
