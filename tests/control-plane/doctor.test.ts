/**
 * `slipway doctor` and `slipway explain` against a real API server with the chart installed, and Azurite. One thing is broken at a time; the
 * command that the doctor prints is run in a shell, and mends it.
 */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { connectCluster } from '#/cli/cluster.ts';
import { examine } from '#/cli/doctor/doctor.ts';
import type { Finding } from '#/cli/doctor/finding.ts';
import { readConfig } from '#/cli/read-config.ts';
import { jobName } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import { VERSION } from '#/lib/version.ts';
import { parseConfig } from '#/operator/config.ts';
import type { RawJob } from '#/operator/jobs/records.ts';
import { storageAccess } from '#/queue/access.ts';
import { createQueueInspector } from '#/queue/inspect.ts';
import { startArm } from '#/testing/arm/server.ts';
import { AZURITE_ACCOUNT, type Azurite, startAzurite } from '#/testing/azurite.ts';
import { binDirectory } from '#/testing/binaries.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { stages } from '#/testing/kwok.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { attempt, type Finished, run } from '#/testing/shell.ts';
import { CHART, pathOf } from './chart.ts';

const NAMESPACE = 'doctor';
const MAIN = pathOf('cli/main.ts');
const VALUES = {
  image: { repository: 'example.test/operator' },
  storage: { existingSecret: 'slipway-storage' },
  config: {
    queues: [{ name: 'acme-tasks' }, { name: 'globex-tasks' }],
    runner: { image: 'example.test/runner:1' },
    taskTypes: { rooted: { image: 'example.test/rooted:1', security: 'baseline' } },
  },
};

let cluster: ControlPlane;
let azurite: Azurite;
let queues: TestQueues;
let directory: Awaited<ReturnType<typeof mkdtempDisposable>>;
let message: string;

beforeAll(async () => {
  directory = await mkdtempDisposable(join(tmpdir(), 'slipway-doctor-'));
  azurite = await startAzurite({ blob: false });
  queues = testQueues(azurite.connectionString);
  await queues.create('acme-tasks', 'globex-tasks', 'acme-tasks-poison');
  await queues.put('acme-tasks-poison', 'poisoned', 'poisoned too');
  cluster = await startControlPlane({ stages: stages({}) });
  const values = join(directory.path, 'values.yaml');
  await writeFile(values, stringify(VALUES));
  message = join(directory.path, 'message.json');
  await writeFile(message, '{"task_id":"t-1","task_type":"echo"}\n');
  await cluster.kubectl(['create', 'namespace', NAMESPACE]);
  const literal = `--from-literal=connection-string=${azurite.connectionString}`;
  await cluster.kubectl(['-n', NAMESPACE, 'create', 'secret', 'generic', 'slipway-storage', literal]);
  await cluster.helm(['install', 'slipway', CHART, '-n', NAMESPACE, '-f', values, '--wait']);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await azurite?.[Symbol.asyncDispose]();
  await directory?.remove();
});

/** The environment of the person at the shell. */
const env = (more: Record<string, string> = {}) => ({
  KUBECONFIG: cluster.kubeconfig,
  PATH: `${binDirectory}:${process.env['PATH'] ?? ''}`,
  AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
  AZURE_STORAGE_SAS_URL: '',
  ...more,
});

const slipway = (args: readonly string[], more: Record<string, string> = {}): Promise<Finished> =>
  attempt(process.execPath, [MAIN, ...args], { env: env(more) });

async function doctor(args: readonly string[] = [], more: Record<string, string> = {}) {
  const { code, stdout, stderr } = await slipway(['doctor', '-n', NAMESPACE, '--json', ...args], more);
  expect(stderr).toBe('');
  return { code, findings: JSON.parse(stdout) as readonly Finding[] };
}

const problems = (findings: readonly Finding[]) => findings.filter(({ state }) => state !== 'OK');

/** The only finding that is not OK. */
async function onlyProblem(args: readonly string[] = [], more: Record<string, string> = {}): Promise<Finding> {
  const { code, findings } = await doctor(args, more);
  expect(problems(findings)).toHaveLength(1);
  expect(code).toBe(1);
  return problems(findings)[0]!;
}

/** Runs the command of a finding as it was printed, and sees the doctor go green. */
async function mend(finding: Finding, args: readonly string[] = []): Promise<void> {
  await run('sh', ['-c', finding.command ?? 'exit 99'], { env: env() });
  await eventually(async () => expect(problems((await doctor(args)).findings)).toEqual([]));
}

test('a sound installation: no problem, nothing unknown, nothing changed, no secret shown', async () => {
  for (const args of [[], ['--from-secret']]) {
    const { code, findings } = await doctor(args);
    expect(problems(findings)).toEqual([]);
    expect(code).toBe(0);
    const told = new Map(findings.map(({ check, detail }) => [check, detail]));
    expect(told.get('operator')).toBe('Deployment slipway: 1 of 1 ready');
    expect(told.get('version')).toContain(VERSION);
    expect(told.get('queue acme-tasks')).toContain('poisoned: 2, see slipway poison list acme-tasks');
    expect(told.get('queue globex-tasks')).toContain('globex-tasks-poison is made when first needed');
    expect(told.get('clock of API server')).toBeDefined();
    expect(told.get('clock of storage')).toBeDefined();
    expect(JSON.stringify(findings)).not.toContain('Eby8vdM0');
  }
  expect((await queues.service.getQueueClient('acme-tasks-poison').peekMessages()).peekedMessageItems).toMatchObject([
    { dequeueCount: 0 },
  ]);
});

test('the text has one line a check, and they line up', async () => {
  const { code, stdout } = await slipway(['doctor', '-n', NAMESPACE]);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines.at(-1)).toMatch(/^\d+ OK, 0 PROBLEM, 0 UNKNOWN\.$/);
  expect(new Set(lines.slice(0, -2).map((line) => line.slice(9).search(/ {2}\S/) > 0)).has(false)).toBe(false);
  expect(lines.slice(0, -2).every((line) => /^OK {7}\S/.test(line))).toBe(true);
});

test.each([
  ['jobs', '/rules/0/verbs', 'patch', 'rights on jobs'],
  ['pods', '/rules/1/verbs', 'delete', 'rights on pods'],
])('a verb taken from the Role on %s', async (_, path, verb, check) => {
  const { rules } = await cluster.get<{ rules: { verbs: string[] }[] }>('-n', NAMESPACE, 'role/slipway');
  const verbs = rules[Number(path.split('/')[2])]!.verbs.filter((one) => one !== verb);
  const patch = JSON.stringify([{ op: 'replace', path, value: verbs }]);
  await cluster.kubectl(['-n', NAMESPACE, 'patch', 'role', 'slipway', '--type=json', '-p', patch]);
  const finding = await eventually(async () => onlyProblem());
  expect(finding).toMatchObject({ state: 'PROBLEM', check });
  expect(finding.detail).toBe(`system:serviceaccount:${NAMESPACE}:slipway may not ${verb}`);
  await mend(finding);
});

test('a Secret without its key, then one that is missing', async () => {
  const remove = '[{"op":"remove","path":"/data/connection-string"}]';
  await cluster.kubectl(['-n', NAMESPACE, 'patch', 'secret', 'slipway-storage', '--type=json', '-p', remove]);
  const keyless = await onlyProblem();
  expect(keyless).toMatchObject({ state: 'PROBLEM', check: 'storage Secret' });
  expect(keyless.detail).toContain('has not the key connection-string');
  const { findings } = await doctor(['--from-secret']);
  expect(findings.find(({ check }) => check === 'storage account')).toMatchObject({ state: 'UNKNOWN' });
  await mend(keyless, ['--from-secret']);

  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'secret', 'slipway-storage']);
  const missing = await onlyProblem();
  expect(missing.detail).toBe(`there is no Secret slipway-storage in ${NAMESPACE}`);
  await mend(missing, ['--from-secret']);
});

test('a queue that is absent: Azure’s own command would make it', async () => {
  await queues.service.deleteQueue('globex-tasks');
  const finding = await onlyProblem();
  expect(finding).toMatchObject({ state: 'PROBLEM', check: 'queue globex-tasks' });
  // There is no az here: what it is told is done by the SDK.
  const [, name = ''] =
    /^az storage queue create --name (\S+) --connection-string "\$AZURE_STORAGE_CONNECTION_STRING"$/.exec(
      finding.command ?? '',
    ) ?? [];
  await queues.create(name);
  expect(problems((await doctor()).findings)).toEqual([]);
});

test('a quota that is too small for a task, and one that demands a CPU limit', async () => {
  const quota = (hard: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'small', namespace: NAMESPACE },
    spec: { hard },
  });
  await cluster.apply(quota({ 'requests.memory': '1Gi', pods: '50' }));
  await eventually(async () => {
    const { status } = await cluster.get<{ status?: { used?: object } }>('-n', NAMESPACE, 'resourcequota/small');
    expect(status?.used).toMatchObject({ pods: '1' });
  });
  const small = await onlyProblem();
  expect(small).toMatchObject({ state: 'PROBLEM', check: 'quota' });
  expect(small.detail).toContain('small allows requests.memory 1Gi, less than one task asks for');
  await mend(small);

  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'resourcequota', 'small']);
  await cluster.apply(quota({ 'limits.cpu': '20' }));
  const limit = await onlyProblem();
  expect(limit.detail).toContain('small demands limits.cpu of every pod');
  await mend(limit);
  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'resourcequota', 'small']);
});

test('a limit range below what a task asks for', async () => {
  const spec = { limits: [{ type: 'Container', max: { cpu: '500m', memory: '1Gi' } }] };
  const metadata = { name: 'low', namespace: NAMESPACE };
  await cluster.apply({ apiVersion: 'v1', kind: 'LimitRange', metadata, spec });
  const finding = await onlyProblem();
  expect(finding).toMatchObject({ state: 'PROBLEM', check: 'limit range' });
  await mend(finding);
  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'limitrange', 'low']);
});

test('a namespace whose Pod Security level refuses a task type', async () => {
  const level = 'pod-security.kubernetes.io/enforce=restricted';
  await cluster.kubectl(['label', 'namespace', NAMESPACE, level, '--overwrite']);
  const finding = await onlyProblem();
  expect(finding).toMatchObject({ state: 'PROBLEM', check: 'pod security' });
  expect(finding.detail).toContain('task type rooted');
  await mend(finding);
});

test('an operator that was scaled down, and a configuration that it would refuse', async () => {
  await cluster.kubectl(['-n', NAMESPACE, 'scale', 'deployment/slipway', '--replicas=0']);
  const stopped = await onlyProblem();
  expect(stopped).toMatchObject({ state: 'PROBLEM', check: 'operator' });
  await mend(stopped);

  const map = ['-n', NAMESPACE, 'configmap/slipway'] as const;
  const { data } = await cluster.get<{ data: Record<string, string> }>(...map);
  const good = data['config.yaml'] ?? '';
  const set = (text: string) =>
    cluster.kubectl([
      '-n',
      NAMESPACE,
      'patch',
      'configmap',
      'slipway',
      '-p',
      JSON.stringify({ data: { 'config.yaml': text } }),
    ]);
  await set(`${good}\nlogLevl: debug\n`);
  try {
    const { code, findings } = await doctor();
    expect(code).toBe(1);
    const broken = findings.find(({ check }) => check === 'configuration');
    expect(broken).toMatchObject({ state: 'PROBLEM', detail: expect.stringContaining('"logLevl"') });
    expect(problems(findings).map(({ check, state }) => `${check} ${state}`)).toEqual([
      'configuration PROBLEM',
      'namespace UNKNOWN',
      'queues UNKNOWN',
    ]);
    // It shows all that is wrong, as `config check` does; what would be right only its author knows.
    const shown =
      broken?.command?.replace('slipway config check', `"${process.execPath}" "${MAIN}" config check`) ?? '';
    expect(await attempt('sh', ['-c', shown], { env: env() })).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('"logLevl"'),
    });
  } finally {
    await set(good);
  }
});

test('clocks that differ: this machine’s, by an injected clock', async () => {
  const access = storageAccess(azurite.connectionString, undefined);
  if (access.kind === 'invalid') throw new Error(access.problem);
  process.env['KUBECONFIG'] = cluster.kubeconfig;
  const look = (offMs: number) => {
    const clock = { ...systemClock, now: () => systemClock.now() + offMs };
    return examine(
      {
        cluster: connectCluster({ namespace: NAMESPACE }, clock, 15_000),
        environment: access,
        inspect: (of) => createQueueInspector(of, clock),
        groupsIn: () => {
          throw new Error('no task runs on Azure');
        },
        clock,
        version: VERSION,
      },
      { self: false, fromSecret: false },
    );
  };
  for (const [offMs, words] of [
    [-180_000, /(2m59s|3m|3m1s) behind both/],
    [180_000, /(2m59s|3m|3m1s) ahead of both/],
  ] as const) {
    const wrong = problems(await look(offMs));
    expect(wrong).toMatchObject([{ state: 'PROBLEM', check: 'clock', command: 'sudo timedatectl set-ntp true' }]);
    expect(wrong[0]?.detail).toMatch(words);
  }
  expect(problems(await look(10_000))).toEqual([]);
});

test('what cannot be found out is unknown and says why: a stranger, no credentials, no server', async () => {
  const admin = parse(await cluster.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'yaml'])) as {
    clusters: { name: string; cluster: { server: string } }[];
  };
  await cluster.kubectl(['-n', NAMESPACE, 'create', 'serviceaccount', 'stranger']);
  const token = (await cluster.kubectl(['-n', NAMESPACE, 'create', 'token', 'stranger'])).trim();
  const kubeconfig = async (name: string, clusters: unknown) => {
    const file = join(directory.path, `${name}.kubeconfig`);
    const context = { cluster: admin.clusters[0]?.name, user: 'u', namespace: NAMESPACE };
    const users = [{ name: 'u', user: { token } }];
    const contexts = [{ name: 'c', context }];
    await writeFile(
      file,
      stringify({ apiVersion: 'v1', kind: 'Config', clusters, users, contexts, 'current-context': 'c' }),
    );
    return file;
  };
  const nobody = { AZURE_STORAGE_CONNECTION_STRING: '' };
  const KUBECONFIG = await kubeconfig('stranger', admin.clusters);
  const { code, findings } = await doctor([], { KUBECONFIG, ...nobody });
  expect(code).toBe(0);
  const operator = findings.find(({ check }) => check === 'operator');
  expect(operator).toMatchObject({ state: 'UNKNOWN', detail: expect.stringContaining('you may not list deployments') });
  expect(findings.find(({ check }) => check === 'storage account')).toMatchObject({
    state: 'UNKNOWN',
    command: 'slipway doctor --from-secret',
  });

  // Granted command by command, the stranger sees ever more.
  for (let round = 0; round < 10; round++) {
    const refused = (await doctor([], { KUBECONFIG })).findings.filter(({ state }) => state === 'UNKNOWN');
    const commands = refused.flatMap(({ command }) => (command?.startsWith('kubectl') ? [command] : []));
    if (commands.length === 0) break;
    for (const command of commands) await run('sh', ['-c', command], { env: env() });
  }
  expect(problems((await doctor([], { KUBECONFIG })).findings)).toEqual([]);

  const gone = [{ ...admin.clusters[0], cluster: { server: 'https://127.0.0.1:9' } }];
  const unreached = await doctor([], { KUBECONFIG: await kubeconfig('gone', gone), ...nobody });
  expect(unreached.code).toBe(1);
  expect(unreached.findings.map(({ check, state }) => `${check} ${state}`)).toEqual([
    'API server PROBLEM',
    'the rest of the cluster UNKNOWN',
    'storage account UNKNOWN',
    'clock of API server UNKNOWN',
    'clock of storage UNKNOWN',
  ]);
});

test('explain: the API server’s word on the Job, the Job that is there, and the slots', async () => {
  const explain = async (...args: readonly string[]) => {
    const { code, stdout } = await slipway(['explain', message, '-n', NAMESPACE, '--json', ...args]);
    const told = JSON.parse(stdout) as { cluster: { about: string; state: string; text: string }[]; job: RawJob };
    return { code, job: told.job, word: (about: string) => told.cluster.find((one) => one.about === about) };
  };
  const id = '3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f';
  const name = jobName({ account: AZURITE_ACCOUNT, queue: 'acme-tasks', messageId: id }, 'echo');
  const before = await explain('--message-id', id);
  expect(before).toMatchObject({ code: 0, job: { metadata: { name, namespace: NAMESPACE } } });
  expect(before.word('admission')).toMatchObject({ state: 'good' });
  expect(before.word('existing')).toMatchObject({ state: 'good', text: expect.stringContaining('none yet') });
  expect(before.word('slots')).toMatchObject({ state: 'good', text: '0 of 20 tasks run (limits.maxRunning)' });

  await cluster.apply(before.job as object);
  const after = await explain('--message-id', id);
  expect(after.word('existing')?.text).toContain('and unfinished');
  expect(after.word('slots')?.text).toBe('1 of 20 tasks run (limits.maxRunning)');

  const config = join(directory.path, 'config.yaml');
  const refused = {
    ...VALUES.config,
    limits: { maxRunning: 1 },
    taskTypes: { echo: { podTemplate: { spec: { volumes: null } } } },
  };
  await writeFile(config, stringify(refused));
  const bad = await explain('--config', config);
  expect(bad.code).toBe(1);
  expect(bad.word('admission')).toMatchObject({ state: 'bad', text: expect.stringContaining('refuses this Job') });
  expect(bad.word('slots')).toMatchObject({ state: 'bad', text: expect.stringContaining('1 of 1 tasks run') });
  await cluster.kubectl(['-n', NAMESPACE, 'delete', 'job', name]);
});

test('explain --manifest is taken by kubectl as it is', async () => {
  const file = join(directory.path, 'values.yaml');
  const { code, stdout } = await slipway(['explain', message, '--config', file, '--manifest']);
  expect(code).toBe(0);
  const said = await cluster.kubectl(
    ['-n', NAMESPACE, 'apply', '--dry-run=server', '--validate=strict', '-f', '-', '-o', 'name'],
    { input: stdout },
  );
  expect(said).toMatch(/^job\.batch\/acme-echo-/);
});

test('a values file comes to the configuration that the chart mounts', async () => {
  const { data } = await cluster.get<{ data: Record<string, string> }>('-n', NAMESPACE, 'configmap/slipway');
  const mounted = parseConfig(data['config.yaml'] ?? '', {
    AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString,
    SLIPWAY_NAMESPACE: NAMESPACE,
  });
  const read = readConfig(stringify(VALUES), 'values.yaml', { account: AZURITE_ACCOUNT, namespace: NAMESPACE });
  if (read.kind === 'wrong') throw new Error(read.problems.join());
  expect(read.form).toBe('values');
  expect(read.config.file).toEqual(mounted.file);
});

test('tasks on Azure: who the operator is there, and whether it is let in', async () => {
  await using arm = await startArm({ clock: systemClock });
  const group = (namespace: string) => ({
    location: 'westeurope',
    tags: { 'slipway-namespace': namespace },
    properties: {
      osType: 'Linux' as const,
      containers: [{ name: 'task', properties: { image: 'i', resources: { requests: { cpu: 1, memoryInGB: 1 } } } }],
    },
  });
  arm.plant('own', group(NAMESPACE));
  arm.plant('other', group('elsewhere'));
  const aci = {
    subscriptionId: '11111111-1111-4111-8111-111111111111',
    resourceGroup: 'tasks',
    location: 'westeurope',
    endpoint: arm.url,
  };
  const upgrade = async (azure: object) => {
    const values = join(directory.path, 'azure.yaml');
    await writeFile(
      values,
      stringify({ ...VALUES, config: { ...VALUES.config, taskTypes: { echo: { backend: 'aci' } }, aci }, azure }),
    );
    await cluster.helm(['upgrade', 'slipway', CHART, '-n', NAMESPACE, '-f', values, '--wait', '--force-conflicts']);
  };
  const ofAzure = async (...args: string[]) => {
    const { findings } = await doctor(args);
    return findings.filter(({ check }) => check.startsWith('Azure'));
  };

  await upgrade({});
  expect(await ofAzure('--self')).toEqual([
    {
      state: 'OK',
      check: 'Azure identity',
      detail: 'that of the node: neither azure.clientId nor azure.existingSecret is set',
    },
    {
      state: 'OK',
      check: 'Azure',
      detail: `resource group tasks: 2 container groups, 1 of them of tasks of ${NAMESPACE}; aci.limits.groups is 100. Making and deleting one is not tried`,
    },
  ]);
  expect((await ofAzure())[1]).toMatchObject({
    state: 'OK',
    detail: expect.stringContaining('Asked as who you are in Azure, not as the operator'),
    command: `kubectl -n ${NAMESPACE} exec deploy/slipway -- node /app/cli/slipway.mjs doctor --self`,
  });
  arm.use(() => ({ status: 403, code: 'AuthorizationFailed', message: 'The client does not have authorization' }));
  expect((await ofAzure('--self'))[1]).toMatchObject({
    state: 'PROBLEM',
    detail: expect.stringContaining('AuthorizationFailed (HTTP 403): The client does not have authorization'),
    command: expect.stringMatching(/^az role assignment create --role "Slipway tasks" --scope \S+\/tasks --assignee/),
  });
  // Of the operator that says nothing.
  expect((await ofAzure())[1]).toMatchObject({ state: 'UNKNOWN', command: expect.stringContaining('doctor --self') });
  arm.use(() => ({
    status: 404,
    code: 'ResourceGroupNotFound',
    message: "Resource group 'tasks' could not be found.",
  }));
  expect((await ofAzure())[1]).toMatchObject({
    state: 'PROBLEM',
    command: `az group create --subscription ${aci.subscriptionId} -n tasks -l westeurope`,
  });
  arm.use(undefined);

  // No webhook gives the pods a token here.
  await upgrade({ clientId: '22222222-2222-4222-8222-222222222222' });
  expect((await ofAzure('--self'))[0]).toMatchObject({
    state: 'PROBLEM',
    check: 'Azure identity',
    detail: expect.stringContaining('has not been given its token'),
    command: `kubectl -n ${NAMESPACE} rollout restart deployment/slipway`,
  });
  await upgrade({ existingSecret: 'slipway-azure' });
  const [missing] = await ofAzure('--self');
  expect(missing).toMatchObject({ state: 'PROBLEM', detail: `there is no Secret slipway-azure in ${NAMESPACE}` });
  const keys = ['AZURE_TENANT_ID', 'AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET'].map(
    (key) => `--from-literal=${key}=hidden`,
  );
  await cluster.kubectl(['-n', NAMESPACE, 'create', 'secret', 'generic', 'slipway-azure', ...keys.slice(0, 2)]);
  const [incomplete] = await ofAzure('--self');
  expect(incomplete?.detail).toContain('has not the key AZURE_CLIENT_SECRET that the Deployment names');
  await run('sh', ['-c', incomplete?.command ?? 'exit 99'], { env: env({ AZURE_CLIENT_SECRET: 'hidden' }) });
  expect((await ofAzure('--self'))[0]).toEqual({
    state: 'OK',
    check: 'Azure Secret',
    detail: 'Secret slipway-azure has AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET',
  });
});
