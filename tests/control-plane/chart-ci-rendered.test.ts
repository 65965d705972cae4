/** What helm makes of CI types, without a cluster: then nothing is looked up. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configOfValues } from '#/cli/chart-values.ts';
import { parseConfig } from '#/operator/config.ts';
import { CHART, CI, configOf, EXAMPLE, helm, notes, pathOf, type Rendered, refusal, render } from './chart.ts';

const names = (objects: readonly Rendered[]) =>
  objects.map(({ kind, metadata: { name, namespace } }) => `${kind} ${namespace}/${name}`).sort();

/** The arguments for some CI types, in place of the example's. */
const types = (all: Readonly<Record<string, object | null>>, ...more: readonly string[]) => [
  ...['--set-json', `config.taskTypes=${JSON.stringify(all)}`],
  ...more,
];
const ci = (settings: object = {}) => ({ ci: { images: 'registry.example.com/ci', ...settings } });

test('lint --strict passes with the example', async () => {
  expect(await helm(['lint', '--strict', CHART, ...CI])).toContain('0 chart(s) failed');
});

test('the example is a configuration that the operator takes', async () => {
  const { policies } = parseConfig(configOf(await render(CI)), {
    AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true',
    SLIPWAY_NAMESPACE: 'jobs',
  });
  expect(policies.get('ci')).toMatchObject({
    serviceAccountName: 'slipway-ci',
    env: [],
    ci: {
      namespace: 'ci',
      registrySecret: 'registry',
      gitSecret: 'git',
      gitHosts: ['github.com'],
      report: { env: [{}] },
    },
  });
});

test('the example: rights, an account and a policy in the namespace of its type', async () => {
  expect(names(await render(CI, 'prod'))).toEqual([
    'ConfigMap jobs/prod-slipway',
    'Deployment jobs/prod-slipway',
    'NetworkPolicy ci/prod-slipway-ci',
    'NetworkPolicy jobs/prod-slipway',
    'NetworkPolicy jobs/prod-slipway-tasks',
    'Role ci/prod-slipway',
    'Role jobs/prod-slipway',
    'RoleBinding ci/prod-slipway',
    'RoleBinding jobs/prod-slipway',
    'ServiceAccount ci/prod-slipway-ci',
    'ServiceAccount jobs/prod-slipway',
  ]);
});

test('without CI types every object is as it was', async () => {
  const plain = await render();
  expect(await render(['--set', 'networkPolicy.ci.allow={10.0.0.0/8},ciServiceAccount.annotations.a=b'])).toEqual(
    plain,
  );
});

test('each namespace has them once, the release’s has rights already, and an account of the type’s own is not made', async () => {
  const objects = await render(
    types({
      a: ci({ namespace: 'x' }),
      b: ci({ namespace: 'x' }),
      c: { serviceAccountName: 'mine', ...ci({ namespace: 'y' }) },
      d: ci(),
      e: ci({ namespace: 'jobs' }),
      echo: {},
    }),
  );
  const added = new Set(names(objects)).difference(new Set(names(await render())));
  expect([...added]).toEqual([
    'NetworkPolicy jobs/slipway-ci',
    'NetworkPolicy x/slipway-ci',
    'NetworkPolicy y/slipway-ci',
    'Role x/slipway',
    'Role y/slipway',
    'RoleBinding x/slipway',
    'RoleBinding y/slipway',
    'ServiceAccount jobs/slipway-ci',
    'ServiceAccount x/slipway-ci',
  ]);
  expect(names(objects)).toHaveLength(new Set(names(objects)).size);
  const accounts = Object.entries(
    parse(configOf(objects)).taskTypes as Record<string, { serviceAccountName?: string }>,
  );
  expect(Object.fromEntries(accounts.map(([type, { serviceAccountName }]) => [type, serviceAccountName]))).toEqual({
    ...{ a: 'slipway-ci', b: 'slipway-ci', c: 'mine', d: 'slipway-ci', e: 'slipway-ci' },
    ...{ echo: undefined, 'document-processing': undefined },
  });
});

test('the operator is bound by its own account, whatever its name; nobody mounts the token of the CI account', async () => {
  const objects = await render([...CI, '--set', 'serviceAccount.name=mine,ciServiceAccount.annotations.a=b']);
  const inCi = (kind: string) => objects.find((one) => one.kind === kind && one.metadata.namespace === 'ci');
  expect(inCi('RoleBinding')).toMatchObject({ subjects: [{ name: 'mine', namespace: 'jobs' }] });
  expect(inCi('ServiceAccount')).toMatchObject({
    automountServiceAccountToken: false,
    metadata: { annotations: { a: 'b' } },
  });
});

describe('refused in a sentence, as the operator would', () => {
  const git = { gitSecret: 'git', gitHosts: ['github.com'] };
  test.each<[string, object, string]>([
    [
      'ci.gitSecret',
      ci({ gitSecret: 'git' }),
      'gitSecret = git, and gitHosts is not set: the Secret would be sent to no host. Set config.taskTypes.unit.ci.gitHosts',
    ],
    [
      'ci.gitHosts',
      ci({ gitHosts: ['github.com'] }),
      'gitHosts is set, and gitSecret is not: there is nothing to send to these hosts. Set config.taskTypes.unit.ci.gitSecret',
    ],
    ['image', { image: 'r.example.com/a:1', ...ci() }, 'image is set beside ci'],
    ['runner', { runner: 'foreign', ...ci() }, 'runner is set beside ci'],
    ['command', { command: ['make'], ...ci() }, 'command is set beside ci'],
    ['args', { args: [], ...ci() }, 'args is set beside ci'],
    ['security', { security: 'baseline', ...ci() }, 'security = baseline, beside ci'],
    ['webhook', { webhook: 'task', ...ci() }, 'webhook = task, beside ci'],
    ['backend', { backend: 'aci', ...ci() }, 'backend = aci, beside ci'],
  ])('%s', async (field, type, sentence) => {
    const said = await refusal([...EXAMPLE, ...types({ unit: type, fine: ci(git) })]);
    expect(said).toContain('The values have a problem:');
    expect(said).toContain(`  - config.taskTypes.unit.${field.startsWith('ci.') ? 'ci.' : ''}${sentence}`);
    // The operator refuses the same field.
    const config = (unit: object) =>
      JSON.stringify({ queues: [{ name: 'acme-tasks' }], runner: { image: 'r:1' }, taskTypes: { unit } });
    const environment = { AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true', SLIPWAY_NAMESPACE: 'jobs' };
    expect(() => parseConfig(config(ci(git)), environment)).not.toThrow();
    expect(() => parseConfig(config(type), environment)).toThrow(`taskTypes.unit.${field}`);
  });

  test('what stands at its default is none', async () => {
    const type = { security: 'restricted', webhook: 'operator', backend: 'kubernetes', ...ci(git) };
    expect(await refusal([...EXAMPLE, ...types({ unit: type })])).toBe('accepted');
  });
});

describe('storage', () => {
  const env = (name: string) => [
    { name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: { secretKeyRef: { name, key: 'connection-string' } } },
  ];
  const configured = async (all: Readonly<Record<string, object>>, ...more: readonly string[]) =>
    parse(configOf(await render(types(all, ...more)))).taskTypes;

  test('goes to the reporter of a CI type, and not to its tests', async () => {
    const other = { name: 'LANG', value: 'de' };
    const all = { ci: { env: [other], ...ci({ report: { env: [other] } }) }, bare: ci(), not: ci() };
    const given = await configured(all, '--set', 'storage.taskTypes={ci,bare}');
    expect(given.ci).toMatchObject({ env: [other], ci: { report: { env: [other, ...env('slipway-storage')] } } });
    expect(given.bare).toEqual({
      ...ci({ report: { env: env('slipway-storage') } }),
      serviceAccountName: 'slipway-ci',
    });
    expect(given.not).toEqual({ ...ci(), serviceAccountName: 'slipway-ci' });
  });

  test('is the type’s own where its reporter names one', async () => {
    const own = ci({ report: { env: env('reports') } });
    expect((await configured({ ci: own }, '--set', 'storage.taskTypes={ci}')).ci.ci).toEqual(own.ci);
  });

  test('is not shared where it is a SAS', async () => {
    const given = await configured({ ci: ci() }, '--set', 'storage.access=sas-url,storage.taskTypes={ci}');
    expect(given.ci.ci).toEqual(ci().ci);
  });

  test('the command line reads the same out of the values', async () => {
    const values = parse(await readFile(pathOf('charts/slipway/examples/ci.yaml'), 'utf8')) as { config: object };
    expect(configOfValues(values)).toMatchObject({ taskTypes: parse(configOf(await render(CI))).taskTypes });
  });
});

describe('network policy', () => {
  const policyOf = async (...args: readonly string[]) =>
    (await render([...CI, ...args])).find(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'ci',
    );

  test('DNS, what is public, and what the values open', async () => {
    const policy = await policyOf('--set', 'networkPolicy.ci.deny={203.0.113.0/28,2001:db8::1/128}');
    expect(policy?.spec).toEqual({
      podSelector: { matchLabels: { 'app.kubernetes.io/managed-by': 'slipway', 'slipway.dev/kind': 'ci' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [
        {
          to: [
            { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } },
            { ipBlock: { cidr: '169.254.20.10/32' } },
          ],
          ports: [
            { port: 53, protocol: 'UDP' },
            { port: 53, protocol: 'TCP' },
          ],
        },
        {
          to: [
            {
              ipBlock: {
                cidr: '0.0.0.0/0',
                except: [
                  ...['10.0.0.0/8', '100.64.0.0/10', '168.63.129.16/32', '169.254.0.0/16', '172.16.0.0/12'],
                  ...['192.168.0.0/16', '203.0.113.0/28'],
                ],
              },
            },
            { ipBlock: { cidr: '::/0', except: ['fc00::/7', 'fe80::/10', '2001:db8::1/128'] } },
          ],
        },
        { to: [{ ipBlock: { cidr: '10.245.12.0/24' } }] },
      ],
    });
  });

  test('opens nothing besides where the values open nothing', async () => {
    const policy = await policyOf('--set-json', 'networkPolicy.ci.allow=[]');
    expect(policy).toMatchObject({ spec: { egress: [{}, {}] } });
  });

  test('none where there are to be none', async () => {
    const objects = await render([...CI, '--set', 'networkPolicy.enabled=false']);
    expect(objects.filter(({ kind }) => kind === 'NetworkPolicy')).toEqual([]);
  });

  test.each([
    ['networkPolicy.ci.deny={::/0}', 'networkPolicy.ci.deny has ::/0: nothing public would be left'],
    ['networkPolicy.ci.deny={0.0.0.0/0}', 'networkPolicy.ci.deny has 0.0.0.0/0: nothing public would be left'],
  ])('%s is refused in a sentence', async (setting, sentence) => {
    expect(await refusal([...EXAMPLE, '--set', setting])).toContain(sentence);
  });

  test.each(['deny', 'allow'])('%s takes CIDRs of both families, and nothing else', async (list) => {
    const say = (entry: string) => refusal([...EXAMPLE, '--set', `networkPolicy.ci.${list}={${entry}}`]);
    for (const good of ['10.0.0.0/8', '203.0.113.1/32', '2001:db8::/32', '64:ff9b::192.0.2.1/128'])
      expect(await say(good), good).toBe('accepted');
    for (const bad of ['10.0.0.1', '10.0.0.0/33', '::/129', 'git.example.com', '2001:db8::'])
      expect(await say(bad), bad).toContain(`at '/networkPolicy/ci/${list}/0': '${bad}' does not match pattern`);
  });
});

describe('notes', () => {
  test('name the Secrets that have to be in the namespace, as a command that says which are not', async () => {
    expect(await notes(CI)).toContain(
      'CI tasks run in the namespace ci, where the Secrets that they and config.runner.imagePullSecrets name have to be:\n\n  kubectl -n ci get secret git registry slipway-storage\n',
    );
    expect(await notes([...CI, '--set', 'config.runner.imagePullSecrets={pull}'])).toContain(
      'kubectl -n ci get secret git pull registry slipway-storage\n',
    );
    const further = { env: [{ name: 'A', value: 'a' }], envFrom: [{ secretRef: { name: 'reports' } }] };
    const all = { ci: { envFrom: [{ secretRef: { name: 'tests' } }], ...ci({ report: further }) } };
    expect(await notes(types(all))).toContain('kubectl -n jobs get secret reports tests\n');
    expect(await notes(types({ ci: ci({ namespace: 'x' }) }))).toContain('CI tasks run in the namespace x.\n');
    expect(await notes()).not.toContain('CI tasks');
  });

  test('ask for tasks in every namespace, and watch the one of the first message', async () => {
    const said = await notes(CI);
    expect(said).toMatch(/slipway\.mjs tasks -n jobs,ci\n.*slipway\.mjs why -n jobs,ci TASK\n/);
    expect(said).toContain('kubectl -n jobs get jobs ');
    const noOther = ['--set', 'config.taskTypes.echo=null,config.taskTypes.document-processing=null'];
    expect(await notes([...CI, ...noOther, '--set', 'storage.taskTypes={ci}'])).toContain('kubectl -n ci get jobs ');
    expect(await notes(types({ ci: ci() }))).toMatch(/slipway\.mjs tasks\n.*slipway\.mjs why TASK\n/);
  });

  test('name what queues are found where none is named', async () => {
    const found = await notes([...CI, '--set', 'config.queues=null']);
    expect(found).toContain('as one Job: those of the account that fit *-tasks\n');
    expect(found).toContain('into a queue named {client}-tasks, such as acme-tasks; make it if it is not there:\n');
    const some = await notes(['--set', 'config.discovery.include={acme-*,bolt-*}']);
    expect(some).toContain('as one Job: acme-tasks and those of the account that fit acme-*, bolt-*\n');
    expect(some).toContain('into acme-tasks:\n');
  });

  test('a first message that a CI type takes, where there is no other type', async () => {
    const only = types({ echo: null, 'document-processing': null, ci: ci() }, '--set', 'storage.taskTypes={ci}');
    const said = await notes(only);
    expect(JSON.parse(/--content '(.*)'/.exec(said)?.[1] ?? '')).toMatchObject({
      task_type: 'ci',
      payload: { repository: 'https://git.example.com/acme/app.git', ref: 'main', test: { command: 'make test' } },
    });
  });

  test.each([
    ['networkPolicy.enabled=false', 'networkPolicy.enabled is false: CI tasks can reach every pod, the API server'],
    [
      'networkPolicy.ci.allow={0.0.0.0/0}',
      'networkPolicy.ci.allow has 0.0.0.0/0: CI tasks can reach the metadata service',
    ],
    [
      'networkPolicy.ci.allow={169.254.169.254/32}',
      'networkPolicy.ci.allow has 169.254.169.254/32: CI tasks can reach the',
    ],
    [
      'storage.access=sas-url',
      'tasks of type ci get no connection string: a SAS for queues opens no Blob storage. Give them their own in config.taskTypes.ci.ci.report.env',
    ],
  ])('warn of %s', async (setting, warning) => {
    expect(await notes([...CI, '--set', setting])).toMatch(new RegExp(`^Warning: .*${RegExp.escape(warning)}`, 'm'));
    expect(await notes(['--set', setting])).not.toContain(warning);
  });
});
