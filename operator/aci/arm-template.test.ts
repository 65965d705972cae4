import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import { expect, test } from 'vitest';
import { faultsOf } from '../../testing/arm/description.ts';
import { armTemplate } from './arm-template.ts';

const PLACE = { location: 'westeurope', identities: [], registries: [] };

function rendered(task: Partial<V1Container>, spec: Partial<V1PodSpec> = {}) {
  const container = { name: 'task', image: 'registry.example/i:1', ...task };
  const job = { metadata: { name: 'acme-x' }, spec: { template: { spec: { containers: [container], ...spec } } } };
  const made = armTemplate(job, PLACE, {});
  if (made.kind === 'incomplete') throw new Error(JSON.stringify(made.missing));
  return { ...made, group: made.template.resources[0], parameters: made.template.parameters };
}
const values = (task: Partial<V1Container>) =>
  rendered(task).group.properties.containers[0].properties.environmentVariables.map(
    (one) => Object.entries(one).find(([key]) => key !== 'name')?.[1],
  );
const secretKey = (name: string, key: string) => ({ secretKeyRef: { name, key } });

test('a group fits the official description, but for what makes it a resource of a template', () => {
  const { group } = rendered(
    {
      env: [{ name: 'KEY', valueFrom: secretKey('openai', 'key') }],
      volumeMounts: [{ name: 'keys', mountPath: '/k' }],
    },
    { volumes: [{ name: 'keys', secret: { secretName: 'a', items: [{ key: 'b', path: 'c' }] } }] },
  );
  const { type, apiVersion, name, ...body } = group;
  expect([type, apiVersion, name]).toEqual(['Microsoft.ContainerInstance/containerGroups', '2023-05-01', 'acme-x']);
  expect(faultsOf('ContainerGroup', 'request', body)).toEqual([]);
});

test('keys of Secrets and ConfigMaps are parameters, wherever they have gone', () => {
  const { parameters, group } = rendered(
    {
      command: ['run', '--region=$(REGION)'],
      env: [
        { name: 'KEY', valueFrom: secretKey('openai', 'api.key') },
        { name: 'HEADER', value: "Bearer $(KEY), it's" },
        { name: 'REGION', valueFrom: { configMapKeyRef: { name: 'place', key: 'region' } } },
      ],
    },
    {
      volumes: [{ name: 'certs', secret: { secretName: 'tls', items: [{ key: 'ca', path: 'ca.crt' }] } }],
      imagePullSecrets: [{ name: 'pull' }],
    },
  );
  expect(Object.entries(parameters).map(([name, { type }]) => `${name}: ${type}`)).toEqual([
    'openai-api-key: secureString',
    'place-region: string',
    'tls-ca: secureString',
    'pull-username: secureString',
    'pull-password: secureString',
  ]);
  const { containers, volumes, imageRegistryCredentials } = group.properties;
  expect(containers[0].properties.environmentVariables).toEqual([
    { name: 'KEY', secureValue: "[parameters('openai-api-key')]" },
    { name: 'HEADER', secureValue: "[concat('Bearer ', parameters('openai-api-key'), ', it''s')]" },
    { name: 'REGION', value: "[parameters('place-region')]" },
  ]);
  expect(containers[0].properties.command).toEqual(['run', "[concat('--region=', parameters('place-region'))]"]);
  expect(volumes).toEqual([{ name: 'certs', secret: { 'ca.crt': "[base64(parameters('tls-ca'))]" } }]);
  expect(imageRegistryCredentials).toEqual([
    {
      server: 'registry.example',
      username: "[parameters('pull-username')]",
      password: "[parameters('pull-password')]",
    },
  ]);
});

test('two keys never become one parameter', () => {
  const env = [
    { name: 'A', valueFrom: secretKey('a-b', 'c') },
    { name: 'B', valueFrom: secretKey('a', 'b.c') },
    { name: 'C', valueFrom: secretKey('a', 'b.c') },
  ];
  expect(values({ env })).toEqual(["[parameters('a-b-c')]", "[parameters('a-b-c-2')]", "[parameters('a-b-c-2')]"]);
});

test('a message that looks like a parameter is text, and gets no Secret', () => {
  const hostile = (at: number) => `\u{F0000}${at}:openai-key\u{F0001}`;
  const annotations = { data: `${hostile(0)} ${hostile(1)}'` };
  const env = [
    { name: 'KEY', valueFrom: secretKey('openai', 'key') },
    { name: 'DATA', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['data']" } } },
  ];
  const spec = { containers: [{ name: 'task', image: 'i', env }] };
  const made = armTemplate({ spec: { template: { metadata: { annotations }, spec } } }, PLACE, {});
  expect(made).toMatchObject({ kind: 'template' });
  const [group] = made.kind === 'template' ? made.template.resources : [];
  expect(group?.properties.containers[0].properties.environmentVariables).toEqual([
    { name: 'KEY', secureValue: "[parameters('openai-key')]" },
    { name: 'DATA', secureValue: annotations.data },
  ]);
});

test('what looks like an expression is none', () => {
  const env = ['[1]', '[1', '[concat(1)] ', ''].map((value, at) => ({ name: `V${at}`, value }));
  expect(values({ env })).toEqual(['[[1]', '[1', '[concat(1)] ', '']);
});

test('says whose keys are not known, and leaves them out', () => {
  const { leftOut, group } = rendered(
    { envFrom: [{ secretRef: { name: 'database' } }] },
    { volumes: [{ name: 'files', configMap: { name: 'files' } }] },
  );
  expect(leftOut).toEqual([
    'spec.containers[0].envFrom[0]: which keys the Secret database has is not known here; add them yourself',
    'spec.volumes[0]: which keys the ConfigMap files has is not known here; add them yourself',
  ]);
  expect(group.properties.volumes).toEqual([{ name: 'files', secret: {} }]);
});
