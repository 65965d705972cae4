/** How a CI task ended: by its Job, its pod and the containers of it. */
import { describe, expect, test } from 'vitest';
import { diagnose } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { testJob, testPod } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import type { CiEnds, ContainerEnd } from '../ci/verdict.ts';
import { noteAnnotation } from './notes.ts';
import { outcomeOf } from './outcome.ts';
import type { JobEnd, PodRecord } from './records.ts';

const IMAGE = 'registry.example.com/ci/acme/app:job';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const COMPLETE: JobEnd = { kind: 'complete', at: EPOCH + 60_000, reason: '', message: '' };
const failedBy = (reason: string, message = ''): JobEnd => ({ kind: 'failed', at: EPOCH + 60_000, reason, message });
const BY_TESTS = failedBy(
  'PodFailurePolicy',
  'Container task for pod ci/x failed with exit code 2 matching FailJob rule',
);

const stage = (
  at: number,
  exitCode: number,
  message = '',
  reason = exitCode === 0 ? 'Completed' : 'Error',
): ContainerEnd => ({
  exitCode,
  reason,
  message,
  startedAt: EPOCH + at * 1000,
  finishedAt: EPOCH + (at + 10) * 1000,
});

/** A pod of which these containers have ended. */
function pod({ task, ...ci }: CiEnds, more: Partial<PodRecord> = {}): PodRecord {
  const { task: _, ...rest } = testPod('failed');
  const phase = task?.exitCode === 0 ? 'Succeeded' : 'Failed';
  return { ...rest, phase, ci, task: task && { kind: 'terminated', ...task }, stageSince: EPOCH + 25_000, ...more };
}

const job = (annotations: Record<string, string> = {}) =>
  testJob({
    annotations: {
      [ANNOTATION.ciImage]: IMAGE,
      [ANNOTATION.testTimeout]: '600',
      [ANNOTATION.buildTimeout]: '60',
      [ANNOTATION.webhookUrl]: 'https://backend.example/hook',
      [ANNOTATION.webhookMode]: 'operator',
      [ANNOTATION.rate]: JSON.stringify({ vcpu: 2, gib: 4 }),
      ...annotations,
    },
  });
const BUILT = { clone: stage(5, 0, COMMIT), build: stage(15, 0), digest: DIGEST };

test('tests that passed: a result, and the operator tells of it', () => {
  expect(outcomeOf(job(), COMPLETE, [pod({ ...BUILT, task: stage(25, 0) })])).toMatchObject({
    status: 'completed',
    diagnosis: { category: 'Completed', message: 'the tests passed' },
    result: { conclusion: 'success', commit: COMMIT, digest: DIGEST, exit_code: 0 },
    webhookDue: true,
    startedAt: '2026-01-01T00:00:05.000Z',
  });
});

test('I7: tests that failed are a result too, though their Job is Failed', () => {
  expect(outcomeOf(job(), BY_TESTS, [pod({ ...BUILT, task: stage(25, 2, '1 failed') })])).toMatchObject({
    status: 'completed',
    diagnosis: { category: 'Completed', message: 'the tests failed (exit code 2)' },
    result: { conclusion: 'failure', exit_code: 2, log_tail: '1 failed' },
  });
});

test('a build that failed is a failure, and what was known by then is told', () => {
  const told = outcomeOf(job(), failedBy('BackoffLimitExceeded'), [
    pod({ clone: stage(5, 0, COMMIT), build: stage(15, 3, 'failed to execute command: exit status 3') }),
  ]);
  expect(told).toMatchObject({
    status: 'failed',
    diagnosis: { category: 'BuildFailed' },
    result: expect.not.objectContaining({ exit_code: 3 }),
  });
  expect(told).toMatchObject({
    result: { conclusion: 'failure', commit: COMMIT },
    attempts: [{ exitCode: 3, reason: 'Error' }],
  });
});

describe('what the containers did not bring about', () => {
  test.each<[string, CiEnds, RegExp]>([
    ['the clone', {}, /^the clone took longer than allowed \(ci\.builder\.timeoutSeconds: 60\)/],
    ['the build', { clone: stage(5, 0, COMMIT), build: stage(15, 137) }, /^the build took longer/],
    [
      'the tests',
      { ...BUILT, task: stage(25, 137, 'waiting for a lock') },
      /^the tests took longer than allowed \(timeoutSeconds: 600\)/,
    ],
  ])('%s took too long', (_, ends, message) => {
    const end = ends.task === undefined ? failedBy('BackoffLimitExceeded') : BY_TESTS;
    const told = outcomeOf(job(), end, [pod(ends, { reason: 'DeadlineExceeded' })]);
    expect(told).toMatchObject({
      status: 'failed',
      diagnosis: { category: 'TaskTimedOut', message: expect.stringMatching(message) },
      result: {
        conclusion: 'failure',
        ...(ends.clone && { commit: COMMIT }),
        ...(ends.task && { log_tail: ends.task.message }),
        // That it was killed was not its own doing.
        problems: [],
      },
    });
  });

  test('tests that end well when they are told to stop have not passed', () => {
    const told = outcomeOf(job(), failedBy('BackoffLimitExceeded'), [
      pod({ ...BUILT, task: stage(25, 0) }, { phase: 'Failed', reason: 'DeadlineExceeded' }),
    ]);
    expect(told).toMatchObject({ status: 'failed', diagnosis: { category: 'TaskTimedOut' } });
    expect(told.result).toMatchObject({ conclusion: 'failure' });
    expect(told.result).not.toHaveProperty('exit_code');
  });

  test.each<[string, CiEnds, RegExp]>([
    ['its tests', { ...BUILT, task: stage(25, 255, '', 'Unknown') }, /how the tests ended/],
    [
      'its tests, of a kubelet',
      { ...BUILT, task: stage(25, 137, '', 'ContainerStatusUnknown') },
      /how the tests ended/,
    ],
    ['its build', { clone: stage(5, 0, COMMIT), build: stage(15, 255, '', 'Unknown') }, /how the build ended/],
  ])('the node was restarted during %s: nobody knows how they ended', (_, ends, message) => {
    const told = outcomeOf(job(), ends.task === undefined ? failedBy('BackoffLimitExceeded') : BY_TESTS, [pod(ends)]);
    expect(told).toMatchObject({
      status: 'failed',
      diagnosis: { category: 'NodeLost', message: expect.stringMatching(message) },
      result: { conclusion: 'failure', problems: [] },
    });
    expect(told.result).not.toHaveProperty('exit_code');
  });

  test('somebody deleted the pod while its tests ran', () => {
    const told = outcomeOf(job(), BY_TESTS, [pod({ ...BUILT, task: stage(25, 143) }, { deletedBy: EPOCH })]);
    expect(told).toMatchObject({
      status: 'failed',
      diagnosis: { category: 'TaskFailed', message: expect.stringContaining('was deleted') },
    });
    // Tests that had failed by then have failed.
    const later = outcomeOf(job(), BY_TESTS, [pod({ ...BUILT, task: stage(25, 2) }, { deletedBy: EPOCH })]);
    expect(later).toMatchObject({ status: 'completed', result: { exit_code: 2 } });
  });

  test('the Job’s own deadline passed while its tests ran', () => {
    const told = outcomeOf(job(), failedBy('DeadlineExceeded', 'Job was active longer than specified deadline'), [
      pod({ ...BUILT, task: stage(25, 137) }),
    ]);
    expect(told).toMatchObject({ status: 'failed', diagnosis: { category: 'TaskTimedOut' } });
  });

  test('the last attempt’s pod was removed before it began', () => {
    const pull = diagnose('ImagePull', 'ErrImagePull: unauthorized');
    const attempts = [{ pod: 'second', finishedAt: '2026-01-01T00:05:00.000Z', reason: 'ErrImagePull' }];
    const noted = job({ ...noteAnnotation(pull, EPOCH), [ANNOTATION.attempts]: JSON.stringify(attempts) });
    const first = pod({ clone: stage(5, 0, COMMIT), build: stage(15, 3, 'exit status 3') });
    expect(outcomeOf(noted, failedBy('BackoffLimitExceeded'), [first])).toMatchObject({ diagnosis: pull });
    const second = pod({ clone: stage(600, 0, COMMIT), build: stage(610, 3, 'exit status 3') });
    expect(outcomeOf(noted, failedBy('BackoffLimitExceeded'), [second])).toMatchObject({
      diagnosis: { category: 'BuildFailed' },
    });
  });

  test('it was cancelled while its tests ran', () => {
    const cancelled = diagnose('Cancelled', 'the task was cancelled');
    const told = outcomeOf(
      { ...job(noteAnnotation(cancelled, EPOCH)), deadlineSeconds: 1 },
      failedBy('DeadlineExceeded'),
      [pod({ ...BUILT, task: stage(25, 143) })],
    );
    expect(told).toMatchObject({ status: 'cancelled', diagnosis: cancelled });
  });

  test('the image that was built could not be pulled', () => {
    const waiting = { reason: 'ErrImagePull', message: 'unauthorized' };
    const told = outcomeOf(job(), failedBy('BackoffLimitExceeded'), [pod(BUILT, { waiting })]);
    expect(told).toMatchObject({ status: 'failed', diagnosis: { category: 'ImagePull' }, result: { digest: DIGEST } });
  });
});

describe('without its pod, the Job’s end is all that is known', () => {
  const result = { problems: ['the pod is gone, and what its containers said with it'] };
  test.each<[string, JobEnd, object]>([
    ['complete', COMPLETE, { status: 'completed', result: { ...result, conclusion: 'success' } }],
    ['failed by the tests', BY_TESTS, { status: 'completed', result: { ...result, conclusion: 'failure' } }],
    [
      'out of attempts',
      failedBy('BackoffLimitExceeded', 'limit'),
      { status: 'failed', diagnosis: { category: 'TaskFailed' } },
    ],
  ])('%s', (_, end, expected) => expect(outcomeOf(job(), end, [])).toMatchObject(expected));
});

describe('I7: of two attempts, of which the later one’s pod is gone, the earlier one decides nothing', () => {
  const first = pod({ clone: stage(5, 0, COMMIT), build: stage(15, 3, 'exit status 3') });
  test.each<[string, JobEnd, string]>([
    ['complete', COMPLETE, 'success'],
    ['failed by the tests', BY_TESTS, 'failure'],
  ])('%s', (_, end, conclusion) =>
    expect(outcomeOf(job(), end, [first])).toMatchObject({
      status: 'completed',
      result: { conclusion, problems: [expect.stringContaining('the pod is gone')] },
    }),
  );

  test.each<[string, Partial<PodRecord>]>([
    ['was drained', { disrupted: true }],
    ['was put out', { disrupted: true, reason: 'Evicted' }],
  ])('nor does one that %s while its tests ran', (_, more) => {
    const drained = pod({ ...BUILT, task: stage(25, 143) }, more);
    const told = outcomeOf(job(), BY_TESTS, [drained]);
    expect(told).toMatchObject({ status: 'completed', result: { conclusion: 'failure' } });
    expect(told.result).not.toHaveProperty('exit_code');
  });

  test('or is not seen to have ended yet', () => {
    const running = pod(BUILT, { phase: 'Running', task: { kind: 'running', startedAt: EPOCH } });
    expect(outcomeOf(job(), COMPLETE, [first, running])).toMatchObject({ result: { conclusion: 'success' } });
  });
});

test('what it has taken counts from its clone on, also where no test ran', () => {
  const whole = outcomeOf(job(), COMPLETE, [pod({ ...BUILT, task: stage(25, 0) })]);
  expect(whole.usage).toMatchObject({ vcpu_seconds: 60, gib_seconds: 120 });
  const part = outcomeOf(job(), failedBy('BackoffLimitExceeded'), [pod({ clone: stage(5, 1) }, { stageSince: EPOCH })]);
  expect(part.usage).toMatchObject({ vcpu_seconds: 20 });
});

test('I3: what was recorded stays the outcome, result and all, when its pod is gone and another operator settles it', () => {
  const before = outcomeOf(job(), BY_TESTS, [pod({ ...BUILT, task: stage(25, 2, '1 failed') })]);
  const recorded = JSON.stringify(before);
  const after = outcomeOf(job({ [ANNOTATION.outcome]: recorded }), BY_TESTS, []);
  expect(after).toEqual(JSON.parse(recorded));
  expect(after).toMatchObject({
    status: 'completed',
    result: { commit: COMMIT, digest: DIGEST, log_tail: '1 failed' },
  });
});
