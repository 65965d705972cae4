import { describe, expect, test } from 'vitest';
import { imageOf, readCiPayload } from './payload.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const LEAST = { repository: 'https://git.example.com/acme/app.git', commit: COMMIT, test: { command: 'make test' } };
const problems = (payload: unknown) => {
  const reading = readCiPayload(payload);
  return reading.kind === 'invalid' ? reading.problems : [];
};

test('the least, with its defaults', () => {
  expect(readCiPayload(LEAST)).toEqual({
    kind: 'valid',
    task: {
      repository: 'https://git.example.com/acme/app.git',
      commit: COMMIT,
      submodules: false,
      context: '.',
      build_args: {},
      test: { command: 'make test', env: {} },
      artifacts: [],
      junit: [],
      cache: true,
    },
  });
});

test('everything', () => {
  const whole = {
    ...LEAST,
    commit: undefined,
    ref: 'release/1.2',
    submodules: true,
    dockerfile: './docker//Dockerfile',
    context: 'services/app/',
    build_args: { VERSION: '1.2' },
    target: 'test',
    image: 'registry.example.com:5000/ci/acme/app',
    test: { command: ['/bin/test', '--all'], env: { CI: '1' } },
    artifacts: ['logs'],
    junit: ['reports/*.xml'],
    cache: false,
  };
  expect(readCiPayload(whole)).toMatchObject({
    kind: 'valid',
    task: { ref: 'release/1.2', dockerfile: 'docker/Dockerfile', context: 'services/app', target: 'test' },
  });
});

describe('what is wrong is told by its field', () => {
  test.each<[string, object, RegExp]>([
    ['no revision', { commit: undefined }, /^payload\.commit: must be given, or else ref; not both$/],
    ['two revisions', { ref: 'main' }, /^payload\.commit: must be given, or else ref; not both$/],
    ['a short commit', { commit: 'abc1234' }, /^payload\.commit: must be a whole commit hash/],
    [
      'a ref that git would take for an option',
      { commit: undefined, ref: '--upload-pack=x' },
      /^payload\.ref: must be the name of a branch or tag$/,
    ],
    ['a ref that climbs', { commit: undefined, ref: 'a..b' }, /^payload\.ref: /],
    [
      'a repository by ssh',
      { repository: 'git@github.com:acme/app.git' },
      /^payload\.repository: must be an https URL/,
    ],
    ['a local repository', { repository: 'file:///etc' }, /^payload\.repository: must be an https URL/],
    [
      'credentials in the URL',
      { repository: 'https://me:secret@git.example.com/a.git' },
      /^payload\.repository: must be without user and password/,
    ],
    ['a Dockerfile outside', { dockerfile: '../Dockerfile' }, /^payload\.dockerfile: must be a path in the repository/],
    ['an absolute context', { context: '/etc' }, /^payload\.context: must be a path in the repository/],
    ['a variable that is none', { build_args: { 'A B': '1' } }, /^payload\.build_args\.A B: /],
    [
      'an image with a tag',
      { image: 'registry.example.com/acme/app:1' },
      /^payload\.image: must be a registry and a repository/,
    ],
    ['an image without a registry', { image: 'App' }, /^payload\.image: /],
    ['an empty command', { test: { command: [] } }, /^payload\.test\.command: /],
    ['no test', { test: undefined }, /^payload\.test: /],
    ['a field that there is not', { dokerfile: 'Dockerfile' }, /^payload: .*dokerfile/],
  ])('%s', (_, change, expected) => {
    const told = problems({ ...LEAST, ...change });
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(expected);
    expect(told.join()).not.toContain('secret@');
  });

  test.each([undefined, null, 7, 'text', []])('a payload that is %j', (payload) => {
    expect(problems(payload)).toHaveLength(1);
  });
});

describe('the image', () => {
  const prefix = 'registry.example.com/ci/acme';
  const of = (repository: string, image?: string) => imageOf({ repository, image }, prefix);
  test.each([
    ['https://git.example.com/acme/app.git', `${prefix}/app`],
    ['https://git.example.com/Acme/My.App_2/', `${prefix}/my-app-2`],
    ['https://git.example.com/', `${prefix}/image`],
  ])('of %s is %s', (repository, expected) => expect(of(repository)).toBe(expected));
  test('may be another one of the client', () =>
    expect(of('https://g.example/a', `${prefix}/tools/a`)).toBe(`${prefix}/tools/a`));
  test.each([`${prefix}-other/app`, 'registry.example.com/ci/globex/app', prefix])(
    'and none of somebody else: %s',
    (image) => expect(of('https://g.example/a', image)).toBeUndefined(),
  );
});
