import { describe, expect, test } from 'vitest';
import { prefixOf, readCiBuild, readCiPayload } from './payload.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const LEAST = { repository: 'https://git.example.com/acme/app.git', commit: COMMIT, test: { command: 'make test' } };
const problems = (payload: unknown) => {
  const reading = readCiPayload(payload);
  return reading.kind === 'invalid' ? reading.problems.map(({ field, message }) => `${field}: ${message}`) : [];
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

test('a commit is the same in capitals', () =>
  expect(readCiPayload({ ...LEAST, commit: COMMIT.toUpperCase() })).toMatchObject({ task: { commit: COMMIT } }));

test('paths of what the tests leave are the plainest of their kind; of artifacts every character is one of a name', () => {
  const artifacts = ['coverage/./index.html', './a//b/.', '.', './.', 'page[id].html', '{a,b}', '..a/b..'];
  const junit = ['./reports/./**/TEST-?*.xml', 'report (1).xml'];
  expect(readCiPayload({ ...LEAST, artifacts, junit })).toMatchObject({
    task: {
      artifacts: ['coverage/index.html', 'a/b', '.', '.', 'page[id].html', '{a,b}', '..a/b..'],
      junit: ['reports/**/TEST-?*.xml', 'report (1).xml'],
    },
  });
});

describe('patterns that could come to what does not stand there', () => {
  test.each(['{..,x}/a', '[.][.]/a', '@(..|x)/a', '+(.)/a', '?(.)./a', '*(.)/a', '!(x)/a', '{1..999999}', 'a]', 'a}'])(
    '%s',
    (pattern) =>
      expect(problems({ ...LEAST, junit: ['*.xml', pattern] })).toEqual([
        `payload.junit.1: is ${JSON.stringify(pattern)}, and patterns know "*", "**" and "?" alone. Write one for each alternative, and "?" for a bracket in a name`,
      ]),
  );

  test.each(['..\\a', 'a\\*', '../a', 'a/../../b', '/a'])('nor is %s a path', (path) => {
    expect(problems({ ...LEAST, junit: [path], artifacts: [path] })).toEqual([
      expect.stringMatching(/^payload\.artifacts\.0: must be a path/),
      expect.stringMatching(/^payload\.junit\.0: must be a path/),
    ]);
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
    ['a ref that git would take for a forced fetch', { commit: undefined, ref: '+main' }, /^payload\.ref: /],
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
    [
      'an absolute artifact',
      { artifacts: ['logs', '/artifacts/x'] },
      /^payload\.artifacts\.1: must be a path below the folder \$SLIPWAY_ARTIFACTS, where .*: relative to it, without "\.\."$/,
    ],
    [
      'a report outside',
      { junit: ['a/../../x.xml'] },
      /^payload\.junit\.0: must be a path below the folder \$SLIPWAY_A/,
    ],
    ['a variable that is none', { build_args: { 'A B': '1' } }, /^payload\.build_args\.A B: /],
    [
      'an image with a tag',
      { image: 'registry.example.com/acme/app:1' },
      /^payload\.image: must be a registry and a repository/,
    ],
    ['an image without a registry', { image: 'App' }, /^payload\.image: /],
    ['an empty command', { test: { command: [] } }, /^payload\.test\.command: /],
    ['no test', { test: undefined }, /^payload\.test: is missing$/],
    [
      'a field that there is not',
      { dokerfile: 'Dockerfile' },
      /^payload: has what is not known: dokerfile\. Known: repository, commit, ref, .*cache$/,
    ],
    [
      'one in test',
      { test: { command: 'x', cmd: 'y' } },
      /^payload\.test: has what is not known: cmd\. Known: command, env$/,
    ],
    ['a NUL in a command', { test: { command: 'a\0b' } }, /^payload\.test\.command: must not contain a NUL$/],
    ['a NUL in a list', { test: { command: ['a', '\0'] } }, /^payload\.test\.command\.1: must not contain a NUL$/],
    ['a NUL in a variable', { build_args: { A: '\0' } }, /^payload\.build_args\.A: must not contain a NUL$/],
    ['no command', { test: {} }, /^payload\.test\.command: is missing$/],
    ['a command that is none', { test: { command: 7 } }, /^payload\.test\.command: must be a text .*or a list/],
    ['artifacts that are no list', { artifacts: 'logs' }, /^payload\.artifacts: must be a list$/],
    ['a variable that is no text', { build_args: { A: 1 } }, /^payload\.build_args\.A: must be a text$/],
    ['an empty path', { context: '' }, /^payload\.context: must not be empty$/],
    ['a long path', { context: 'a'.repeat(513) }, /^payload\.context: must have at most 512 characters$/],
    ['no repository', { repository: undefined }, /^payload\.repository: is missing$/],
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
  const prefix = prefixOf('registry.example.com/ci', 'acme', undefined);
  const of = (repository: string, image?: string) => readCiBuild({ ...LEAST, repository, image }, prefix, 'job-1');
  test.each([
    ['https://git.example.com/acme/app.git', 'app'],
    ['https://git.example.com/Acme/My.App_2/', 'my-app-2'],
    ['https://git.example.com/', 'image'],
    [`https://git.example.com/${'a'.repeat(99)}.b${'c'.repeat(200)}`, 'a'.repeat(99)],
  ])('of %s is called %s', (repository, expected) =>
    expect(of(repository)).toMatchObject({ build: { image: `registry.example.com/ci/acme/${expected}:job-1` } }),
  );

  test('may be another one of the client', () =>
    expect(of('https://g.example/a', `${prefix}tools/a`)).toMatchObject({
      build: { image: `${prefix}tools/a:job-1` },
    }));

  test.each([
    'registry.example.com/ci/acme-other/app',
    'registry.example.com/ci/globex/app',
    'registry.example.com/ci/acme',
  ])('and none of somebody else: %s', (image) =>
    expect(of('https://g.example/a', image)).toEqual({
      kind: 'invalid',
      problems: [
        {
          field: 'payload.image',
          message: `is not the client's to write. Begin it with "registry.example.com/ci/acme/", or leave it out`,
        },
      ],
    }),
  );

  test.each([
    [undefined, 'r.example/ci/acme/'],
    ['r.example/acme', 'r.example/acme/'],
    ['r.example/acme/', 'r.example/acme/'],
    ['r.example/acme-', 'r.example/acme-'],
  ])('with the client’s own prefix %s begins with %s', (own, expected) =>
    expect(prefixOf('r.example/ci', 'acme', own)).toBe(expected),
  );

  test.each([
    ['docker.io/harbour', undefined, 'docker.io/harbour/acme__'],
    ['index.docker.io/harbour/ci', undefined, 'index.docker.io/harbour/ci__acme__'],
    ['docker.io/harbour', 'docker.io/acme', 'docker.io/acme/'],
    ['docker.io/harbour', 'docker.io/harbour/acme-', 'docker.io/harbour/acme-'],
    ['ghcr.io/harbour', undefined, 'ghcr.io/harbour/acme/'],
  ])('on Docker Hub, whose accounts have no folders: %s, %s', (images, own, expected) => {
    const begins = prefixOf(images, 'acme', own);
    expect(begins).toBe(expected);
    expect(readCiBuild(LEAST, begins, 'job-1')).toMatchObject({ build: { image: `${expected}app:job-1` } });
    expect(readCiPayload({ ...LEAST, image: `${expected}app` })).toMatchObject({ kind: 'valid' });
  });
});
