/** What a real API server says to the chart's objects, and what the operator's account may do there. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ACI_PERMISSIONS, PERMISSIONS } from '#/operator/permissions.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { CHART, DOCUMENTS, EXAMPLE, ON_AZURE, pathOf, podOf, render } from './chart.ts';
import { rightsIn } from './rights.ts';

const TRIED = 'slipway-chart-tried';
const INSTALLED = 'slipway-chart-installed';
const OPERATOR = `system:serviceaccount:${INSTALLED}:slipway`;
const STRICT = ['--dry-run=server', '--validate=strict', '--warnings-as-errors'];

let cluster: ControlPlane;
beforeAll(async () => {
  cluster = await startControlPlane();
  const levels = ['enforce', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']);
  const labels = Object.fromEntries(levels);
  const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  await cluster.apply(namespace(TRIED), namespace(INSTALLED));
});
afterAll(async () => {
  await cluster.kubectl(['delete', 'namespace', TRIED, INSTALLED, '--wait=false']);
  await cluster[Symbol.asyncDispose]();
});

test.each([
  ['the example', []],
  ['storage by SAS', ['--set', 'storage.access=sas-url']],
  ['the longest name', [], 'x'.repeat(53)],
  ['a service account of theirs', ['--set', 'serviceAccount.create=false,serviceAccount.name=theirs']],
  ['two replicas', ['--set', 'replicas=2']],
  ['queues by pattern', ['--set-json', 'config.queues=[]', '--set-json', 'config.discovery={}']],
  ['no network policy', ['--set', 'networkPolicy.enabled=false']],
  ['tasks on Azure', ON_AZURE],
  ['documents', DOCUMENTS],
  ['tasks on Azure, by a service principal', [...ON_AZURE, '--set', 'azure.clientId=,azure.existingSecret=principal']],
  [
    'everything set',
    [
      '--set',
      'config.webhook.signingSecret.name=a,config.webhook.signingSecret.key=b,imagePullSecrets[0].name=c,replicas=0',
      '--set',
      'podLabels.a=b,podAnnotations.a=b,nodeSelector.a=b,tolerations[0].operator=Exists,serviceAccount.annotations.a=b',
      '--set-json',
      'affinity={"podAffinity":{}}',
    ],
  ],
])('%s: taken without a warning, under pod security restricted', async (_, args, release = 'slipway') => {
  const objects = await render(args, release, TRIED);
  const { metadata, spec } = podOf(objects);
  // Pod security judges pods, so the Deployment's is tried too; its account must be there for that.
  const account = { name: spec.serviceAccountName, namespace: TRIED };
  await cluster.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: account });
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: 'probe', namespace: TRIED }, spec };
  const items = [...objects, pod];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const taken = await cluster.kubectl(['apply', ...STRICT, '-f', '-', '-o', 'name'], { input });
  expect(taken.trim().split('\n')).toHaveLength(items.length);
});

test('scaled to zero, the CronJob is taken too', async () => {
  const objects = await render(['--set', 'scaleToZero.schedule=*/5 * * * *'], 'slipway', TRIED);
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  expect(await cluster.kubectl(['apply', ...STRICT, '-f', '-', '-o', 'name'], { input })).toContain(
    'cronjob.batch/slipway',
  );
});

test('manifests/slipway.yaml is taken as it is', async () => {
  const text = await readFile(pathOf('manifests/slipway.yaml'), 'utf8');
  const input = text.replaceAll('namespace: slipway\n', `namespace: ${TRIED}\n`);
  await cluster.kubectl(['apply', ...STRICT, '-f', '-'], { input });
});

test('installed: the pod is admitted, its account may do what it needs and nothing else, and nothing stays', async () => {
  const said = await cluster.helm(['install', 'slipway', CHART, '-n', INSTALLED, ...EXAMPLE]);
  expect(said).toContain('STATUS: deployed');
  const pods = () => cluster.kubectl(['get', 'pods', '-n', INSTALLED, '-o', 'name']);
  await expect.poll(pods, { timeout: 30_000 }).toMatch(/^pod\/slipway-/);

  const granted = PERMISSIONS.flatMap(({ group, resource, verbs }) =>
    verbs.map((verb) => `${verb} ${resource}.${group}`),
  );
  expect(await rightsIn(cluster, INSTALLED, OPERATOR)).toEqual(granted.sort());
  expect(await rightsIn(cluster, 'default', OPERATOR)).toEqual([]);

  await cluster.helm(['upgrade', 'slipway', CHART, '-n', INSTALLED, ...EXAMPLE, '--set', 'config.logLevel=debug']);
  await cluster.helm(['uninstall', 'slipway', '-n', INSTALLED]);
  const kinds = 'deployment,configmap,role,rolebinding,networkpolicy,serviceaccount';
  const left = ['get', kinds, '-n', INSTALLED, '-l', 'app.kubernetes.io/instance=slipway', '-o', 'name'];
  expect(await cluster.kubectl(left)).toBe('');
});

test('with tasks on Azure the account may do what that needs besides, and read the Secrets that the values name', async () => {
  const onlyRights = ['--set', 'replicas=0', '--show-only', 'templates/role.yaml'];
  const objects = await render([...ON_AZURE, ...onlyRights], 'slipway', INSTALLED);
  await cluster.kubectl(['apply', '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
  });
  const account = { name: 'slipway', namespace: INSTALLED };
  await cluster.apply({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: account,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'slipway' },
    subjects: [{ kind: 'ServiceAccount', ...account }],
  });
  const may = async (verb: string, resource: string, name?: string, group = '') => {
    const resourceAttributes = { namespace: INSTALLED, verb, group, resource, ...(name === undefined ? {} : { name }) };
    const spec = { user: OPERATOR, resourceAttributes };
    const input = JSON.stringify({ apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec });
    return (await cluster.kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.allowed}'], { input })) === 'true';
  };
  const granted = [...PERMISSIONS, ...ACI_PERMISSIONS.filter(({ namedBy }) => namedBy === undefined)];
  const named = ACI_PERMISSIONS.filter(({ namedBy }) => namedBy !== undefined).map(({ resource }) => resource);
  expect(await rightsIn(cluster, INSTALLED, OPERATOR)).toEqual(
    granted.flatMap(({ group, resource, verbs }) => verbs.map((verb) => `${verb} ${resource}.${group}`)).sort(),
  );
  expect(named).toContain('secrets');
  for (const secret of ['openai', 'slipway-storage']) expect(await may('get', 'secrets', secret), secret).toBe(true);
  expect(await may('get', 'secrets', 'another')).toBe(false);
  expect(await may('list', 'secrets')).toBe(false);
  expect(await may('patch', 'deployments', 'slipway', 'apps')).toBe(false);
});
