import { describe, expect, test } from 'vitest';
import { formatCiReport } from '../../contract/ci-report.ts';
import { type CiEnds, type ContainerEnd, ciVerdict, stageOf } from './verdict.ts';

const IMAGE = 'registry.example.com/ci/acme/app:abc';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const T = Date.UTC(2026, 0, 1);

const end = (message = '', more: Partial<ContainerEnd> = {}): ContainerEnd => ({
  exitCode: 0,
  reason: 'Completed',
  message,
  startedAt: T,
  finishedAt: T + 2500,
  ...more,
});
const broken = (exitCode: number, message: string, reason = 'Error') => end(message, { exitCode, reason });
const REPORT = formatCiReport({
  v: 1,
  tests: {
    tests: 2,
    passed: 1,
    failed: 1,
    skipped: 0,
    failures: [{ name: 'b', message: 'no', kind: 'failure' }],
    slowest: [],
  },
  artifacts: [],
  artifactCount: 0,
  problems: [],
  url: 'https://blobs.example/report.json',
});
const GOOD: CiEnds = { clone: end(COMMIT), build: end(DIGEST), task: end(), report: end(REPORT) };

test('a task whose tests passed', () => {
  expect(ciVerdict(GOOD, IMAGE)).toEqual({
    kind: 'completed',
    result: {
      conclusion: 'success',
      commit: COMMIT,
      image: IMAGE,
      digest: DIGEST,
      exit_code: 0,
      stage_seconds: { clone: 2.5, build: 2.5, test: 2.5 },
      tests: expect.objectContaining({ tests: 2, failed: 1 }),
      artifacts: [],
      artifact_count: 0,
      problems: [],
      report_url: 'https://blobs.example/report.json',
    },
  });
});

test('failing tests are a result, with their last words', () => {
  expect(ciVerdict({ ...GOOD, task: broken(2, 'make: *** [test] Error 2\n') }, IMAGE)).toMatchObject({
    kind: 'completed',
    result: { conclusion: 'failure', exit_code: 2, log_tail: 'make: *** [test] Error 2' },
  });
});

describe('what failed is told apart', () => {
  const build = (message: string, exitCode = 1) => ({ clone: end(COMMIT), build: broken(exitCode, message) });
  test.each<[string, CiEnds, string, RegExp]>([
    [
      'the clone',
      { clone: broken(128, 'fatal: could not read Username') },
      'CloneFailed',
      /exit code 128.*could not read Username/,
    ],
    [
      'a RUN',
      build('error building image: error building stage: failed to execute command: exit status 7', 7),
      'BuildFailed',
      /a step of the Dockerfile failed \(exit code 7\)/,
    ],
    [
      'the right to push',
      build('error checking push permissions -- make sure you entered the correct tag name'),
      'PushFailed',
      /may not be pushed/,
    ],
    [
      'the push',
      build('INFO[0009] Pushing\nerror pushing image: failed to push to destination'),
      'PushFailed',
      /could not be pushed/,
    ],
    [
      'a Dockerfile that is not there',
      build('Error: error resolving dockerfile path: please provide a valid path'),
      'BuildFailed',
      /is not there/,
    ],
    [
      'a base image that is not there',
      build('error building image: MANIFEST_UNKNOWN: manifest unknown'),
      'RegistryFailed',
      /a base image cannot be read/,
    ],
    ['memory', { clone: end(COMMIT), build: broken(137, '', 'OOMKilled') }, 'OutOfMemory', /the build was killed/],
  ])('%s', (_, ends, category, words) => {
    expect(ciVerdict(ends, IMAGE)).toMatchObject({
      kind: 'failed',
      result: { conclusion: 'failure', image: IMAGE },
      diagnosis: { category, message: expect.stringMatching(words), hint: expect.any(String) },
    });
  });
});

test.each<[string, CiEnds]>([
  ['a pod that is cut off before its tests', { clone: end(COMMIT), build: end(DIGEST) }],
  ['one of which nothing ran', {}],
])('%s is not judged here, and what is known is told', (_, ends) =>
  expect(ciVerdict(ends, IMAGE)).toMatchObject({
    kind: 'other',
    result: {
      conclusion: 'failure',
      ...(ends.clone && { commit: COMMIT }),
      ...(ends.build && { digest: DIGEST }),
      problems: [],
    },
  }),
);

test('what is not said is not known', () => {
  const told = ciVerdict(
    { clone: end('nonsense'), build: end(''), task: end('', { startedAt: undefined }), report: end('killed') },
    IMAGE,
  );
  expect(told).toEqual({
    kind: 'completed',
    result: {
      conclusion: 'success',
      image: IMAGE,
      exit_code: 0,
      stage_seconds: { clone: 2.5, build: 2.5 },
      artifacts: [],
      artifact_count: 0,
      problems: [expect.stringContaining('has said nothing')],
    },
  });
});

describe('tests that ended otherwise than by failing', () => {
  const problemsOf = (task: ContainerEnd) => {
    const told = ciVerdict({ ...GOOD, task }, IMAGE);
    return told.kind === 'completed' ? told.result.problems : told;
  };
  test.each<[string, ContainerEnd, RegExp]>([
    ['for memory', broken(137, '', 'OOMKilled'), /^OutOfMemory: .*resources\.memory/],
    ['by a kill of their own', broken(137, ''), /^Killed: .*by themselves, or for memory/],
    ['for a right', broken(100, 'E: setgroups: Operation not permitted'), /^RightRefused: .*ci\.test\.user/],
  ])('%s', (_, task, problem) => expect(problemsOf(task)).toEqual([expect.stringMatching(problem)]));

  test('and never began: that is no result of theirs', () => {
    const message = 'exec: "/bin/sh": stat /bin/sh: no such file or directory';
    expect(ciVerdict({ ...GOOD, task: broken(128, message, 'StartError') }, IMAGE)).toMatchObject({
      kind: 'failed',
      diagnosis: {
        category: 'ContainerConfig',
        message: expect.stringMatching(/no shell: give payload\.test\.command as a list/),
      },
      result: expect.not.objectContaining({ exit_code: 128 }),
    });
  });
});

test.each<[CiEnds, string]>([
  [{}, 'clone'],
  [{ clone: end(COMMIT) }, 'build'],
  [GOOD, 'tests'],
])('the stage at which it was cut off', (ends, stage) => expect(stageOf(ends)).toBe(stage));
