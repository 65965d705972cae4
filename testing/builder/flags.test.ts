import { expect, test } from 'vitest';
import { type Build, executorArgs } from '../../kaniko/executor.ts';
import { parseFlags } from './flags.ts';

const BUILD: Build = {
  workspace: '/workspace',
  context: 'services/app',
  dockerfile: 'services/app/Dockerfile',
  destinations: ['registry.example.com/ci/app:1', 'registry.example.com/ci/app:latest'],
  buildArgs: { VERSION: '1.2 beta', EMPTY: '' },
  target: 'test',
  cache: 'registry.example.com/ci/cache',
  insecureRegistries: ['registry.svc:5000'],
  flags: [],
};

test('takes all that the executor is asked for', () => {
  expect(parseFlags(executorArgs(BUILD))).toEqual({
    context: '/workspace/services/app',
    dockerfile: '/workspace/services/app/Dockerfile',
    destinations: BUILD.destinations,
    digestFile: undefined,
    buildArgs: new Map(Object.entries(BUILD.buildArgs)),
    target: 'test',
    insecureRegistries: ['registry.svc:5000'],
    pushRetry: 3,
    downloadRetry: 3,
    withoutEffect: ['cache', 'cache-repo'],
  });
});

test.each([
  ['--reproducible', 'the stand-in for Kaniko cannot do --reproducible'],
  ['--no-such', 'unknown flag: --no-such'],
  ['stray', 'unknown argument: stray'],
  ['--target', 'flag needs an argument: --target'],
  ['--push-retry=x', 'invalid argument "x" for --push-retry'],
  ['--log-format=json', 'cannot do --log-format=json'],
  ['--context=git://example.com/x', 'cannot do --context=git:'],
  ['--single-snapshot=false', 'cannot do without --single-snapshot'],
  ['--build-arg=NAME', 'cannot do --build-arg=NAME'],
])('%s is refused', (flag, complaint) => {
  expect(() => parseFlags([...executorArgs({ ...BUILD, cache: undefined }), flag])).toThrow(complaint);
});
