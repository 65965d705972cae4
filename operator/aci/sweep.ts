/** Container groups that nobody follows: of a Job that is gone, or has ended. Deleted when they were seen twice; nothing of another installation. */
import { TAG } from '../../contract/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { JobsView } from '../jobs/view.ts';
import { isOnAci, readAttempts } from './attempts.ts';
import type { ContainerGroups, GroupRecord, ListedGroup } from './groups.ts';

/** What sweeping works with. */
export interface SweepTools {
  readonly view: JobsView;
  readonly clock: Clock;
  readonly log: Log;
  readonly installation: string;
  readonly namespace: string;
  readonly isLeading: () => boolean;
  readonly terms: () => { readonly resourceGroup: string } | undefined;
  readonly groupsIn: (place: string) => ContainerGroups;
  readonly remove: (group: GroupRecord, place: string, signal: AbortSignal) => Promise<unknown>;
}

/** Milliseconds between two looks: also the time between the two observations of a group. */
const SWEEP_MS = 300_000;

/** Looks at all groups again and again until `signal` aborts. */
export async function keepSweeping(tools: SweepTools, signal: AbortSignal): Promise<void> {
  const { clock, log, isLeading, view } = tools;
  /** Seen once, by place and name. */
  let seen = new Set<string>();
  while (!signal.aborted) {
    await clock.sleep(SWEEP_MS * (0.9 + 0.2 * clock.random()), signal);
    if (signal.aborted || !isLeading() || view.state.kind !== 'known') continue;
    const now = new Set<string>();
    for (const place of placesOf(tools)) {
      try {
        for (const group of await leftOver(tools, place, signal)) {
          const key = `${place}/${group.name}`;
          if (seen.has(key)) await remove(tools, place, group, signal);
          now.add(key);
        }
      } catch (error) {
        // What was seen before counts on: a look that failed tells nothing.
        for (const key of seen) if (key.startsWith(`${place}/`)) now.add(key);
        if (!signal.aborted)
          log.warn({ place, err: error }, 'container groups that were left over could not be looked for');
      }
    }
    seen = now;
  }
}

/** Where groups may be: where they are made now, and wherever a Job has one. */
export function placesOf({ view, terms }: Pick<SweepTools, 'view' | 'terms'>): ReadonlySet<string> {
  const now = terms()?.resourceGroup;
  const places = new Set(now === undefined ? [] : [now]);
  for (const job of view.jobs()) if (isOnAci(job)) for (const { place } of readAttempts(job) ?? []) places.add(place);
  return places;
}

async function leftOver(tools: SweepTools, place: string, signal: AbortSignal): Promise<readonly ListedGroup[]> {
  const groups = await tools.groupsIn(place).list(signal);
  return groups.filter((group) => isLeftOver(tools, group));
}

/** Whether no Job follows the group. One whose group may still be asked for, or which has not seen it gone, does. */
function isLeftOver(
  tools: Pick<SweepTools, 'view' | 'installation' | 'namespace'>,
  group: Pick<ListedGroup, 'name' | 'tags'>,
): boolean {
  const { view } = tools;
  const { name, tags } = group;
  if (!isOfInstallation(tools, group)) return false;
  const job = view.job(name) ?? view.tombstone(name)?.job;
  if (job === undefined || job.uid !== tags[TAG.jobUid]) return job === undefined || job.settled;
  // Of one that cannot be read nobody knows.
  return job.settled && readAttempts(job)?.every(({ gone }) => gone === true) === true;
}

/** Whether an operator of this installation made it. */
export function isOfInstallation(
  { installation, namespace }: Pick<SweepTools, 'installation' | 'namespace'>,
  { tags }: Pick<ListedGroup, 'tags'>,
): boolean {
  return tags[TAG.installation] === installation && tags[TAG.namespace] === namespace;
}

async function remove(
  { groupsIn, log, remove: end }: SweepTools,
  place: string,
  { name, tags }: ListedGroup,
  signal: AbortSignal,
): Promise<void> {
  const group = await groupsIn(place).get(name, signal);
  // Another one by now, or gone.
  if (group === undefined || group.tags[TAG.jobUid] !== tags[TAG.jobUid]) return;
  log.warn({ group: name, place }, 'a container group that no Job follows is deleted');
  await end(group, place, signal);
}
