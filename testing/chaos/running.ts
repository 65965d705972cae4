/** How many Jobs ran, counted from their versions. */
import type { JobVersion } from '#/testing/chaos/history.ts';

/** A change of the number of Jobs that run: unfinished, and not held back. */
export interface RunningStep {
  readonly at: number;
  readonly running: number;
}

/**
 * The changes in the order of the store's own revisions, so that no moment is counted that never was. A write of which
 * the audit log has nothing (its server was killed between write and log) is set to the last write before the time that
 * the Job itself tells.
 */
export function runningSteps(versions: readonly JobVersion[]): readonly RunningStep[] {
  const ordered = versions.toSorted((a, b) => a.revision - b.revision);
  const changes: { revision: number; at: number; uid: string; state: 'runs' | 'held' | 'over' }[] = [];
  const over = new Set<string>();
  for (const version of ordered) {
    const { uid, end, endedAt, gone, heldBack, revision } = version;
    if (over.has(uid)) continue;
    if (end === undefined && !gone) {
      changes.push({ revision, at: version.answeredAt, uid, state: heldBack ? 'held' : 'runs' });
      continue;
    }
    over.add(uid);
    const unseen = end !== undefined && endedAt !== undefined && isUnseenEnd(version);
    changes.push(
      unseen
        ? { revision: lastBefore(ordered, endedAt), at: endedAt, uid, state: 'over' }
        : { revision, at: version.askedAt, uid, state: 'over' },
    );
  }
  const running = new Set<string>();
  const finished = new Set<string>();
  return changes
    .toSorted((a, b) => a.revision - b.revision)
    .flatMap(({ at, uid, state }) => {
      const before = running.size;
      if (state === 'over') finished.add(uid);
      if (state === 'runs' && !finished.has(uid)) running.add(uid);
      else running.delete(uid);
      return running.size === before ? [] : [{ at, running: running.size }];
    });
}

/** Whether a Job's end was written before this version, which is the first that shows it. */
export function isUnseenEnd({ write }: JobVersion): boolean {
  return write !== 'update status' && write !== 'patch status';
}

function lastBefore(ordered: readonly JobVersion[], at: number): number {
  return ordered.reduce((last, { answeredAt, revision }) => (answeredAt <= at ? Math.max(last, revision) : last), 0);
}
