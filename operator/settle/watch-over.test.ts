import { describe, expect, test } from 'vitest';
import { type Category, diagnose } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { FAILED, testJob, testPod } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import { endingPatch, noteAnnotation } from '../jobs/notes.ts';
import { outcomeOf } from '../jobs/outcome.ts';
import type { JobRecord, PodRecord } from '../jobs/records.ts';
import { type Decision, decide, type Picture } from './decide.ts';

const HOUR = 3_600_000;
const held = {
  condition: 'held',
  popReceipt: 'receipt-1',
  isWritten: true,
  renewAt: Number.POSITIVE_INFINITY,
} as const;

function decided(
  now: number,
  changes: Partial<JobRecord>,
  pods: readonly PodRecord[],
  more: Partial<Picture> = {},
): Decision {
  return decide({ job: testJob(changes), pods, lease: held, endAgeMs: 0, now: EPOCH + now, viewKnown: true, ...more });
}

const noted = (category: Category, noPod = false) => ({
  annotations: noteAnnotation(diagnose(category, 'seen earlier'), EPOCH, noPod),
});

describe('a pod that does not start', () => {
  const pod = testPod('image-missing', 0);

  test('I3: is noted on the Job while it can be seen, once for each kind of trouble', () => {
    expect(decided(0, {}, [pod])).toMatchObject({ kind: 'note', diagnosis: { category: 'ImagePull' } });
    expect(decided(0, noted('ImagePull'), [pod])).toEqual({ kind: 'leave', lookAgainMs: 600_000 });
    expect(decided(0, noted('ContainerConfig'), [pod])).toMatchObject({
      kind: 'note',
      diagnosis: { category: 'ImagePull' },
    });
  });

  test('is taken away when its time is over, and only then', () => {
    expect(decided(599_999, noted('ImagePull'), [pod])).toEqual({ kind: 'leave', lookAgainMs: 1 });
    expect(decided(600_000, noted('ImagePull'), [pod])).toMatchObject({ kind: 'use-attempt', pod: { name: pod.name } });
    expect(decided(600_000, {}, [pod])).toMatchObject({ kind: 'use-attempt', diagnosis: { category: 'ImagePull' } });
  });

  test('is left alone while it is being deleted, and when a newer one is there', () => {
    expect(decided(600_000, {}, [{ ...pod, deletedBy: EPOCH + 600_000 }])).toMatchObject({ kind: 'leave' });
    expect(decided(600_000, {}, [pod, testPod('running', 1)])).toEqual({
      kind: 'leave',
      lookAgainMs: Number.POSITIVE_INFINITY,
    });
  });

  test('ends the Job at once where no attempt can mend it', () => {
    expect(decided(0, {}, [testPod('image-name-invalid')])).toMatchObject({
      kind: 'end',
      diagnosis: { category: 'InvalidImage' },
    });
    expect(decided(0, {}, [testPod('root-refused')])).toMatchObject({
      kind: 'end',
      diagnosis: { category: 'ContainerConfig' },
    });
  });

  test('waits an hour for a node, then ends', () => {
    const unschedulable = [testPod('unschedulable', 0)];
    expect(decided(0, {}, unschedulable)).toMatchObject({ kind: 'note', diagnosis: { category: 'Unschedulable' } });
    expect(decided(HOUR - 1, noted('Unschedulable'), unschedulable)).toEqual({ kind: 'leave', lookAgainMs: 1 });
    expect(decided(HOUR, noted('Unschedulable'), unschedulable)).toMatchObject({
      kind: 'end',
      diagnosis: { category: 'Unschedulable' },
    });
  });

  test('the note goes when the pod runs after all, but not at once: two operators would write against each other', () => {
    expect(decided(0, noted('ImagePull'), [testPod('running')])).toEqual({ kind: 'leave', lookAgainMs: 30_000 });
    expect(decided(30_000, noted('ImagePull'), [testPod('running')])).toEqual({ kind: 'note', diagnosis: undefined });
    expect(decided(0, {}, [testPod('running')])).toMatchObject({ kind: 'leave' });
  });

  test('I5: on an unknown view nothing is noted, ended or taken away', () => {
    for (const pods of [[pod], [testPod('root-refused')], []])
      expect(decided(2 * HOUR, {}, pods, { viewKnown: false })).toMatchObject({ kind: 'leave' });
  });

  test('the lease comes first', () => {
    const due = { lease: { ...held, renewAt: EPOCH } };
    expect(decided(600_000, {}, [pod], due)).toEqual({ kind: 'renew' });
  });
});

describe('a Job without a pod', () => {
  test('is given half a minute; then Kubernetes is asked', () => {
    expect(decided(29_999, {}, [])).toEqual({ kind: 'leave', lookAgainMs: 1 });
    expect(decided(30_000, {}, [])).toEqual({ kind: 'inquire' });
  });

  test('waits its time for a quota, then ends as what it waited for', () => {
    expect(decided(HOUR - 1, noted('QuotaExceeded', true), [])).toEqual({ kind: 'leave', lookAgainMs: 1 });
    expect(decided(HOUR, noted('QuotaExceeded', true), [])).toMatchObject({
      kind: 'end',
      diagnosis: { category: 'QuotaExceeded', message: 'seen earlier' },
    });
  });

  test('has only its next attempt before it when the last pod has ended, for as long as a back-off may take', () => {
    const failed = [testPod('failed', 0)];
    expect(decided(629_999, {}, failed)).toEqual({ kind: 'leave', lookAgainMs: 1 });
    expect(decided(630_000, {}, failed)).toEqual({ kind: 'inquire' });
  });

  test('that is suspended or not yet picked up waits, whoever holds it back', () => {
    expect(decided(2 * HOUR, { suspended: true }, [])).toMatchObject({ kind: 'leave' });
    expect(decided(2 * HOUR, { startedAt: undefined }, [])).toMatchObject({ kind: 'leave' });
    expect(decided(2 * HOUR, { parallelism: 0 }, [])).toMatchObject({ kind: 'leave' });
    expect(decided(0, { suspended: true }, [], { lease: { ...held, renewAt: EPOCH } })).toEqual({ kind: 'renew' });
  });
});

describe('cancelling', () => {
  const cancel = (reason: string) => ({ annotations: { [ANNOTATION.cancel]: reason } });

  test('ends a Job whether it runs, waits or is suspended', () => {
    for (const changes of [{}, { suspended: true }, { startedAt: undefined }])
      expect(decided(0, { ...changes, ...cancel('by mistake') }, [])).toMatchObject({
        kind: 'end',
        diagnosis: { category: 'Cancelled', message: 'the task was cancelled: by mistake' },
      });
    expect(decided(0, cancel('true'), [])).toMatchObject({ diagnosis: { message: 'the task was cancelled' } });
  });

  test('a Job that is being ended is not ended again', () => {
    expect(decided(0, { ...cancel(''), deadlineSeconds: 1 }, [testPod('running')])).toEqual({
      kind: 'leave',
      lookAgainMs: Number.POSITIVE_INFINITY,
    });
  });

  test('a suspended Job is resumed without a pod, since a deadline alone does nothing to it', () => {
    const diagnosis = diagnose('Cancelled', 'x');
    expect(endingPatch(testJob({ suspended: true }), diagnosis, undefined, EPOCH)).toMatchObject({
      suspend: false,
      parallelism: 0,
      activeDeadlineSeconds: 1,
    });
    expect(endingPatch(testJob(), diagnosis, undefined, EPOCH)).not.toHaveProperty('suspend');
  });
});

describe('the outcome of a Job that the operator has ended', () => {
  const ended = { ...FAILED, reason: 'DeadlineExceeded' };

  test('is what was noted when it was ended, whatever its pods say', () => {
    for (const category of ['Cancelled', 'Unschedulable', 'InvalidImage'] as const) {
      const job = testJob({ deadlineSeconds: 1, ...noted(category) });
      for (const pods of [[], [testPod('deadline')], [testPod('failed')]])
        expect(outcomeOf(job, ended, pods).diagnosis).toMatchObject({ category, message: 'seen earlier' });
    }
    expect(outcomeOf(testJob({ deadlineSeconds: 1, ...noted('Cancelled') }), ended, []).status).toBe('cancelled');
  });

  test('I8: a cancelled task is reported, also one of an image that reports for itself when it exits 0', () => {
    for (const [mode, due] of [
      ['exit-0', true],
      ['runner', true],
      ['operator', true],
      ['none', false],
    ] as const) {
      const { annotations } = noted('Cancelled');
      const told = { ...annotations, [ANNOTATION.webhookMode]: mode, [ANNOTATION.webhookUrl]: 'https://b.example' };
      expect(outcomeOf(testJob({ deadlineSeconds: 1, annotations: told }), ended, []).webhookDue, mode).toBe(due);
    }
  });

  test('I7: a task that was done before it could be cancelled is completed', () => {
    const job = testJob({ deadlineSeconds: 1, ...noted('Cancelled') });
    const complete = { ...FAILED, kind: 'complete' as const };
    expect(outcomeOf(job, complete, [testPod('completed-owed')]).status).toBe('completed');
  });

  test('a note explains an end before which nothing ran, and no other', () => {
    const job = testJob(noted('ImagePull'));
    for (const end of [ended, FAILED])
      expect(outcomeOf(job, end, []).diagnosis).toMatchObject({ category: 'ImagePull', message: 'seen earlier' });
    expect(outcomeOf(job, FAILED, [testPod('deadline')]).diagnosis.category).toBe('TaskTimedOut');
    expect(outcomeOf(job, FAILED, [testPod('failed')]).diagnosis.category).toBe('TaskFailed');
  });

  test('counts the attempts whose pods were deleted, each once', () => {
    const attempts = [
      { pod: 'acme-echo-abcdefghijkl-1', finishedAt: '2026-01-01T00:10:00.000Z', reason: 'ImagePullBackOff' },
      { pod: 'gone', finishedAt: '2026-01-01T00:20:00.000Z', reason: 'ImagePullBackOff' },
    ];
    const job = testJob({ annotations: { [ANNOTATION.attempts]: JSON.stringify(attempts) } });
    expect(outcomeOf(job, FAILED, [testPod('deadline', 1)]).attempts).toEqual([
      { finishedAt: '2026-01-01T00:10:00.000Z', exitCode: null, reason: 'ImagePullBackOff' },
      { finishedAt: '2026-01-01T00:20:00.000Z', exitCode: null, reason: 'ImagePullBackOff' },
    ]);
  });
});

describe('the stages of a CI task', () => {
  const limit = { annotations: { [ANNOTATION.testTimeout]: '600', [ANNOTATION.buildTimeout]: '60' } };
  const running = testPod('running', 0);
  const startedAt = running.task?.kind === 'running' ? (running.task.startedAt ?? 0) - EPOCH : Number.NaN;

  const waiting = { kind: 'waiting', reason: 'PodInitializing', message: '' } as const;
  const end = { exitCode: 0, reason: 'Completed', message: '', startedAt: 1, finishedAt: 2 };

  test('clone and build are ended together when they have taken as long as they may', () => {
    const building: PodRecord = { ...running, task: waiting, ci: { begunAt: EPOCH + 5000, clone: end } };
    expect(decided(64_000, limit, [building])).toEqual({ kind: 'leave', lookAgainMs: 1000 });
    expect(decided(65_000, limit, [building])).toMatchObject({ kind: 'expire', pod: { name: running.name } });
    // The image that was built is being pulled.
    expect(decided(65_000, limit, [{ ...building, ci: { ...building.ci, build: end } }]).kind).toBe('leave');
    expect(decided(65_000, limit, [{ ...building, deletedBy: EPOCH + 66_000 }]).kind).toBe('leave');
  });

  test('the tests, when they have run for as long as they may, and only then', () => {
    expect(decided(startedAt + 599_000, limit, [running])).toEqual({ kind: 'leave', lookAgainMs: 1000 });
    expect(decided(startedAt + 600_000, limit, [running])).toMatchObject({
      kind: 'expire',
      pod: { name: running.name },
    });
  });

  test('between two attempts nobody is asked why there is no pod, until the longest back-off after the last stage', () => {
    const built = { ...end, finishedAt: EPOCH + 900_000 };
    const failed: PodRecord = {
      ...testPod('failed', 0),
      task: undefined,
      ci: { begunAt: EPOCH, clone: end, build: built },
    };
    expect(decided(901_000, limit, [failed])).toEqual({ kind: 'leave', lookAgainMs: 629_000 });
  });

  test('nothing is ended while none runs, while their pod goes, and on hearsay', () => {
    const late = startedAt + 700_000;
    const cloning: PodRecord = { ...running, task: waiting };
    expect(decided(late, limit, [cloning]).kind).toBe('leave');
    expect(decided(late, limit, [{ ...running, deletedBy: EPOCH + late + 1 }]).kind).toBe('leave');
    expect(decided(late, limit, [running], { viewKnown: false }).kind).toBe('leave');
    expect(decided(late, {}, [running]).kind).toBe('leave');
  });
});
