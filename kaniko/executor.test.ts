import { expect, test } from 'vitest';
import { type Build, executorArgs } from './executor.ts';
import { flagName, KANIKO_FLAGS, KANIKO_VERSION, REFUSED_FLAGS } from './flags.ts';

const BUILD: Build = {
  workspace: '/workspace',
  context: '.',
  dockerfile: 'Dockerfile',
  destinations: ['registry.example.com/ci/app:1'],
  buildArgs: {},
  target: undefined,
  cache: undefined,
  insecureRegistries: [],
  flags: [],
};
const WHOLE: Build = {
  ...BUILD,
  context: 'services/app',
  dockerfile: 'services/app/Dockerfile',
  destinations: ['registry.example.com/ci/app:1', 'registry.example.com/ci/app:latest'],
  buildArgs: { VERSION: '1.2 beta' },
  target: 'test',
  cache: 'registry.example.com/ci/cache',
  insecureRegistries: ['registry.svc:5000'],
  flags: ['--reproducible'],
};

test('an ordinary build', () => {
  expect(executorArgs(BUILD).slice(0, 3)).toEqual([
    '--context=dir:///workspace',
    '--dockerfile=/workspace/Dockerfile',
    '--destination=registry.example.com/ci/app:1',
  ]);
});

test('one with everything', () => {
  expect(executorArgs(WHOLE)).toEqual(
    expect.arrayContaining([
      '--context=dir:///workspace/services/app',
      '--dockerfile=/workspace/services/app/Dockerfile',
      '--destination=registry.example.com/ci/app:latest',
      '--build-arg=VERSION=1.2 beta',
      '--target=test',
      '--cache=true',
      '--cache-repo=registry.example.com/ci/cache',
      '--insecure-registry=registry.svc:5000',
      '--reproducible',
    ]),
  );
});

test(`every flag is one that Kaniko ${KANIKO_VERSION} has`, () => {
  const passed = executorArgs(WHOLE).map(flagName);
  expect(passed.filter((flag) => !KANIKO_FLAGS.includes(flag))).toEqual([]);
});

test('what nobody may add is what is passed, less defaults and what adds up, and what leaves no image; of flags that there are', () => {
  const passed = new Set([...executorArgs(WHOLE), ...executorArgs(BUILD)].map(flagName));
  expect([...passed].filter((flag) => !REFUSED_FLAGS.has(flag)).toSorted()).toEqual([
    'build-arg',
    'compressed-caching',
    'image-download-retry',
    'push-retry',
    'reproducible',
    'single-snapshot',
  ]);
  expect([...REFUSED_FLAGS.keys()].filter((flag) => ![...KANIKO_FLAGS, 'help'].includes(flag))).toEqual([]);
});

test.each([
  ['--reproducible', 'reproducible'],
  ['--build-arg=A=B\nC', 'build-arg'],
])('%j is %s', (flag, name) => expect(flagName(flag)).toBe(name));
