import { expect, test } from 'vitest';
import type { CiResult } from '../contract/ci-result.ts';
import { resultFacts } from './result-facts.ts';

const RESULT: CiResult = {
  conclusion: 'failure',
  commit: '0123456789abcdef0123456789abcdef01234567',
  image: 'registry.example.com/ci/acme/app:job',
  digest: 'sha256:ab',
  exit_code: 1,
  stage_seconds: { clone: 2.5, build: 31, test: 12 },
  tests: {
    tests: 120,
    passed: 117,
    failed: 2,
    skipped: 1,
    failures: [{ name: 'adds', message: 'expected 3\u001b[31m, got 4', kind: 'failure' }],
    slowest: [],
  },
  artifacts: Array.from({ length: 5 }, (_, at) => ({ path: `logs/${at}`, bytes: 1, url: `https://b.example/${at}` })),
  artifact_count: 7,
  problems: ['coverage: no such file'],
  report_url: 'https://b.example/report.json',
};

test('a result in full, without what would steer a terminal', () => {
  expect(resultFacts(RESULT)).toEqual([
    ['Result', 'failure, 2 of 120 tests failed, 1 skipped, exit code 1'],
    ['', 'adds: expected 3\\u001b[31m, got 4'],
    ['Note', 'coverage: no such file'],
    ['Commit', '0123456789abcdef0123456789abcdef01234567'],
    ['Image', 'registry.example.com/ci/acme/app:job@sha256:ab'],
    ['Stages', 'clone 2.5 s, build 31 s, test 12 s'],
    ...RESULT.artifacts.map(({ path, url }) => ['Artifact', `${path} ${url}`]),
    ['', 'and 2 more'],
    ['Report', 'https://b.example/report.json'],
  ]);
});

test('a result of which little is known: the last lines of the log stand for the tests', () => {
  const { commit, digest, tests, report_url, ...rest } = RESULT;
  const little = { ...rest, stage_seconds: {}, artifacts: [], artifact_count: 0, problems: [] };
  expect(resultFacts({ ...little, log_tail: 'make\n*** Error 2' })).toEqual([
    ['Result', 'failure, exit code 1'],
    ['Log', 'make'],
    ['', '*** Error 2'],
    ['Image', 'registry.example.com/ci/acme/app:job'],
  ]);
  const { exit_code, ...unknown } = little;
  expect(resultFacts(unknown)[0]).toEqual(['Result', 'failure, the tests did not run to an end']);
});
