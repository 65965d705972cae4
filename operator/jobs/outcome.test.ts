import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Category, HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { COMPLETE, FAILED, testJob, testPod, WEBHOOK_URL } from '../../testing/jobs.ts';
import { type Behaviour, behaviours } from '../../testing/pod-status.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import type { WebhookMode } from './manifest.ts';
import { outcomeOf, recordedOutcome } from './outcome.ts';
import type { PodRecord } from './records.ts';

describe('the diagnosis of a failed Job, by its last pod', () => {
  const expected: { readonly [behaviour in Behaviour]: readonly [category: Category, message: RegExp] } = {
    running: ['TaskFailed', /^BackoffLimitExceeded: limit reached \(its pods are gone\)$/],
    'completed-owed': ['TaskFailed', /^the container ended with exit code 0$/],
    'completed-delivered': ['TaskFailed', /^the container ended with exit code 0$/],
    'completed-foreign': ['TaskFailed', /^the container ended with exit code 0$/],
    failed: ['TaskFailed', /^the handler threw$/],
    'failed-foreign': ['TaskFailed', /^the container ended with exit code 1$/],
    timeout: ['TaskTimedOut', /^not done after 1800 s$/],
    permanent: ['TaskFailed', /^payload.url: not a URL$/],
    oom: ['OutOfMemory', /^the container was killed \(exit code 137, OOMKilled\)$/],
    deadline: ['TaskTimedOut', /^the pod passed its deadline/],
    evicted: ['TaskFailed', /^the container ended with exit code 143$/],
    'storage-evicted': ['Evicted', /^Pod ephemeral local storage usage exceeds/],
    'image-missing': ['ImagePull', /^ErrImagePull: .*not found$/],
    'image-name-invalid': ['InvalidImage', /^InvalidImageName: /],
    'config-missing': ['ContainerConfig', /^CreateContainerConfigError: secret "nothing" not found$/],
    'root-refused': ['ContainerConfig', /^CreateContainerConfigError: container has runAsNonRoot/],
    'command-missing': ['ContainerConfig', /^the container could not start: .*no such file or directory/],
    unschedulable: ['TaskFailed', /^BackoffLimitExceeded: limit reached \(its pods are gone\)$/],
  };

  test.each(behaviours)('%s', (behaviour) => {
    const [category, message] = expected[behaviour];
    const outcome = outcomeOf(testJob({ end: FAILED }), FAILED, [testPod(behaviour)]);
    expect(outcome).toMatchObject({
      status: 'failed',
      diagnosis: { category, message: expect.stringMatching(message), hint: HINTS[category] },
    });
    expect(outcome).not.toHaveProperty('result');
  });

  const task = (exitCode: number, reason: string): PodRecord => {
    const { task: ended, ...pod } = testPod('failed-foreign');
    return ended?.kind === 'terminated' ? { ...pod, task: { ...ended, exitCode, reason } } : { ...pod, task: ended };
  };
  test.each<[what: string, pod: PodRecord, category: Category, message: RegExp]>([
    ['a fast OOM has the reason Error', task(137, 'Error'), 'OutOfMemory', /exit code 137, Error/],
    ['an OOM of a child has another code', task(1, 'OOMKilled'), 'OutOfMemory', /exit code 1, OOMKilled/],
    ['bad data', task(65, 'Error'), 'TaskFailed', /exit code 65: bad data$/],
    ['bad configuration', task(78, 'Error'), 'TaskFailed', /exit code 78: bad configuration$/],
    ['a temporary failure', task(75, 'Error'), 'TaskFailed', /exit code 75: temporary failure$/],
  ])('%s', (_, pod, category, message) => {
    const { diagnosis } = outcomeOf(testJob(), FAILED, [pod]);
    expect(diagnosis).toMatchObject({ category, message: expect.stringMatching(message) });
  });

  test('without pods the Job’s condition is all there is', () => {
    const deadline = {
      ...FAILED,
      reason: 'DeadlineExceeded',
      message: 'Job was active longer than specified deadline',
    };
    expect(outcomeOf(testJob(), deadline, []).diagnosis).toMatchObject({
      category: 'TaskTimedOut',
      message: 'the Job passed its deadline: Job was active longer than specified deadline',
    });
    expect(outcomeOf(testJob(), FAILED, []).diagnosis.message).toContain('(its pods are gone)');
  });
});

describe('the outcome', () => {
  test('of a completed Job has the result of its last pod, and every attempt in order', () => {
    const pods = [testPod('failed', 1), testPod('evicted', 2), testPod('completed-owed', 3)];
    expect(outcomeOf(testJob(), COMPLETE, pods)).toEqual({
      status: 'completed',
      diagnosis: { category: 'Completed', message: 'the task completed', hint: 'Nothing to do.' },
      attempts: [
        { finishedAt: '2026-01-01T00:00:00.000Z', exitCode: 1, reason: 'Error' },
        { finishedAt: '2026-01-01T00:00:00.000Z', exitCode: 143, reason: 'Disrupted' },
        { finishedAt: '2026-01-01T00:00:00.000Z', exitCode: 0, reason: 'Completed' },
      ],
      startedAt: '2026-01-01T00:00:00.000Z',
      finishedAt: '2026-01-01T00:00:00.000Z',
      webhookDue: false,
      result: { echoed: true },
      leaseLost: false,
    });
  });

  test('has no start when no container ever ran', () => {
    expect(outcomeOf(testJob(), FAILED, [testPod('image-missing')]).startedAt).toBeNull();
    expect(outcomeOf(testJob(), FAILED, [testPod('command-missing')]).startedAt).toBeNull();
    expect(outcomeOf(testJob(), FAILED, []).startedAt).toBeNull();
  });

  test('keeps no more than the last 20 attempts, for it stands in an annotation', () => {
    const pods = Array.from({ length: 25 }, (_, at) => testPod('failed', at));
    expect(outcomeOf(testJob(), FAILED, pods).attempts).toHaveLength(20);
  });

  test('names what a pod that never ended was waiting for', () => {
    expect(outcomeOf(testJob(), FAILED, [testPod('image-missing')]).attempts).toEqual([
      { finishedAt: null, exitCode: null, reason: 'ErrImagePull' },
    ]);
    expect(outcomeOf(testJob(), FAILED, [testPod('deadline')]).attempts[0]?.reason).toBe('DeadlineExceeded');
  });
});

describe('I8: whether the operator has to send the webhook', () => {
  const due: {
    readonly [mode in WebhookMode]: readonly (readonly [
      end: 'complete' | 'failed',
      pod: Behaviour | undefined,
      due: boolean,
    ])[];
  } = {
    runner: [
      ['complete', 'completed-delivered', false],
      ['complete', 'completed-owed', true],
      ['complete', 'completed-foreign', true],
      ['complete', undefined, true],
      // The runner's word counts only for the outcome that the Job has: it may have reported success and then been killed.
      ['failed', 'completed-delivered', true],
      ['failed', 'failed', true],
      ['failed', 'oom', true],
      ['failed', undefined, true],
    ],
    'exit-0': [
      ['complete', 'completed-foreign', false],
      ['complete', undefined, false],
      ['failed', 'failed-foreign', true],
      ['failed', undefined, true],
    ],
    operator: [
      ['complete', 'completed-delivered', true],
      ['failed', 'failed', true],
    ],
    none: [
      ['complete', 'completed-owed', false],
      ['failed', 'failed', false],
    ],
  };
  const rows = Object.entries(due).flatMap(([mode, cases]) => cases.map((one) => [mode, ...one] as const));

  test.each(rows)('mode %s, Job %s, pod %s: %s', (mode, end, pod, expected) => {
    const annotations = { [ANNOTATION.webhookMode]: mode, [ANNOTATION.webhookUrl]: WEBHOOK_URL };
    const pods = pod === undefined ? [] : [testPod(pod)];
    const outcome = (job = testJob({ annotations })) => outcomeOf(job, end === 'complete' ? COMPLETE : FAILED, pods);
    expect(outcome().webhookDue).toBe(expected);
    expect(outcome(testJob({ annotations: { [ANNOTATION.webhookMode]: mode } })).webhookDue).toBe(false);
  });

  test('without a mode on the Job, it has to', () => {
    const annotations = { [ANNOTATION.webhookMode]: 'from the future', [ANNOTATION.webhookUrl]: WEBHOOK_URL };
    expect(outcomeOf(testJob({ annotations }), COMPLETE, [testPod('completed-delivered')]).webhookDue).toBe(true);
  });

  test('a failure that the runner has delivered is not reported again', () => {
    const { task, ...pod } = testPod('permanent');
    if (task?.kind !== 'terminated') throw new Error('not terminated');
    const delivered = { ...pod, task: { ...task, message: task.message.replace('"owed"', '"delivered"') } };
    const job = testJob({ annotations: { [ANNOTATION.webhookUrl]: WEBHOOK_URL } });
    expect(outcomeOf(job, FAILED, [testPod('permanent')]).webhookDue).toBe(true);
    expect(outcomeOf(job, FAILED, [delivered]).webhookDue).toBe(false);
  });
});

describe('a recorded outcome', () => {
  const pods = fc.array(fc.constantFrom(...behaviours), { maxLength: 5 });
  const end = fc.constantFrom(COMPLETE, FAILED);

  test('I3: reads back as it was written, and stands whatever became of the pods', () => {
    fc.assert(
      fc.property(pods, end, (seen, jobEnd) => {
        const outcome = outcomeOf(
          testJob(),
          jobEnd,
          seen.map((behaviour, at) => testPod(behaviour, at)),
        );
        const job = testJob({ annotations: { [ANNOTATION.outcome]: JSON.stringify(outcome) } });
        expect(recordedOutcome(job)).toEqual(outcome);
        expect(outcomeOf(job, jobEnd, [])).toEqual(outcome);
      }),
    );
  });

  test.each(['', 'null', '{}', '{"status":"completed"}', 'not JSON'])('that is damaged is none: %j', (text) => {
    const job = testJob({ annotations: { [ANNOTATION.outcome]: text } });
    expect(recordedOutcome(job)).toBeUndefined();
    expect(outcomeOf(job, COMPLETE, [testPod('completed-owed')]).finishedAt).toBe(new Date(EPOCH).toISOString());
  });
});
