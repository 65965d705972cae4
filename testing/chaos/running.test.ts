import { expect, test } from 'vitest';
import type { JobVersion } from '#/testing/chaos/history.ts';
import { runningSteps } from '#/testing/chaos/running.ts';

const T = Date.parse('2026-01-01T00:00:00Z');

/** The n-th write of the store, which comes at its n-th second. */
function write(revision: number, uid: string, changes: Partial<JobVersion> = {}): JobVersion {
  const at = T + revision * 1000;
  return {
    uid,
    name: uid,
    messageId: uid,
    revision,
    askedAt: at,
    answeredAt: at,
    write: 'patch',
    by: '',
    createdAt: T,
    heldBack: false,
    end: undefined,
    endedAt: undefined,
    settled: false,
    gone: false,
    ...changes,
  };
}
const counts = (...versions: JobVersion[]) => runningSteps(versions).map(({ running }) => running);

test('a Job runs from its first version to its end, whatever the order in which its writes are told', () => {
  const end = write(3, 'a', { write: 'update status', end: 'completed', endedAt: T + 3000 });
  expect(counts(write(1, 'a'), write(2, 'b'), end)).toEqual([1, 2, 1]);
  expect(counts(end, write(2, 'b'), write(1, 'a'))).toEqual([1, 2, 1]);
  expect(counts(write(1, 'a'), end, write(4, 'a', { end: 'completed', endedAt: T + 3000 }))).toEqual([1, 0]);
});

test('a Job that is held back does not run, and one that is let go does', () => {
  const held = { heldBack: true };
  expect(counts(write(1, 'a', held), write(2, 'b', held), write(3, 'a'))).toEqual([1]);
  expect(counts(write(1, 'a'), write(2, 'a', held), write(3, 'a'))).toEqual([1, 0, 1]);
});

test('a Job that is deleted does not run', () => {
  expect(counts(write(1, 'a'), write(2, 'a', { gone: true }))).toEqual([1, 0]);
});

test('an end of which nothing was told counts from the time that the Job tells', () => {
  const settled = write(9, 'a', { end: 'completed', endedAt: T + 2500, settled: true });
  expect(counts(write(1, 'a'), write(2, 'c'), write(3, 'b'), settled)).toEqual([1, 2, 1, 2]);
});
