import { expect, test } from 'vitest';
import { diagnose } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { testJob, testPod } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import { attemptsAnnotation, noteAnnotation, noteOn, usedAttempts } from './notes.ts';

test('a note reads back as it was written', () => {
  const diagnosis = diagnose('QuotaExceeded', 'exceeded quota');
  for (const noPod of [true, false])
    expect(noteOn(testJob({ annotations: noteAnnotation(diagnosis, EPOCH + 5000, noPod) }))).toEqual({
      diagnosis,
      since: EPOCH + 5000,
      noPod,
    });
});

test('I10: a note of an earlier version is known since the Job was made', () => {
  const annotations = { [ANNOTATION.diagnosis]: JSON.stringify(diagnose('ImagePull', 'm')) };
  expect(noteOn(testJob({ annotations }))).toMatchObject({ since: EPOCH, noPod: false });
});

test.each(['', '{', '{}', '{"category":"Nonsense","message":"m","hint":"h"}'])('a damaged note is none: %s', (text) => {
  expect(noteOn(testJob({ annotations: { [ANNOTATION.diagnosis]: text } }))).toBeUndefined();
  expect(usedAttempts(testJob({ annotations: { [ANNOTATION.attempts]: text } }))).toEqual([]);
});

test('I3: an attempt is written down once, however often its pod is taken away', () => {
  const pod = testPod('image-missing', 1);
  const once = testJob({ annotations: attemptsAnnotation(testJob(), pod, EPOCH) });
  expect(usedAttempts(once)).toEqual([
    { pod: pod.name, finishedAt: '2026-01-01T00:00:00.000Z', reason: 'ErrImagePull' },
  ]);
  expect(attemptsAnnotation(once, pod, EPOCH + 1)).toEqual({});
  const twice = testJob({ annotations: attemptsAnnotation(once, testPod('config-missing', 2), EPOCH + 1) });
  expect(usedAttempts(twice).map(({ reason }) => reason)).toEqual(['ErrImagePull', 'CreateContainerConfigError']);
});
