import { describe, expect, test } from 'vitest';
import type { Cap, Groups, History, JobVersion, PodStep, PutMessage, QueueCall } from '#/testing/chaos/history.ts';
import { judge, PROMISES, type Promised } from '#/testing/chaos/judge.ts';

/** The start of every history here. */
const T = Date.parse('2026-01-01T00:00:00Z');

/** A history of a task that completed, one that failed, and a malformed message, in which every promise is kept. */
function kept(): History {
  return {
    puts: [put('a', 'completed'), put('b', 'failed'), put('c', 'malformed')],
    jobs: [...life('a', 'completed', 1), ...life('b', 'failed', 2)],
    pods: [],
    deliveries: [
      { id: 'a', webhookId: 'id-a', status: 'completed' },
      { id: 'b', webhookId: 'id-b', status: 'failed' },
      { id: 'c', webhookId: 'id-c', status: 'failed' },
    ],
    poison: [
      { queue: 'acme-tasks', messageId: 'm-b' },
      { queue: 'acme-tasks', messageId: 'm-c' },
    ],
    calls: [removed('a', 3500), poisoned('b', 3500), removed('b', 3600), poisoned('c', 100), removed('c', 200)],
    left: { 'acme-tasks': 0 },
    caps: [
      { of: 'all', name: '', most: 3 },
      { of: 'client', name: 'acme', most: 3 },
      { of: 'type', name: 'succeed', most: 3 },
    ],
    overlap: 0,
    changes: [],
  };
}

function put(id: string, expected: PutMessage['expected']): PutMessage {
  const kind = expected === 'malformed' ? 'no-id' : expected === 'failed' ? 'fail' : 'succeed';
  return { id, messageId: `m-${id}`, queue: 'acme-tasks', kind, expected, webhook: true, at: T };
}

/** A Job's versions: created in its first second, ended in its third, settled in its fourth. */
function life(id: string, end: 'completed' | 'failed', first: number, uid = `uid-${id}`): readonly JobVersion[] {
  const base = version(id, first, 1000, { uid });
  const over = { uid, end, endedAt: T + 3000 };
  return [
    base,
    version(id, first + 100, 3000, { ...over, write: 'update status' }),
    version(id, first + 200, 4000, { ...over, write: 'patch', settled: true }),
  ];
}

function version(id: string, revision: number, ms: number, changes: Partial<JobVersion> = {}): JobVersion {
  return {
    uid: `uid-${id}`,
    name: `acme-succeed-${id}`,
    messageId: `m-${id}`,
    revision,
    askedAt: T + ms,
    answeredAt: T + ms + 5,
    write: 'create',
    by: 'operator',
    createdAt: T + 1000,
    heldBack: false,
    end: undefined,
    endedAt: undefined,
    settled: false,
    gone: false,
    ...changes,
  };
}

const cap = (of: Cap['of'], name: string, most: number): Cap => ({ of, name, most });
const removed = (id: string, ms: number): QueueCall => ({ kind: 'removed', messageId: `m-${id}`, at: T + ms });
const poisoned = (id: string, ms: number): QueueCall => ({ kind: 'poisoned', messageId: `m-${id}`, at: T + ms });

const made = (a: number, b: number) => ({ 'acme-succeed-a': a, 'acme-succeed-b': b });
const groups = (changes: Partial<Groups>): Groups => ({ starts: made(1, 1), overwritten: [], left: [], ...changes });

const brokenBy = (changes: Partial<History>) => {
  const { violations } = judge({ ...kept(), ...changes });
  return violations.map(({ promise, task }) => `${promise}: ${task.split(' ')[0]}`);
};
const { puts, jobs, deliveries, poison, calls } = kept();
const without = (ofMessage: string) => jobs.filter(({ messageId }) => messageId !== ofMessage);

test('a history in which every promise is kept has no violation', () => {
  const verdict = judge(kept());
  expect(verdict.violations).toEqual([]);
  expect(verdict.outcomes).toEqual({
    succeed: { completed: 1, failed: 0, rejected: 0, unfinished: 0 },
    fail: { completed: 0, failed: 1, rejected: 0, unfinished: 0 },
    'no-id': { completed: 0, failed: 0, rejected: 1, unfinished: 0 },
  });
  expect(verdict.caps.map(({ most, times, overMs }) => ({ most, times, overMs }))).toEqual([
    { most: 2, times: 0, overMs: 0 },
    { most: 2, times: 0, overMs: 0 },
    { most: 1, times: 0, overMs: 0 },
  ]);
});

/** Each way to break a promise, and what the judge says of it. */
const BROKEN: readonly (readonly [string, Promised, Partial<History>, readonly string[]])[] = [
  ['a message without a Job', 'not-lost', { jobs: without('m-a'), calls }, ['not-lost: a', 'delete-last: a']],
  [
    'a Job that never ended',
    'not-lost',
    { jobs: [...without('m-a'), version('a', 1, 1000)], calls: calls.filter(({ messageId }) => messageId !== 'm-a') },
    ['not-lost: a', 'not-lost: a'],
  ],
  ['a Job that is not settled', 'not-lost', { jobs: jobs.filter((one) => one.revision !== 201) }, ['not-lost: a']],
  ['a message that was never removed', 'not-lost', { calls: calls.slice(1) }, ['not-lost: a']],
  ['a message that is left', 'not-lost', { left: { 'acme-tasks': 1 } }, ['not-lost: acme-tasks']],
  [
    'a second Job beside the first',
    'one-job',
    { jobs: [...jobs, ...life('a', 'completed', 50, 'uid-2')] },
    ['one-job: a'],
  ],
  [
    'a second Job after the first is gone',
    'one-job',
    {
      jobs: [
        ...jobs,
        version('a', 300, 5000, { write: 'delete', end: 'completed', endedAt: T + 3000, settled: true, gone: true }),
        ...life('a', 'completed', 400, 'uid-2').map((one) => ({ ...one, createdAt: T + 6000 })),
      ],
    },
    ['one-job: a'],
  ],
  ['a Job of no message', 'no-invention', { jobs: [...jobs, ...life('x', 'completed', 3)] }, ['no-invention: m-x']],
  ['a Job of a malformed message', 'no-invention', { jobs: [...jobs, ...life('c', 'failed', 3)] }, ['no-invention: c']],
  [
    'a poison copy of no message',
    'no-invention',
    { poison: [...poison, { queue: 'acme-tasks', messageId: undefined }] },
    ['no-invention: no'],
  ],
  [
    'a Job that ends otherwise',
    'right-end',
    { jobs: [...without('m-a'), ...life('a', 'failed', 1)] },
    ['right-end: a'],
  ],
  ['a failure without a poison copy', 'poison', { poison: poison.slice(1) }, ['poison: b']],
  ['a malformed message without a poison copy', 'poison', { poison: poison.slice(0, 1) }, ['poison: c']],
  [
    'a poison copy of a success',
    'poison',
    { poison: [...poison, { queue: 'acme-tasks', messageId: 'm-a' }] },
    ['poison: a'],
  ],
  ['no webhook', 'webhook', { deliveries: deliveries.slice(1) }, ['webhook: a']],
  [
    'a webhook that nobody asked for',
    'webhook',
    { puts: puts.map((one) => (one.id === 'a' ? { ...one, webhook: false } : one)) },
    ['webhook: a'],
  ],
  [
    'a task told as completed and as failed, under one id',
    'webhook',
    { deliveries: [...deliveries, { id: 'a', webhookId: 'id-a', status: 'failed' }] },
    ['webhook: a'],
  ],
  [
    'a webhook under two ids',
    'webhook',
    { deliveries: [...deliveries, { id: 'a', webhookId: 'id-2', status: 'completed' }] },
    ['webhook: a'],
  ],
  [
    'two tasks under one id',
    'webhook',
    { deliveries: deliveries.map((one) => (one.id === 'b' ? { ...one, webhookId: 'id-a' } : one)) },
    ['webhook: a,'],
  ],
  [
    'a message removed before its Job had ended',
    'delete-last',
    { calls: [removed('a', 2999), ...calls.slice(1)] },
    ['delete-last: a'],
  ],
  [
    'a message removed before its poison copy was put',
    'delete-last',
    { calls: calls.map((one) => (one.messageId === 'm-b' && one.kind === 'removed' ? removed('b', 3400) : one)) },
    ['delete-last: b'],
  ],
  [
    'a malformed message removed before its poison copy was put',
    'delete-last',
    { calls: [...calls.slice(0, 3), removed('c', 200), poisoned('c', 300)] },
    ['delete-last: c'],
  ],
  ['more Jobs at once than may run', 'cap', { caps: [cap('all', '', 1)] }, ['cap: all', 'cap: all']],
  ['more Jobs of a client than may run', 'cap', { caps: [cap('client', 'acme', 1)] }, ['cap: client', 'cap: client']],
  ['more Jobs of a type than may run', 'cap', { caps: [cap('type', 'fail', 0)] }, ['cap: type', 'cap: type']],
  [
    'more Jobs than may run, though no operator has just followed another',
    'cap',
    { caps: [cap('all', '', 1)], overlap: 5, changes: [T - 5000, T + 9000] },
    ['cap: all'],
  ],
  [
    'a group that was made twice',
    'one-group',
    { groups: groups({ starts: made(1, 2) }) },
    ['one-group: acme-succeed-b'],
  ],
  ['a task without a group', 'one-group', { groups: groups({ starts: made(1, 0) }) }, ['one-group: acme-succeed-b']],
  [
    'a group without a Job',
    'one-group',
    { groups: groups({ starts: { ...made(1, 1), other: 1 } }) },
    ['one-group: other'],
  ],
  ['a group over another', 'one-group', { groups: groups({ overwritten: ['x'] }) }, ['one-group: x']],
  ['a group that is left', 'one-group', { groups: groups({ left: ['x'] }) }, ['one-group: x']],
  ['more Jobs than an overlap may bring', 'cap', { caps: [cap('all', '', 0)], overlap: 1, changes: [T] }, ['cap: all']],
];

test.each(BROKEN)('notices %s', (_, promise, changes, expected) => {
  expect(brokenBy(changes)).toEqual(expected);
  expect(expected.some((one) => one.startsWith(promise))).toBe(true);
});

test('says of a second Job whether it ran beside the first', () => {
  const evidence = BROKEN.filter(([, promise]) => promise === 'one-job').map(
    ([, , changes]) => judge({ ...kept(), ...changes }).violations[0]?.evidence,
  );
  expect(evidence).toEqual([
    expect.stringMatching(/, while Job .* ran$/),
    expect.stringMatching(/, after Job .* ran$/),
  ]);
});

test('every promise is broken here at least once', () => {
  expect(new Set(BROKEN.map(([, promise]) => promise))).toEqual(new Set(Object.keys(PROMISES)));
});

describe('what is allowed', () => {
  test('one group for each Job', () => expect(brokenBy({ groups: groups({}) })).toEqual([]));

  test('a poison copy and a webhook that are repeated under one id', () => {
    const verdict = judge({
      ...kept(),
      deliveries: [...deliveries, ...deliveries],
      poison: [...poison, ...poison],
    });
    expect(verdict.violations).toEqual([]);
    expect(verdict.repeated).toEqual({ webhooks: 3, poison: 2 });
  });

  test('an overlap, which is counted', () => {
    const verdict = judge({ ...kept(), caps: [cap('all', '', 1)], overlap: 1, changes: [T] });
    expect(verdict.violations).toEqual([]);
    expect(verdict.caps).toEqual([{ cap: cap('all', '', 1), most: 2, times: 1, overMs: 1995 }]);
  });

  test('an end that the audit log has not, by the time that the Job tells', () => {
    const unseen = jobs.filter(({ revision }) => revision !== 101);
    expect(brokenBy({ jobs: unseen })).toEqual([]);
    expect(brokenBy({ jobs: unseen, calls: [removed('a', 2999), ...calls.slice(1)] })).toEqual(['delete-last: a']);
  });

  test('two pods of one Job at one moment, which are counted: Kubernetes may start a program twice', () => {
    const step = (pod: string, what: PodStep['step'], ms: number) => ({ pod, jobUid: 'uid-a', step: what, at: T + ms });
    const retried = [step('1', 'created', 1), step('1', 'over', 2), step('2', 'created', 3), step('2', 'over', 4)];
    expect(judge({ ...kept(), pods: retried }).twinPods).toBe(0);
    const twins = [step('1', 'created', 1), step('2', 'created', 2), step('1', 'over', 3)];
    expect(judge({ ...kept(), pods: twins })).toMatchObject({ twinPods: 1, violations: [] });
  });
});
