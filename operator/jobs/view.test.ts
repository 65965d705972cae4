import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { COMPLETE, testJob, testPod } from '../../testing/jobs.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { JobRecord, PodRecord } from './records.ts';
import { JobsView } from './view.ts';

function setUp() {
  const clock = new VirtualClock();
  const view = new JobsView(clock);
  const changed: string[] = [];
  view.onChange((name) => changed.push(name));
  const list = (jobs: readonly JobRecord[], pods: readonly PodRecord[] = [], version?: string) =>
    view.observe({ kind: 'listed', jobs, pods, ...(version === undefined ? {} : { versionOf: () => version }) });
  const names = () => [...view.jobs()].map(({ name }) => name);
  return { clock, view, changed, list, names };
}

const job = (name: string, resourceVersion = '1', changes: Partial<JobRecord> = {}) =>
  testJob({ name, uid: `uid of ${name}`, resourceVersion, ...changes });
const lost = { kind: 'unknown', error: new Error('connection refused') } as const;

describe('I5: what cannot be read is unknown, not empty', () => {
  test('before the first list nothing is known', async () => {
    const { clock, view } = setUp();
    await clock.advance(5000);
    expect(view.state).toEqual({ kind: 'unknown', since: 0, reason: 'no list of Jobs yet' });
    view.observe({ kind: 'job', job: job('a') });
    expect(view.state.kind).toBe('unknown');
  });

  test('an empty list is known, and no Jobs', () => {
    const { view, list, names } = setUp();
    list([]);
    expect(view.state).toEqual({ kind: 'known' });
    expect(names()).toEqual([]);
  });

  test('when contact is lost the last picture stays, and it is unknown since then', async () => {
    const { clock, view, list, names } = setUp();
    list([job('a')], [testPod('running', 1, 'a')]);
    await clock.advance(7000);
    view.observe(lost);
    await clock.advance(7000);
    view.observe({ ...lost, error: new Error('again') });
    expect(view.state).toEqual({ kind: 'unknown', since: 7000, reason: 'connection refused' });
    expect(names()).toEqual(['a']);
    expect(view.pods('a')).toHaveLength(1);
    list([]);
    expect([view.state.kind, names()]).toEqual(['known', []]);
  });
});

describe('versions', () => {
  test('an older version than the answer to an own write is ignored', () => {
    const { view, list } = setUp();
    list([job('a', '10')]);
    view.learn(job('a', '12', { settled: true }));
    view.observe({ kind: 'job', job: job('a', '11') });
    expect(view.job('a')).toMatchObject({ resourceVersion: '12', settled: true });
    view.observe({ kind: 'job', job: job('a', '13') });
    expect(view.job('a')?.resourceVersion).toBe('13');
  });

  test('versions are compared as numbers of any length', () => {
    const { view, list } = setUp();
    list([job('a', '9')]);
    view.learn(job('a', '10'));
    view.learn(job('a', '9007199254740993'));
    view.learn(job('a', '9007199254740992'));
    expect(view.job('a')?.resourceVersion).toBe('9007199254740993');
  });

  test('another Job of the same name takes its place', () => {
    const { view, list } = setUp();
    list([job('a', '10')]);
    view.observe({ kind: 'job', job: job('a', '20', { uid: 'another' }) });
    expect(view.job('a')?.uid).toBe('another');
    view.observe({ kind: 'job-gone', job: job('a', '21') });
    expect(view.job('a')?.uid).toBe('another');
    view.observe({ kind: 'job-gone', job: job('a', '22', { uid: 'another' }) });
    expect(view.job('a')).toBeUndefined();
  });

  test('I6: a list made before an own create does not forget the Job', () => {
    const { view, list, names } = setUp();
    list([], [], '100');
    view.learn(job('mine', '105'));
    list([job('other', '90')], [], '103');
    expect(names().toSorted()).toEqual(['mine', 'other']);
    list([job('other', '90')], [], '110');
    expect(names()).toEqual(['other']);
  });

  test('a list made before an own write does not bring the old version back', () => {
    const { view, list } = setUp();
    list([job('a', '10')], [], '10');
    view.learn(job('a', '12', { settled: true }));
    list([job('a', '10')], [], '11');
    expect(view.job('a')).toMatchObject({ resourceVersion: '12', settled: true });
  });
});

describe('changes', () => {
  test('are told by the name of the Job, for its pods too', () => {
    const { view, changed, list } = setUp();
    list([job('a'), job('b')], [testPod('running', 1, 'c')]);
    expect(changed.splice(0)).toEqual(['a', 'b']);
    view.observe({ kind: 'pod', pod: testPod('failed', 1, 'a') });
    view.observe({ kind: 'pod-gone', pod: testPod('failed', 1, 'a') });
    view.observe({ kind: 'job-gone', job: job('b') });
    view.learn(job('d'));
    expect(changed.splice(0)).toEqual(['a', 'a', 'b', 'd']);
    view.learn(job('d', '0'));
    expect(changed).toEqual([]);
  });

  test('a Job that a list does not have any more is told, and so is one whose pods are gone', () => {
    const { changed, list } = setUp();
    list([job('a')], [testPod('running', 1, 'gone')]);
    changed.length = 0;
    list([job('b')]);
    expect(changed.toSorted()).toEqual(['a', 'b', 'gone']);
  });
});

test('pods are told oldest first, and those of a Job that is gone are still known', () => {
  const { view, list } = setUp();
  list([], [testPod('failed', 3, 'a'), testPod('running', 1, 'a'), testPod('failed', 2, 'a')]);
  expect(view.pods('a').map(({ name }) => name)).toEqual(['a-1', 'a-2', 'a-3']);
  view.observe({ kind: 'pod', pod: testPod('failed', 1, 'a') });
  expect(view.pods('a')[0]?.phase).toBe('Failed');
  for (const attempt of [1, 2, 3]) view.observe({ kind: 'pod-gone', pod: testPod('failed', attempt, 'a') });
  expect(view.pods('a')).toEqual([]);
});

test('a pod that a deleted Job of the same name left behind is none of its successor', () => {
  const { view, list } = setUp();
  const [first, second] = [job('a', '1', { uid: 'first' }), job('a', '2', { uid: 'second' })];
  const left = { ...testPod('failed', 1, 'a'), jobUid: 'first' };
  const own = { ...testPod('running', 2, 'a'), jobUid: 'second' };
  list([second], [left, own]);
  expect(view.pods('a')).toEqual([left, own]);
  expect(view.podsOf(second)).toEqual([own]);
  expect(view.podsOf(first)).toEqual([left]);
});

test('the age of an end counts from when it was first seen, also over lists and new versions', async () => {
  const { clock, view, list } = setUp();
  list([job('a')]);
  expect(view.endAgeMs('a')).toBe(0);
  await clock.advance(1000);
  view.learn(job('a', '2', { end: COMPLETE }));
  await clock.advance(500);
  view.learn(job('a', '3', { end: COMPLETE }));
  list([job('a', '4', { end: COMPLETE })]);
  await clock.advance(500);
  expect(view.endAgeMs('a')).toBe(1000);
  list([]);
  expect(view.endAgeMs('a')).toBe(0);
});

describe('what is left of a Job that was seen to be deleted', () => {
  const gone = (changes: Partial<JobRecord> = {}) =>
    ({ kind: 'job-gone', job: job('a', '20', changes), taskData: '{"task_id":"t-1"}' }) as const;

  test('is its last version, its text, and its pods as they were last seen', async () => {
    const { clock, view, list } = setUp();
    list([job('a', '10')], [testPod('running', 1, 'a')]);
    await clock.advance(7000);
    view.observe(gone());
    view.observe({ kind: 'pod', pod: testPod('failed', 1, 'a') });
    view.observe({ kind: 'pod-gone', pod: testPod('running', 1, 'a') });
    list([]);
    const tombstone = view.tombstone('a');
    expect(tombstone).toMatchObject({ job: { resourceVersion: '20' }, taskData: '{"task_id":"t-1"}', progress: {} });
    expect(tombstone?.seenAt).toBe(clock.now());
    expect([...(tombstone?.pods.values() ?? [])].map(({ phase }) => phase)).toEqual(['Failed']);
    expect([view.job('a'), view.pods('a')]).toEqual([undefined, []]);
  });

  test('is nothing when it was settled, or only not found, or not there in a list', () => {
    const { view, list } = setUp();
    for (const seen of [gone({ settled: true }), { kind: 'job-gone', job: job('a', '20') } as const]) {
      list([job('a', '10')]);
      view.observe(seen);
      expect([view.job('a'), view.tombstone('a')]).toEqual([undefined, undefined]);
    }
    list([job('a', '10')]);
    list([]);
    expect(view.tombstone('a')).toBeUndefined();
  });

  test('stands until it is dismissed, and is told again by every list', () => {
    const { view, changed, list } = setUp();
    list([job('a', '10')]);
    view.observe(gone());
    const tombstone = view.tombstone('a');
    view.observe(gone());
    changed.length = 0;
    list([]);
    expect(changed).toEqual(['a']);
    expect(view.tombstone('a')).toBe(tombstone);
    if (tombstone !== undefined) view.dismiss(tombstone);
    expect(view.tombstone('a')).toBeUndefined();
  });

  test('keeps the Job from coming back, by an answer that was under way or by an old list', () => {
    const { view, list, names } = setUp();
    list([job('a', '10')]);
    view.observe(gone());
    view.learn(job('a', '15'));
    list([job('a', '12')]);
    expect(names()).toEqual([]);
    expect(view.tombstone('a')).toBeDefined();
  });

  test('goes when its message has another Job, and stays beside one of another message', () => {
    const { view, list } = setUp();
    list([job('a', '10')]);
    view.observe(gone());
    view.learn(job('a', '30', { uid: 'foreign', annotations: { [ANNOTATION.messageId]: 'another' } }));
    expect([view.job('a')?.uid, view.tombstone('a')?.job.uid]).toEqual(['foreign', 'uid of a']);
    view.observe({ kind: 'job-gone', job: job('a', '31', { uid: 'foreign' }) });
    view.learn(job('a', '40', { uid: 'anew' }));
    expect([view.job('a')?.uid, view.tombstone('a')]).toEqual(['anew', undefined]);
    view.observe(gone());
    expect([view.job('a')?.uid, view.tombstone('a')]).toEqual(['anew', undefined]);
  });
});
