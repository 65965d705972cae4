import { describe, expect, test } from 'vitest';
import { ciBuild, ciPolicy } from '../../testing/ci-policy.ts';
import { ciAnnotations, ciLabels, ciPod } from './pod.ts';

const { image: IMAGE } = ciBuild();
const pod = (more: object = {}, ci: object = {}, type: object = {}) =>
  ciPod(ciBuild(more).task, IMAGE, 'acme', ciPolicy(ci, type));
const container = (name: string, { initContainers, containers }: ReturnType<typeof pod>) => {
  const found = [...initContainers, ...containers].find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no container ${name}`);
  return found;
};

test('as it was looked at once', async () => {
  await expect(`${JSON.stringify(pod(), undefined, 2)}\n`).toMatchFileSnapshot('./golden/pod.json');
});

test('the sidecar is there before the others, and ends after them', () => {
  const { initContainers } = pod();
  expect(initContainers.map(({ name, restartPolicy }) => [name, restartPolicy])).toEqual([
    ['report', 'Always'],
    ['clone', undefined],
    ['build', undefined],
  ]);
});

describe('what tests run in', () => {
  test('I9: sees no credential of git, registry or storage', () => {
    const { env, envFrom, volumeMounts } = container('task', pod());
    expect(JSON.stringify([env, envFrom])).not.toMatch(/secretKeyRef|valueFrom/);
    expect(volumeMounts?.map(({ name }) => name)).toEqual(['artifacts']);
  });

  test('is the image that was built, as its own user, or another', () => {
    expect(container('task', pod()).image).toBe(IMAGE);
    expect(container('task', pod()).securityContext).not.toHaveProperty('runAsUser');
    expect(container('task', pod({}, { test: { user: 1000 } })).securityContext).toMatchObject({
      runAsUser: 1000,
      runAsNonRoot: true,
    });
  });

  test.each([
    ['a text, by a shell', 'echo $HOME $(id)', ['/bin/sh', '-c', 'echo $$HOME $$(id)']],
    ['a list, as it is', ['/bin/test', '$(A)', '$$'], ['/bin/test', '$$(A)', '$$$$']],
  ])('runs %s; nothing in it is expanded by Kubernetes', (_, command, expected) => {
    expect(container('task', pod({ test: { command } })).command).toEqual(expected);
  });
});

test('only the builder is root, and it has no more than it needs', () => {
  const of = (name: string) => container(name, pod()).securityContext;
  for (const name of ['report', 'clone'])
    expect(of(name)).toMatchObject({ runAsNonRoot: true, readOnlyRootFilesystem: true });
  expect(of('build')).toMatchObject({ runAsUser: 0, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
  for (const name of ['report', 'clone', 'build', 'task']) expect(of(name)?.allowPrivilegeEscalation).toBe(false);
});

test('credentials are where they are needed alone', () => {
  const all = pod();
  const withSecret = (name: string) => JSON.stringify(container(name, all).env ?? []).includes('secretKeyRef');
  expect(['report', 'clone', 'build', 'task'].filter(withSecret)).toEqual(['report', 'clone']);
  const mounts = (name: string) => container(name, all).volumeMounts?.some((one) => one.name === 'docker-config');
  expect(['report', 'clone', 'build', 'task'].filter(mounts)).toEqual(['build']);
  const none = pod({}, { registrySecret: undefined, gitSecret: undefined, gitHosts: [], report: {} });
  expect(JSON.stringify(none)).not.toMatch(/secretKeyRef|secretName/);
});

test('a build with everything', () => {
  const args = container(
    'build',
    pod({ context: 'services/app', build_args: { A: '$(B) $$' }, target: 'test', cache: false }),
  ).args;
  expect(args).toEqual(
    expect.arrayContaining([
      '--context=dir:///kaniko/workspace/services/app',
      '--dockerfile=/kaniko/workspace/services/app/Dockerfile',
      `--destination=${IMAGE}`,
      '--build-arg=A=$$(B) $$$$',
      '--target=test',
    ]),
  );
  expect(args?.some((arg) => arg.startsWith('--cache'))).toBe(false);
});

test('the sidecar is told what to collect, byte for byte', () => {
  expect(ciAnnotations(ciBuild({ artifacts: ['logs'], junit: ['$(A)/*.xml'] }).task, ciPolicy())).toEqual({
    'slipway.dev/ci-collect': '{"artifacts":["logs"],"junit":["$(A)/*.xml"]}',
  });
});

test('with workload identity the builder alone is given a token', () => {
  const policy = ciPolicy({ builder: { workloadIdentity: true } });
  expect(ciLabels(policy)).toEqual({ 'slipway.dev/kind': 'ci', 'azure.workload.identity/use': 'true' });
  expect(ciAnnotations(ciBuild().task, policy)).toMatchObject({
    'azure.workload.identity/skip-containers': 'report;clone;task',
  });
  expect(ciLabels(ciPolicy())).toEqual({ 'slipway.dev/kind': 'ci' });
});

test('the type’s own env is that of the tests, over the payload’s, and of no other container', () => {
  const all = pod(
    { test: { command: 'x', env: { A: 'theirs', B: '$(A)' } } },
    {},
    { env: [{ name: 'A', value: 'ours' }] },
  );
  expect(container('task', all).env).toEqual([
    { name: 'CI', value: 'true' },
    { name: 'A', value: 'theirs' },
    { name: 'B', value: '$$(A)' },
    { name: 'A', value: 'ours' },
    { name: 'SLIPWAY_ARTIFACTS', value: '/artifacts' },
  ]);
  for (const name of ['report', 'clone', 'build']) expect(JSON.stringify(container(name, all))).not.toContain('ours');
});

test('a repository is looked into for what is to be built, and the builder cannot change it', () => {
  const all = pod({ context: 'services/app' });
  expect(container('clone', all).env).toEqual(
    expect.arrayContaining([
      { name: 'CI_CONTEXT', value: 'services/app' },
      { name: 'CI_DOCKERFILE', value: 'services/app/Dockerfile' },
    ]),
  );
  expect(container('build', all).volumeMounts).toContainEqual({
    name: 'workspace',
    mountPath: '/kaniko/workspace',
    readOnly: true,
  });
});
