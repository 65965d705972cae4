import { expect, test } from 'vitest';
import { type Build, executorArgs } from './executor.ts';
import { KANIKO_FLAGS, KANIKO_VERSION } from './flags.ts';

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
  const passed = executorArgs(WHOLE).map((arg) => /^--([a-z-]+)/.exec(arg)?.[1]);
  expect(passed.filter((flag) => flag === undefined || !KANIKO_FLAGS.includes(flag))).toEqual([]);
});
