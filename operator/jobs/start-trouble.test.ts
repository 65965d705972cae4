import { expect, test } from 'vitest';
import { diagnose } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { COMPLETE, FAILED, testJob, testPod } from '../../testing/jobs.ts';
import type { Behaviour } from '../../testing/pod-status.ts';
import { decide } from '../settle/decide.ts';
import { outcomeOf } from './outcome.ts';
import { notedTrouble, startTrouble } from './start-trouble.ts';

const TROUBLES: Partial<Record<Behaviour, [category: string, message: RegExp]>> = {
  'image-missing': ['ImagePull', /^ErrImagePull: .*not found$/],
  'image-name-invalid': ['InvalidImage', /^InvalidImageName: /],
  'config-missing': ['ContainerConfig', /^CreateContainerConfigError: secret "/],
  'root-refused': ['ContainerConfig', /^CreateContainerConfigError: .*runAsNonRoot/],
};

test.each(Object.entries(TROUBLES))('a pod that does not start is diagnosed: %s', (behaviour, [category, message]) => {
  const trouble = startTrouble([testPod(behaviour as Behaviour)]);
  expect(trouble?.category).toBe(category);
  expect(trouble?.message).toMatch(message);
});

test.each(['running', 'unschedulable', 'failed', 'deadline', 'completed-owed'] as const)(
  '%s is no trouble of the start',
  (behaviour) => {
    expect(startTrouble([testPod(behaviour)])).toBeUndefined();
  },
);

test('only the newest pod counts', () => {
  expect(startTrouble([])).toBeUndefined();
  expect(startTrouble([testPod('image-missing', 0), testPod('running', 1)])).toBeUndefined();
});

const lease = { condition: 'held', popReceipt: 'receipt-1', renewAt: Number.POSITIVE_INFINITY } as const;
const noted = (category: 'ImagePull' | 'ContainerConfig') => ({
  [ANNOTATION.diagnosis]: JSON.stringify(diagnose(category, 'seen earlier')),
});
const decided = (annotations: Record<string, string>) => {
  const job = testJob();
  const receipt = { [ANNOTATION.popReceipt]: lease.popReceipt };
  const pods = [testPod('image-missing')];
  const now = job.createdAt;
  const annotated = { ...job, annotations: { ...job.annotations, ...receipt, ...annotations } };
  return decide({ job: annotated, pods, lease, endAgeMs: 0, now, viewKnown: true });
};

test('I3: trouble is noted on the Job while it can be seen, once for each kind', () => {
  expect(decided({})).toMatchObject({ kind: 'note', diagnosis: { category: 'ImagePull' } });
  expect(decided(noted('ImagePull')).kind).toBe('leave');
  expect(decided(noted('ContainerConfig'))).toMatchObject({ kind: 'note', diagnosis: { category: 'ImagePull' } });
});

test('what was noted explains a deadline that passed before anything ran, and nothing else', () => {
  const job = testJob();
  const annotated = { ...job, annotations: { ...job.annotations, ...noted('ImagePull') } };
  const deadline = { ...FAILED, reason: 'DeadlineExceeded' };
  expect(outcomeOf(annotated, deadline, []).diagnosis).toMatchObject({
    category: 'ImagePull',
    message: 'seen earlier',
  });
  expect(outcomeOf(annotated, FAILED, [testPod('deadline')]).diagnosis.category).toBe('TaskTimedOut');
  expect(outcomeOf(annotated, FAILED, [testPod('failed')]).diagnosis.category).toBe('TaskFailed');
  expect(outcomeOf(annotated, COMPLETE, [testPod('completed-owed')]).diagnosis.category).toBe('Completed');
});

test.each(['', '{', '{}', '{"category":"Nonsense","message":"m","hint":"h"}'])('a damaged note is none: %s', (text) => {
  expect(notedTrouble({ ...testJob(), annotations: { [ANNOTATION.diagnosis]: text } })).toBeUndefined();
});
