import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { ANNOTATION, LABEL, STATE } from '../contract/identity.ts';
import { attemptsAnnotation, endingPatch, noteAnnotation } from '../operator/jobs/notes.ts';
import type { JobRecord } from '../operator/jobs/records.ts';
import { webhookStateAnnotation } from '../operator/settle/webhook-state.ts';
import { COMPLETE, FAILED, testJob, testPod } from '../testing/jobs.ts';
import { EPOCH } from '../testing/virtual-clock.ts';
import type { Task } from './jobs.ts';
import { attemptOf, ranFrom, shortWhy, type TaskState, taskJson, taskState } from './task-state.ts';

const held = { suspended: true, annotations: { [ANNOTATION.suspendedBy]: 'slipway' } };
const settled = { settled: true, labels: { [LABEL.state]: STATE.settled } };
const owed = webhookStateAnnotation({ kind: 'owed', tries: 2, nextAt: EPOCH, detail: 'HTTP 500', removal: 'deleted' });
const givenUp = webhookStateAnnotation({ kind: 'given-up', tries: 9, detail: 'HTTP 410' });
const cancel = { [ANNOTATION.cancel]: 'ordered twice' };
const quota = noteAnnotation(diagnose('QuotaExceeded', 'exceeded quota'), EPOCH, true);

const job = (changes: Partial<JobRecord> = {}) => testJob(changes);
const stuck = testPod('image-missing');
const used = job({ annotations: attemptsAnnotation(job(), stuck, EPOCH) });
const ended = (changes: Partial<JobRecord> = {}) =>
  job({
    ...changes,
    deadlineSeconds: 1,
    annotations: { ...cancel, ...endingPatch(job(), diagnose('Cancelled', 'x'), undefined, EPOCH).annotations },
  });
const deadline = { ...FAILED, reason: 'DeadlineExceeded' };

const CASES: readonly (readonly [what: string, task: Task, state: TaskState, attempt: number, why: string])[] = [
  ['made, no pod yet', { job: job(), pods: [] }, 'starting', 0, ''],
  ['held back by Slipway', { job: job(held), pods: [] }, 'waiting', 0, 'its type has no room'],
  ['suspended by somebody else', { job: job({ suspended: true }), pods: [] }, 'waiting', 0, 'suspended'],
  [
    'held back, to be cancelled',
    { job: job({ ...held, annotations: { ...held.annotations, ...cancel } }), pods: [] },
    'waiting',
    0,
    'cancel asked for',
  ],
  ['no pod may be made', { job: job({ annotations: quota }), pods: [] }, 'waiting', 0, 'QuotaExceeded'],
  ['no node', { job: job(), pods: [testPod('unschedulable')] }, 'waiting', 1, ''],
  ['image does not come', { job: job(), pods: [stuck] }, 'starting', 1, ''],
  ['running', { job: job(), pods: [testPod('running')] }, 'running', 1, ''],
  [
    'running, to be cancelled',
    { job: job({ annotations: cancel }), pods: [testPod('running')] },
    'running',
    1,
    'cancel asked for',
  ],
  [
    'its Job deleted',
    { job: job({ deleting: true }), pods: [testPod('running')] },
    'running',
    1,
    'its Job is being deleted',
  ],
  ['between two attempts', { job: job(), pods: [testPod('failed')] }, 'retrying', 1, ''],
  ['an attempt used up by deleting its pod', { job: used, pods: [] }, 'retrying', 1, ''],
  ['the second attempt', { job: job(), pods: [testPod('failed'), testPod('running', 2)] }, 'running', 2, ''],
  ['taken away, which counts for nothing', { job: job(), pods: [testPod('evicted')] }, 'starting', 0, ''],
  ['the last attempt failed', { job: job({ attempts: 1 }), pods: [testPod('failed')] }, 'settling', 1, ''],
  ['done, its Job not yet', { job: job(), pods: [testPod('completed-owed')] }, 'settling', 1, ''],
  ['being ended', { job: ended(), pods: [] }, 'settling', 0, 'Cancelled'],
  ['completed, not settled', { job: job({ end: COMPLETE }), pods: [testPod('completed-owed')] }, 'settling', 1, ''],
  [
    'failed, its webhook owed',
    { job: job({ end: FAILED, annotations: owed }), pods: [testPod('failed')] },
    'settling',
    1,
    'TaskFailed, webhook owed',
  ],
  ['completed', { job: job({ ...settled, end: COMPLETE }), pods: [] }, 'completed', 1, ''],
  [
    'completed, with failing tests',
    {
      job: job({
        ...settled,
        end: { ...FAILED, reason: 'PodFailurePolicy' },
        annotations: { [ANNOTATION.ciImage]: 'registry.example.com/ci/acme/app:job' },
      }),
      pods: [testPod('failed-foreign')],
    },
    'completed',
    1,
    'tests failed',
  ],
  ['failed', { job: job({ ...settled, end: FAILED }), pods: [testPod('oom')] }, 'failed', 1, 'OutOfMemory'],
  [
    'failed, its webhook given up',
    { job: job({ ...settled, end: FAILED, annotations: givenUp }), pods: [testPod('failed')] },
    'failed',
    1,
    'TaskFailed, webhook given up',
  ],
  ['cancelled', { job: ended({ ...settled, end: deadline }), pods: [] }, 'cancelled', 0, 'Cancelled'],
];

test.each(CASES)('%s', (_what, task, state, attempt, why) => {
  expect({ state: taskState(task), attempt: attemptOf(task), why: shortWhy(task) }).toEqual({ state, attempt, why });
});

describe('JSON', () => {
  test('times are ISO 8601, what is not known is null', () => {
    const waiting = taskJson({ job: testJob({ ...held, labels: { [LABEL.taskId]: 't-1' } }), pods: [] });
    expect(waiting).toEqual({
      task: 't-1',
      client: 'acme',
      type: 'echo',
      state: 'waiting',
      attempt: 0,
      attempts: 3,
      createdAt: '2026-01-01T00:00:00.000Z',
      startedAt: null,
      finishedAt: null,
      job: 'acme-echo-abcdefghijkl',
      why: 'its type has no room',
      diagnosis: null,
    });
    expect(taskJson({ job: testJob({ end: FAILED }), pods: [testPod('failed')] })).toMatchObject({
      startedAt: '2026-01-01T00:00:00.000Z',
      finishedAt: '2026-01-01T00:00:00.000Z',
      diagnosis: { category: 'TaskFailed', message: 'the handler threw' },
    });
  });

  test('a task has run from its first container on, not from its Job', () => {
    expect(ranFrom({ job: testJob(), pods: [stuck] })).toBeUndefined();
    expect(ranFrom({ job: testJob({ startedAt: EPOCH - 9000 }), pods: [testPod('running')] })).toBe(EPOCH);
  });
});
