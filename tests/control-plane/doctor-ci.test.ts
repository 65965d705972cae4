/**
 * What the doctor says of the namespaces of CI types, against a real API server with the chart installed. The commands that it prints are
 * run in a shell, and mend what is wrong.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectCluster } from '#/cli/cluster.ts';
import { ciPlaces, examineCi } from '#/cli/doctor/ci.ts';
import type { Finding } from '#/cli/doctor/finding.ts';
import { systemClock } from '#/lib/clock.ts';
import { CI_NAMESPACE_PERMISSIONS, CI_PERMISSIONS } from '#/operator/permissions.ts';
import { binDirectory } from '#/testing/binaries.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { attempt, run } from '#/testing/shell.ts';
import { CHART, CI, pathOf } from './chart.ts';

const RELEASE = 'doctor-ci';
const NAMESPACE = 'doctor-ci-tasks';
const SECRETS = {
  REGISTRY_USERNAME: 'robot',
  REGISTRY_PASSWORD: "p'w $1",
  GIT_USERNAME: 'git',
  GIT_PASSWORD: 'hidden-git',
  AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true',
};
const storage = { secretKeyRef: { name: 'slipway-storage', key: 'connection-string' } };
const runner = { image: 'acme/slipway-runner:1', imagePullSecrets: ['pull'], env: [], envFrom: [] };
const TYPES = [
  {
    ...runner,
    type: 'ci',
    envFrom: [{ secretRef: { name: 'services' } }],
    ci: {
      images: 'registry.example.com/acme/ci',
      namespace: NAMESPACE,
      registrySecret: 'registry',
      gitSecret: 'git',
      gitHosts: ['github.com'],
      report: { env: [{ name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: storage }] },
    },
  },
  { ...runner, type: 'ci-here', ci: { images: 'registry.example.com/acme/ci' } },
];

let cluster: ControlPlane;
/** Where somebody stands who has the file of variables at hand. */
let cwd = '';
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'slipway-doctor-'));
  await writeFile(join(cwd, 'services.env'), 'URL=http://db\n');
  cluster = await startControlPlane();
  await cluster.kubectl(['create', 'namespace', RELEASE]);
});
afterAll(async () => {
  await rm(cwd, { recursive: true, force: true });
  await cluster?.kubectl(['delete', 'namespace', RELEASE, NAMESPACE, '--ignore-not-found', '--wait=false']);
  await cluster?.[Symbol.asyncDispose]();
});

const env = () => ({
  KUBECONFIG: cluster.kubeconfig,
  PATH: `${binDirectory}:${process.env['PATH'] ?? ''}`,
  ...SECRETS,
});

async function findings(account: { namespace: string; name: string } | null | undefined = OPERATOR) {
  process.env['KUBECONFIG'] = cluster.kubeconfig;
  const connected = connectCluster({ namespace: RELEASE }, systemClock, 15_000);
  if ('problem' in connected) throw new Error(connected.problem);
  return examineCi(connected, 'somebody', account, ciPlaces(RELEASE, TYPES));
}
const OPERATOR = { namespace: RELEASE, name: 'slipway' };
const problems = (all: readonly Finding[]) => all.filter(({ state }) => state !== 'OK');
const mend = (finding: Finding | undefined) => run('sh', ['-c', finding?.command ?? 'exit 99'], { cwd, env: env() });

// Each test goes on from the one before.

test('a namespace that is missing: that alone is said of it', async () => {
  // Nothing is installed, so whose rights to ask about is not known.
  const [missing, ...others] = problems(await findings(null));
  expect(missing).toMatchObject({ state: 'PROBLEM', check: `CI namespace ${NAMESPACE}` });
  expect(missing?.detail).toContain('it does not exist, and ci would have Jobs there');
  expect(others.map(({ check }) => check)).toEqual([`registry Secret in ${RELEASE}`]);
  await mend(missing);
  const here = JSON.stringify({ ci: { images: 'registry.example.com/acme/ci' } });
  const values = [
    '--set',
    `config.taskTypes.ci.ci.namespace=${NAMESPACE}`,
    '--set-json',
    `config.taskTypes.ci-here=${here}`,
    '--set-json',
    `config.taskTypes.ci.envFrom=${JSON.stringify(TYPES[0]?.envFrom)}`,
    '--set',
    `config.runner.image=${runner.image},config.runner.imagePullSecrets={pull}`,
  ];
  await cluster.helm(['install', 'slipway', CHART, '-n', RELEASE, ...CI, ...values]);
});

test('Secrets that are missing, each with the command that makes it', async () => {
  const missing = problems(await findings());
  expect(missing.map(({ state, check, detail }) => [state, check, detail])).toEqual([
    ['PROBLEM', `registry Secret in ${NAMESPACE}`, `there is no Secret registry in ${NAMESPACE}`],
    ['PROBLEM', `registry Secret in ${NAMESPACE}`, `there is no Secret pull in ${NAMESPACE}`],
    ['PROBLEM', `git Secret in ${NAMESPACE}`, `there is no Secret git in ${NAMESPACE}`],
    [
      'PROBLEM',
      `Secret of AZURE_STORAGE_CONNECTION_STRING in ${NAMESPACE}`,
      `there is no Secret slipway-storage in ${NAMESPACE}`,
    ],
    ['PROBLEM', `Secret of envFrom in ${NAMESPACE}`, `there is no Secret services in ${NAMESPACE}`],
    ['PROBLEM', `registry Secret in ${RELEASE}`, `there is no Secret pull in ${RELEASE}`],
  ]);
  for (const finding of missing) await mend(finding);
  expect(problems(await findings())).toEqual([]);
  for (const [name, server] of [
    ['registry', 'registry.example.com'],
    ['pull', 'https://index.docker.io/v1/'],
  ] as const) {
    const made = await cluster.get<{ type: string; data: Record<string, string> }>('-n', NAMESPACE, `secret/${name}`);
    expect(made.type).toBe('kubernetes.io/dockerconfigjson');
    expect(JSON.parse(Buffer.from(made.data['.dockerconfigjson'] ?? '', 'base64').toString())).toMatchObject({
      auths: { [server]: { username: 'robot', password: "p'w $1" } },
    });
  }
  const { data } = await cluster.get<{ data: object }>('-n', NAMESPACE, 'secret/services');
  expect(data).toEqual({ URL: Buffer.from('http://db').toString('base64') });
});

test('a Secret for git without its password', async () => {
  const remove = '[{"op":"remove","path":"/data/password"}]';
  await cluster.kubectl(['-n', NAMESPACE, 'patch', 'secret', 'git', '--type=json', '-p', remove]);
  const [keyless, ...others] = problems(await findings());
  expect(keyless?.detail).toContain('Secret git has not the key password that task types name; it has only username');
  expect(others).toEqual([]);
  await mend(keyless);
  expect(problems(await findings())).toEqual([]);
});

test('all is well: the namespaces, every right there, no value of a Secret', async () => {
  const all = await findings();
  expect(problems(all)).toEqual([]);
  expect(all.map(({ check }) => check)).toEqual([
    `CI namespace ${NAMESPACE}`,
    ...CI_NAMESPACE_PERMISSIONS.map(({ resource }) => `rights on ${resource} in ${NAMESPACE}`),
    `registry Secret in ${NAMESPACE}`,
    `registry Secret in ${NAMESPACE}`,
    `git Secret in ${NAMESPACE}`,
    `Secret of AZURE_STORAGE_CONNECTION_STRING in ${NAMESPACE}`,
    `Secret of envFrom in ${NAMESPACE}`,
    `CI namespace ${RELEASE}`,
    ...CI_PERMISSIONS.map(({ resource }) => `rights on ${resource} in ${RELEASE}`),
    `registry Secret in ${RELEASE}`,
  ]);
  expect(all[1]?.detail).toMatch(`system:serviceaccount:${RELEASE}:slipway may create, get, list, patch, watch`);
  expect(all[0]?.detail).toContain('enforces baseline, which takes a builder');
  expect(all.find(({ check }) => check === `CI namespace ${RELEASE}`)?.detail).toContain('enforces no level');
  for (const value of Object.values(SECRETS)) expect(JSON.stringify(all)).not.toContain(`${value}"`);
});

test('a right that is gone, and a level that takes no builder', async () => {
  const patch = JSON.stringify([{ op: 'replace', path: '/rules/0/verbs', value: ['get', 'list', 'watch', 'patch'] }]);
  await cluster.kubectl(['-n', NAMESPACE, 'patch', 'role', 'slipway', '--type=json', '-p', patch]);
  await cluster.kubectl([
    ...['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted', '--overwrite'],
  ]);
  const wrong = await eventually(async () => {
    const found = problems(await findings());
    expect(found).toHaveLength(2);
    return found;
  });
  expect(wrong.map(({ state, check, detail }) => [state, check, detail])).toEqual([
    [
      'PROBLEM',
      `CI namespace ${NAMESPACE}`,
      expect.stringContaining('it enforces restricted, and the builder of ci is root'),
    ],
    ['PROBLEM', `rights on jobs in ${NAMESPACE}`, `system:serviceaccount:${RELEASE}:slipway may not create`],
  ]);
  for (const finding of wrong) await mend(finding);
  await eventually(async () => expect(problems(await findings())).toEqual([]));
});

test('slipway doctor does so by the installed configuration', async () => {
  const args = [pathOf('cli/main.ts'), 'doctor', '-n', RELEASE, '--json'];
  const { stdout } = await attempt(process.execPath, args, { env: env() });
  const told = JSON.parse(stdout) as readonly Finding[];
  expect(told.find(({ check }) => check === 'configuration')).toMatchObject({ state: 'OK' });
  for (const finding of await findings()) expect(told).toContainEqual(finding);
});
