import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import { iso } from '../lib/clock.ts';
import { attemptsAnnotation, noteAnnotation } from '../operator/jobs/notes.ts';
import type { JobRecord, PodRecord } from '../operator/jobs/records.ts';
import { webhookStateAnnotation } from '../operator/settle/webhook-state.ts';
import { COMPLETE, FAILED, testJob, testPod, WEBHOOK_URL } from '../testing/jobs.ts';
import { EPOCH } from '../testing/virtual-clock.ts';
import { storyOf } from './story.ts';

const NOW = EPOCH + 30_000;
const story = (changes: Partial<JobRecord> = {}, pods: readonly PodRecord[] = [], now = NOW) =>
  storyOf({ job: testJob({ ...changes, labels: { [LABEL.taskId]: 't-1' } }), pods }, 'slipway', now);
const whats = (of: ReturnType<typeof story>) => of.events.map(({ what }) => what);
const held = { suspended: true, annotations: { [ANNOTATION.suspendedBy]: 'slipway' } };
const hook = { [ANNOTATION.webhookUrl]: `${WEBHOOK_URL}?token=secret` };

describe('what it waits for', () => {
  test.each<[what: string, told: RegExp | null, changes: Partial<JobRecord>, pods: readonly PodRecord[]]>([
    ['held back', /^room: its type has none/, held, []],
    ['suspended by others', /^whoever suspended it, which was not Slipway/, { suspended: true }, []],
    ['to be cancelled', /^an operator to cancel it/, { annotations: { [ANNOTATION.cancel]: '' } }, []],
    ['deleted', /^its Job to be gone/, { deleting: true }, [testPod('running')]],
    ['no pod', /^Kubernetes to make its pod$/, {}, []],
    ['no node', /^a node that has room/, {}, [testPod('unschedulable')]],
    ['no image', /^its container to start, which is tried again: ErrImagePull$/, {}, [testPod('image-missing')]],
    [
      'running',
      /^its task to end; Kubernetes ends its Job at 2026-01-01T05:00:00Z \(in 4h59m\)/,
      {},
      [testPod('running')],
    ],
    ['between attempts', /^its next attempt/, {}, [testPod('failed')]],
    ['ended', /^an operator to settle it/, { end: COMPLETE }, [testPod('completed-owed')]],
    ['settled', null, { end: COMPLETE, settled: true }, []],
  ])('%s', (_what, told, changes, pods) => {
    const { waitsFor } = story(changes, pods);
    if (told === null) expect(waitsFor).toBeNull();
    else expect(waitsFor).toMatch(told);
  });
});

describe('what happened', () => {
  test('from queue to record, in order, with each attempt', () => {
    const settledAt = EPOCH + 20_000;
    const told = story(
      {
        end: { ...FAILED, at: EPOCH + 10_000 },
        settled: true,
        ttlSeconds: 3600,
        annotations: {
          [ANNOTATION.insertedOn]: iso(EPOCH - 5000),
          [ANNOTATION.poisoned]: iso(EPOCH + 15_000),
          [ANNOTATION.settled]: iso(settledAt),
        },
      },
      [testPod('failed'), testPod('oom', 2)],
    );
    expect(told).toMatchObject({ state: 'failed', attempt: 2, diagnosis: { category: 'OutOfMemory' } });
    expect(whats(told)).toEqual([
      expect.stringMatching(/^put into acme-tasks as message 3f0b7a52/),
      'received, and its Job made',
      expect.stringMatching(/^attempt 1 started: pod /),
      'attempt 1 ended: exit code 1, Error: the handler threw',
      expect.stringMatching(/^attempt 2 started: pod /),
      expect.stringMatching(/^attempt 2 ended: exit code 137, OOMKilled/),
      'failed (Kubernetes: BackoffLimitExceeded)',
      expect.stringMatching(/^copied into acme-tasks-poison: slipway poison show acme-tasks 3f0b7a52/),
      'settled: its message is deleted, nothing more is due',
      'Kubernetes will remove this record',
    ]);
    expect(told.events.at(-1)?.at).toBe(iso(EPOCH + 10_000 + 3_600_000));
    const times = told.events.flatMap(({ at }) => at ?? []);
    expect(times).toEqual(times.toSorted());
  });

  test('an attempt whose pod was deleted, and one that the cluster took away', () => {
    const removed = testPod('image-missing');
    const annotations = attemptsAnnotation(testJob(), removed, EPOCH + 500);
    expect(whats(story({ annotations }, [testPod('evicted', 2), testPod('running', 3)]))).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^attempt 1 used up: pod \S+ did not start \(ErrImagePull\) and was deleted$/),
        expect.stringMatching(/^attempt 2 ended: .*; it was taken away by the cluster, which does not count$/),
        expect.stringMatching(/^attempt 2 started: /),
      ]),
    );
  });

  test('a held task is released when it is resumed, and not when it is resumed for its end alone', () => {
    const startedAt = EPOCH + 8000;
    expect(whats(story({ startedAt }))).toContain('released: until then it was suspended');
    const annotations = {
      [ANNOTATION.cancel]: 'ordered twice',
      ...noteAnnotation(diagnose('Cancelled', 'the task was cancelled: ordered twice'), startedAt),
    };
    const cancelled = whats(story({ startedAt, parallelism: 0, deadlineSeconds: 1, annotations }));
    expect(cancelled).toContain('cancelling was asked for: ordered twice; the operator ended its Job');
    expect(cancelled.join()).not.toContain('released');
  });
});

describe('its webhook', () => {
  const state = (annotations: Readonly<Record<string, string>>, changes: Partial<JobRecord> = {}) =>
    story({ ...changes, annotations: { ...hook, ...annotations } }, [testPod('failed')]).webhook;
  const tried = (kind: 'delivered' | 'given-up' | 'owed') =>
    webhookStateAnnotation({ kind, tries: 2, nextAt: NOW + 60_000, detail: 'HTTP 500', removal: 'deleted' } as never);

  test('none, before and after the end, tried, and the task’s own', () => {
    expect(story().webhook.state).toBe('none');
    expect(state({}).state).toBe('not-yet');
    expect(state({}, { end: FAILED }).state).toBe('due');
    expect(state(tried('owed'), { end: FAILED })).toMatchObject({
      state: 'owed',
      text: `owed to ${WEBHOOK_URL}: 2 tries have failed (HTTP 500)`,
      tries: 2,
      nextAt: iso(NOW + 60_000),
    });
    expect(state(tried('delivered'), { end: FAILED })).toMatchObject({ state: 'delivered', nextAt: null });
    expect(state(tried('given-up'), { end: FAILED })).toMatchObject({ state: 'given-up', tries: 2 });
    expect(state({ [ANNOTATION.webhookMode]: 'none' }).state).toBe('by-the-task');
  });

  test('what may be a secret in its URL is not shown', () => {
    for (const one of [state({}), state({}, { end: FAILED }), state(tried('owed'), { end: FAILED })])
      expect(one.text).not.toContain('secret');
  });
});

test('its lease: held, run out, lost, over', () => {
  expect(story().lease).toMatchObject({ state: 'held', until: iso(EPOCH + 60_000) });
  expect(story({}, [], EPOCH + 61_000).lease).toMatchObject({
    state: 'ran-out',
    text: expect.stringContaining('no operator has renewed it'),
  });
  expect(story({ annotations: { [ANNOTATION.leaseLost]: iso(EPOCH) } }).lease.state).toBe('lost');
  expect(story({ end: COMPLETE, settled: true }).lease.state).toBe('over');
});
