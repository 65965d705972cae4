import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { iso } from '../../lib/clock.ts';
import { COMPLETE, FAILED, testJob, testPod, WEBHOOK_URL } from '../../testing/jobs.ts';
import { type Behaviour, behaviours } from '../../testing/pod-status.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import { outcomeOf } from '../jobs/outcome.ts';
import type { JobRecord } from '../jobs/records.ts';
import { type Decision, decide, LAST_WORDS_MS, type LeaseView, type Picture, SETTLE_STEPS } from './decide.ts';
import { webhookStateAnnotation } from './webhook-state.ts';

const NOW = EPOCH + 10_000;

type JobPhase = 'running' | 'suspended' | 'complete' | 'failed' | 'settled';
type LeaseCondition =
  | 'fresh'
  | 'due'
  | 'receipt not written'
  | 'receipt of another on the Job'
  | 'due, receipt not written'
  | 'lost'
  | 'lost, and noted'
  | 'gone'
  | 'expired';
type Recorded = 'nothing' | 'outcome' | 'outcome and poison copy' | 'webhook owed later' | 'webhook owed now';
/** The decision in words: its kind, or the steps of settling. */
type Expected = 'leave' | 'renew' | 'write-receipt' | 'note-lost-lease' | `settle: ${string}`;

/** What is decided about each Job, whose webhook the operator has to send. A cell that is missing is a compile error. */
const TABLE: Record<JobPhase, Record<LeaseCondition, Record<Recorded, Expected>>> = {
  running: {
    fresh: whateverIsRecorded('leave'),
    due: whateverIsRecorded('renew'),
    'receipt not written': whateverIsRecorded('write-receipt'),
    // Two that write against each other would do so without end.
    'receipt of another on the Job': whateverIsRecorded('leave'),
    // The API server may be out for longer than a lease lasts.
    'due, receipt not written': whateverIsRecorded('renew'),
    lost: whateverIsRecorded('note-lost-lease'),
    'lost, and noted': whateverIsRecorded('leave'),
    gone: whateverIsRecorded('leave'),
    expired: whateverIsRecorded('leave'),
  },
  suspended: {
    fresh: whateverIsRecorded('leave'),
    due: whateverIsRecorded('renew'),
    'receipt not written': whateverIsRecorded('write-receipt'),
    // Two that write against each other would do so without end.
    'receipt of another on the Job': whateverIsRecorded('leave'),
    // The API server may be out for longer than a lease lasts.
    'due, receipt not written': whateverIsRecorded('renew'),
    lost: whateverIsRecorded('note-lost-lease'),
    'lost, and noted': whateverIsRecorded('leave'),
    gone: whateverIsRecorded('leave'),
    expired: whateverIsRecorded('leave'),
  },
  complete: whateverTheLease({
    nothing: 'settle: record delete webhook close',
    outcome: 'settle: delete webhook close',
    'outcome and poison copy': 'settle: delete webhook close',
    'webhook owed later': 'leave',
    'webhook owed now': 'settle: webhook close',
  }),
  failed: whateverTheLease({
    nothing: 'settle: record poison delete webhook close',
    outcome: 'settle: poison delete webhook close',
    'outcome and poison copy': 'settle: delete webhook close',
    'webhook owed later': 'leave',
    'webhook owed now': 'settle: webhook close',
  }),
  settled: { ...whateverTheLease(whateverIsRecorded('leave')), lost: whateverIsRecorded('leave') },
};

function whateverIsRecorded(expected: Expected): Record<Recorded, Expected> {
  return {
    nothing: expected,
    outcome: expected,
    'outcome and poison copy': expected,
    'webhook owed later': expected,
    'webhook owed now': expected,
  };
}

function whateverTheLease(expected: Record<Recorded, Expected>): Record<LeaseCondition, Record<Recorded, Expected>> {
  return {
    fresh: expected,
    due: expected,
    'receipt not written': expected,
    'receipt of another on the Job': expected,
    'due, receipt not written': expected,
    lost: { ...expected, nothing: 'note-lost-lease' },
    'lost, and noted': expected,
    gone: expected,
    expired: expected,
  };
}

const PHASES: Record<JobPhase, Partial<JobRecord>> = {
  running: {},
  suspended: { suspended: true },
  complete: { end: COMPLETE },
  failed: { end: FAILED },
  settled: { end: COMPLETE, settled: true, ttlSeconds: 60 },
};

const POD_OF: Record<JobPhase, Behaviour> = {
  running: 'running',
  suspended: 'running',
  complete: 'completed-owed',
  failed: 'failed',
  settled: 'completed-owed',
};

const LEASES: Record<LeaseCondition, Partial<LeaseView> & { readonly expiresOn?: number; readonly noted?: boolean }> = {
  fresh: { renewAt: NOW + 30_000 },
  due: { renewAt: NOW },
  'receipt not written': { popReceipt: 'receipt-2', isWritten: false, renewAt: NOW + 30_000 },
  'receipt of another on the Job': { popReceipt: 'receipt-2', renewAt: NOW + 30_000 },
  'due, receipt not written': { popReceipt: 'receipt-2', isWritten: false, renewAt: NOW },
  lost: { condition: 'lost', renewAt: NOW },
  'lost, and noted': { condition: 'lost', renewAt: NOW, noted: true },
  gone: { condition: 'gone', renewAt: NOW },
  expired: { expiresOn: NOW, renewAt: NOW },
};

function annotationsOf(recorded: Recorded, phase: JobPhase): Record<string, string> {
  if (recorded === 'nothing') return {};
  const end = PHASES[phase].end ?? COMPLETE;
  const job = testJob({ annotations: { [ANNOTATION.webhookUrl]: WEBHOOK_URL } });
  const outcome = { [ANNOTATION.outcome]: JSON.stringify(outcomeOf(job, end, [])) };
  const owed = (nextAt: number) =>
    webhookStateAnnotation({ kind: 'owed', tries: 1, nextAt, detail: '503', removal: 'deleted' });
  switch (recorded) {
    case 'outcome':
      return outcome;
    case 'outcome and poison copy':
      return { ...outcome, [ANNOTATION.poisoned]: iso(NOW) };
    case 'webhook owed later':
      return { ...outcome, ...owed(NOW + 5000) };
    case 'webhook owed now':
      return { ...outcome, ...owed(NOW) };
  }
}

function picture(phase: JobPhase, lease: LeaseCondition, recorded: Recorded): Picture {
  const { expiresOn = NOW + 3_600_000, noted = false, ...view } = LEASES[lease];
  return {
    job: testJob({
      ...PHASES[phase],
      annotations: {
        [ANNOTATION.webhookUrl]: WEBHOOK_URL,
        [ANNOTATION.expiresOn]: iso(expiresOn),
        ...(noted ? { [ANNOTATION.leaseLost]: iso(NOW) } : {}),
        ...annotationsOf(recorded, phase),
      },
    }),
    pods: [testPod(POD_OF[phase])],
    lease: { condition: 'held', popReceipt: 'receipt-1', isWritten: true, renewAt: NOW + 30_000, ...view },
    endAgeMs: 0,
    now: NOW,
    viewKnown: true,
  };
}

function inWords(decision: Decision): string {
  return decision.kind === 'settle' ? `settle: ${decision.steps.join(' ')}` : decision.kind;
}

function keysOf<K extends string>(record: Record<K, unknown>): K[] {
  return Object.keys(record) as K[];
}

const CELLS = keysOf(TABLE).flatMap((phase) =>
  keysOf(TABLE[phase]).flatMap((lease) =>
    keysOf(TABLE[phase][lease]).map((recorded) => [phase, lease, recorded, TABLE[phase][lease][recorded]] as const),
  ),
);

describe('decide, by phase of the Job, condition of the lease and what is recorded', () => {
  test.each(CELLS)('I3: %s, %s, %s → %s', (phase, lease, recorded, expected) => {
    expect(inWords(decide(picture(phase, lease, recorded)))).toBe(expected);
  });

  test('a task whose runner has reported needs the delete and one write', () => {
    const base = picture('complete', 'fresh', 'nothing');
    expect(inWords(decide({ ...base, pods: [testPod('completed-delivered')] }))).toBe('settle: delete close');
    expect(inWords(decide({ ...base, job: testJob({ end: COMPLETE }) }))).toBe('settle: delete close');
  });

  test('a failure without a webhook is recorded all the same: the evidence goes with the pods', () => {
    const job = testJob({ end: FAILED });
    expect(inWords(decide({ ...picture('failed', 'fresh', 'nothing'), job }))).toBe(
      'settle: record poison delete close',
    );
  });
});

describe('when it looks again', () => {
  const again = (changed: Partial<Picture>, base: Picture) => {
    const decision = decide({ ...base, ...changed });
    return decision.kind === 'leave' ? decision.lookAgainMs : inWords(decision);
  };

  test('at a running Job when its lease is due', () => {
    expect(again({}, picture('running', 'fresh', 'nothing'))).toBe(30_000);
    expect(again({}, picture('running', 'lost, and noted', 'nothing'))).toBeUndefined();
    expect(again({}, picture('running', 'expired', 'nothing'))).toBeUndefined();
  });

  test('at an owed webhook when its next try is due', () => {
    expect(again({}, picture('failed', 'fresh', 'webhook owed later'))).toBe(5000);
  });

  test('never at a settled one', () => {
    expect(again({}, picture('settled', 'due', 'nothing'))).toBeUndefined();
  });
});

describe('the last words of a Job’s pods, which come by another watch', () => {
  const decideWith = (pods: Picture['pods'], endAgeMs: number, phase: 'complete' | 'failed') =>
    inWords(decide({ ...picture(phase, 'fresh', 'nothing'), pods, endAgeMs }));

  test.each([
    ['a complete Job without its pod', [], 'complete'],
    ['a complete Job whose pod still runs', [testPod('running')], 'complete'],
    ['a complete Job of which only failures are seen', [testPod('failed')], 'complete'],
    ['a failed Job without a pod', [], 'failed'],
    ['a failed Job whose last pod still runs', [testPod('failed', 1), testPod('running', 2)], 'failed'],
  ] as const)('are waited for, but not for ever: %s', (_, pods, phase) => {
    expect(decideWith(pods, 0, phase)).toBe('leave');
    expect(decideWith(pods, LAST_WORDS_MS - 1, phase)).toBe('leave');
    expect(decideWith(pods, LAST_WORDS_MS, phase)).toMatch(/^settle: record /);
  });

  test('are not waited for when it was ended while suspended: it has no pod that could speak', () => {
    const { job, ...rest } = picture('failed', 'fresh', 'nothing');
    expect(inWords(decide({ ...rest, job: { ...job, parallelism: 0 }, pods: [], endAgeMs: 0 }))).toMatch(
      /^settle: record /,
    );
    expect(inWords(decide({ ...rest, job: { ...job, parallelism: 0 }, pods: [testPod('running')], endAgeMs: 0 }))).toBe(
      'leave',
    );
  });

  test('are not waited for when the outcome is recorded', () => {
    expect(inWords(decide({ ...picture('failed', 'fresh', 'outcome'), pods: [] }))).toMatch(/^settle: /);
  });
});

const KINDS: readonly Decision['kind'][] = [
  'leave',
  'renew',
  'write-receipt',
  'note-lost-lease',
  'note',
  'inquire',
  'end',
  'use-attempt',
  'retry',
  'settle',
];

describe('whatever the picture', () => {
  const pictures: fc.Arbitrary<Picture> = fc
    .record({
      phase: fc.constantFrom(...keysOf(TABLE)),
      lease: fc.constantFrom(...keysOf(LEASES)),
      recorded: fc.constantFrom(...keysOf(TABLE.running.fresh)),
      pods: fc.array(fc.constantFrom(...behaviours), { maxLength: 4 }),
      endAgeMs: fc.nat(20_000),
      viewKnown: fc.boolean(),
      webhookUrl: fc.boolean(),
      damaged: fc.option(fc.constantFrom(ANNOTATION.outcome, ANNOTATION.webhookState, ANNOTATION.expiresOn), {
        nil: undefined,
      }),
    })
    .map(({ phase, lease, recorded, pods, endAgeMs, viewKnown, webhookUrl, damaged }) => {
      const base = picture(phase, lease, recorded);
      const { [ANNOTATION.webhookUrl]: url = '', ...others } = base.job.annotations;
      const annotations: Record<string, string> = { ...others };
      if (webhookUrl) annotations[ANNOTATION.webhookUrl] = url;
      if (damaged !== undefined) annotations[damaged] = '{"kind":';
      const job = { ...base.job, annotations };
      return { ...base, job, endAgeMs, viewKnown, pods: pods.map((behaviour, at) => testPod(behaviour, at)) };
    });

  const holds = (check: (picture: Picture, decision: Decision) => void) =>
    fc.assert(
      fc.property(pictures, (any) => check(any, decide(any))),
      { numRuns: 1000 },
    );

  test('it decides, and the same each time', () => {
    holds((any, decision) => {
      expect(KINDS).toContain(decision.kind);
      expect(decide(any)).toEqual(decision);
    });
  });

  test('I2: the message is deleted only when the Job has ended, and after the poison copy where it failed', () => {
    holds((any, decision) => {
      if (decision.kind !== 'settle' || !decision.steps.includes('delete')) return;
      expect(any.job.end).toBeDefined();
      const poisoned = any.job.annotations[ANNOTATION.poisoned] !== undefined;
      if (decision.outcome.status === 'failed' && !poisoned)
        expect(decision.steps.indexOf('poison')).toBeLessThan(decision.steps.indexOf('delete'));
      if (decision.outcome.status === 'failed') expect(poisoned || decision.steps.includes('poison')).toBe(true);
    });
  });

  test('I3: steps are in their order, closing is the last, and nothing that is due is left out', () => {
    holds((any, decision) => {
      if (decision.kind !== 'settle') return;
      expect(decision.steps).toEqual(SETTLE_STEPS.filter((step) => decision.steps.includes(step)));
      expect(decision.steps.at(-1)).toBe('close');
      const owed = any.job.annotations[ANNOTATION.webhookState]?.includes('"owed"') ?? false;
      if (!owed) expect(decision.steps).toContain('delete');
      if (decision.outcome.webhookDue) expect(decision.steps).toContain('webhook');
      if (decision.outcome.webhookDue || decision.outcome.status === 'failed')
        expect(decision.steps.includes('record') || any.job.annotations[ANNOTATION.outcome] !== undefined).toBe(true);
    });
  });

  test('I5: on an unknown view nothing is settled', () => {
    holds((any, decision) => {
      if (!any.viewKnown) expect(decision.kind).not.toBe('settle');
    });
  });

  test('I4: nothing is closed, and so given a time to live, but an ended Job that is not settled', () => {
    holds((any, decision) => {
      if (decision.kind === 'settle') expect([any.job.end === undefined, any.job.settled]).toEqual([false, false]);
    });
  });
});
