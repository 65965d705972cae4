import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { COMPLETE, FAILED, testJob, testPod } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import type { JobRecord, PodRecord } from '../jobs/records.ts';
import { type DeletedPicture, decideDeleted } from './decide-deleted.ts';

const WEBHOOK = { [ANNOTATION.webhookUrl]: 'https://backend.example/hook' };
const OWED = {
  [ANNOTATION.webhookState]: JSON.stringify({
    kind: 'owed',
    tries: 2,
    nextAt: '2026-01-01T01:00:00.000Z',
    detail: '503',
    removal: 'deleted',
  }),
};
const outcome = (status: 'completed' | 'failed' | 'cancelled') => ({
  [ANNOTATION.outcome]: JSON.stringify({
    status,
    diagnosis: { category: status === 'failed' ? 'OutOfMemory' : 'Completed', message: 'm', hint: 'h' },
    attempts: [],
    startedAt: null,
    finishedAt: '2026-01-01T00:00:00.000Z',
    webhookDue: true,
  }),
});

const running = testPod('running');
const failed = testPod('failed');
const completed = testPod('completed-delivered');

type Stone = NonNullable<DeletedPicture['tombstone']>;

/** A deletion of a running Job, seen a minute ago, whose pod is gone by now. */
function stone(job: Partial<JobRecord> = {}, pods: readonly PodRecord[] = [running], more: Partial<Stone> = {}): Stone {
  return { job: testJob(job), seenAt: EPOCH, pods: new Map(pods.map((pod) => [pod.name, pod])), progress: {}, ...more };
}

const LEASE = { condition: 'held', renewAt: EPOCH + 400_000, expiresOn: EPOCH + 7 * 86_400_000 } as const;

function decide(changes: Partial<DeletedPicture> = {}) {
  const picture: DeletedPicture = {
    tombstone: stone(),
    pods: [],
    lease: LEASE,
    viewKnown: true,
    fact: 'deleted',
    now: EPOCH + 60_000,
    ...changes,
  };
  return decideDeleted(picture);
}

const gone = { condition: 'gone', renewAt: EPOCH, expiresOn: LEASE.expiresOn } as const;
const lost = { ...LEASE, condition: 'lost' } as const;
const due = { ...LEASE, renewAt: EPOCH + 60_000 };

describe('it waits, and keeps the message', () => {
  test.each<[string, Partial<DeletedPicture>, object]>([
    ['I5: while nobody knows what is there', { viewKnown: false }, { kind: 'wait', lookAgainMs: 1000 }],
    ['I1: while a pod of the Job runs', { pods: [running] }, { kind: 'wait', lookAgainMs: 340_000 }],
    ['I1: while one starts', { pods: [failed, testPod('image-missing', 2)] }, { kind: 'wait', lookAgainMs: 340_000 }],
    ['I1: while one runs, unseen deletions too', { tombstone: undefined, pods: [running] }, { kind: 'wait' }],
    ['renewing the lease in time', { pods: [running], lease: due }, { kind: 'renew' }],
    [
      'renewing the lease of an unseen deletion',
      { tombstone: undefined, pods: [running], lease: due },
      { kind: 'renew' },
    ],
    ['renewing the lease in the unknown', { viewKnown: false, lease: due }, { kind: 'renew' }],
    [
      'I1: for a pod of which the other watch may tell yet',
      { tombstone: stone({}, []), now: EPOCH + 4000 },
      { kind: 'wait', lookAgainMs: 6000 },
    ],
  ])('%s', (_, changes, expected) => {
    expect(decide(changes)).toMatchObject(expected);
  });

  test('for no pod that has ended: an orphaned one may stay for long', () => {
    expect(decide({ pods: [failed] }).kind).toBe('settle');
  });

  test('for no pod of a Job that was never started', () => {
    expect(decide({ tombstone: stone({ startedAt: undefined }, []), now: EPOCH }).kind).toBe('settle');
  });
});

describe('what a live read says', () => {
  test('is asked for, once, before anything is done', () => {
    expect(decide({ fact: undefined })).toEqual({ kind: 'ask', renew: true });
    expect(decide({ fact: undefined, lease: gone })).toEqual({ kind: 'ask', renew: false });
    expect(decide({ fact: undefined, tombstone: stone({}, [running], { progress: { tries: 1 } }) }).kind).toBe(
      'settle',
    );
  });

  test('I7: in a namespace that is being deleted nothing is cancelled: the message is released', () => {
    const fact = 'namespace-terminates';
    expect(decide({ fact }).kind).toBe('release');
    expect(decide({ fact, tombstone: stone({ end: FAILED }, [failed]) }).kind).toBe('release');
  });

  test('I8: what is final is told even so, when its message was deleted before', () => {
    const fact = 'namespace-terminates';
    const tombstone = stone({ end: FAILED, annotations: { ...WEBHOOK, ...outcome('failed'), ...OWED } });
    expect(decide({ fact, tombstone })).toMatchObject({ kind: 'settle', outcome: { status: 'failed' } });
    expect(decide({ fact, lease: gone }).kind).toBe('drop');
  });

  test('I7: a Job that only got out of sight is not cancelled', () => {
    expect(decide({ fact: 'not-deleted' }).kind).toBe('release');
    expect(decide({ fact: 'not-deleted', lease: gone }).kind).toBe('drop');
  });
});

test('I7: a deletion that nobody saw cancels nothing: the message is released', () => {
  expect(decide({ tombstone: undefined, fact: undefined }).kind).toBe('release');
  expect(decide({ tombstone: undefined, lease: lost }).kind).toBe('drop');
});

test('a message that was received again is a new delivery, and nothing is done for the old one', () => {
  expect(decide({ lease: lost }).kind).toBe('drop');
  expect(decide({ lease: lost, tombstone: stone({ end: FAILED }, [failed]) }).kind).toBe('drop');
});

describe('I7: the outcome', () => {
  const cancel = { [ANNOTATION.cancel]: 'ordered twice' };
  test.each<[string, Stone, object]>([
    ['of an unfinished Job is that it was cancelled', stone(), { status: 'cancelled', webhookDue: false }],
    ['of one that was never started, too', stone({ startedAt: undefined }, []), { status: 'cancelled' }],
    ['of one whose pod failed on the way, too', stone({}, [failed]), { status: 'cancelled' }],
    [
      'of one that was cancelled before, with its reason',
      stone({ annotations: cancel }),
      { status: 'cancelled', diagnosis: { message: 'the task was cancelled: ordered twice' } },
    ],
    ['of a completed Job is real', stone({ end: COMPLETE }, [completed]), { status: 'completed' }],
    ['of a failed Job is real', stone({ end: FAILED }, [failed]), { status: 'failed', attempts: [{ exitCode: 1 }] }],
    ['of a Job whose pod succeeded all the same is real', stone({}, [completed]), { status: 'completed' }],
    [
      'that stands on the Job is the one',
      stone({ end: FAILED, annotations: outcome('failed') }, []),
      { status: 'failed', diagnosis: { category: 'OutOfMemory' } },
    ],
  ])('%s', (_, tombstone, expected) => {
    expect(decide({ tombstone })).toMatchObject({ kind: 'settle', outcome: expected });
  });
});

describe('I2, I8: the steps', () => {
  const poisoned = { [ANNOTATION.poisoned]: '2026-01-01T00:00:00.000Z' };
  test.each<[string, Partial<DeletedPicture>, readonly string[]]>([
    ['a cancelled task makes no poison copy', {}, ['delete']],
    ['and is reported', { tombstone: stone({ annotations: WEBHOOK }) }, ['webhook', 'delete']],
    ['a failed one makes a copy first', { tombstone: stone({ end: FAILED }, [failed]) }, ['poison', 'delete']],
    [
      'unless it stands on the Job that it was made',
      { tombstone: stone({ end: FAILED, annotations: { ...WEBHOOK, ...poisoned } }, [failed]) },
      ['webhook', 'delete'],
    ],
    [
      'a completed one is reported if that is owed',
      { tombstone: stone({ end: COMPLETE, annotations: WEBHOOK }, []) },
      ['webhook', 'delete'],
    ],
    [
      'and not if its runner did',
      { tombstone: stone({ end: COMPLETE, annotations: WEBHOOK }, [completed]) },
      ['delete'],
    ],
    [
      'an owed webhook is sent though the message is gone',
      {
        lease: gone,
        tombstone: stone({ end: FAILED, annotations: { ...WEBHOOK, ...outcome('failed'), ...OWED, ...poisoned } }),
      },
      ['webhook', 'delete'],
    ],
    [
      'and so is a recorded outcome whose lease is lost: its message may have been deleted',
      {
        lease: lost,
        tombstone: stone({ end: FAILED, annotations: { ...WEBHOOK, ...outcome('failed'), ...poisoned } }),
      },
      ['webhook', 'delete'],
    ],
    [
      'a task whose message has expired is settled like any other',
      { lease: { ...LEASE, expiresOn: EPOCH, renewAt: EPOCH }, tombstone: stone({ annotations: WEBHOOK }) },
      ['webhook', 'delete'],
    ],
  ])('%s', (_, changes, steps) => {
    expect(decide(changes)).toMatchObject({ kind: 'settle', steps });
  });
});
