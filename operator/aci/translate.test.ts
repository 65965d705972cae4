import type { V1Container, V1PodSpec, V1PodTemplateSpec } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { faultsOf } from '../../testing/arm/description.ts';
import { testConfig, testPolicy, testTask } from '../../testing/jobs.ts';
import { manifest } from '../jobs/manifest.ts';
import type { ContainerGroup } from './container-group.ts';
import type { Sources } from './environment.ts';
import { type Place, translate } from './translate.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const SECRETS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  openai: { key: base64('sk-hidden') },
  database: { URL: base64('postgres://hidden'), PASSWORD: base64('hidden too') },
  registry: {
    '.dockerconfigjson': base64(
      JSON.stringify({
        auths: {
          'registry.example': { username: 'puller', password: 'hidden' },
          'https://index.docker.io/v1/': { auth: base64('hub:hid:den') },
          'acme.azurecr.io': { username: 'unused', password: 'unused' },
        },
      }),
    ),
  },
};
const CONFIG_MAPS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  settings: { MODE: 'fast', 'ca.pem': '-----BEGIN' },
};
const sources: Sources = {
  secret: (name) => SECRETS[name],
  configMap: (name) => CONFIG_MAPS[name],
  field: (path) => (path.startsWith('metadata.') ? `value of ${path}` : undefined),
};
const PLACE: Place = { location: 'westeurope', identities: [], registries: [] };
const IDENTITY = '/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/puller';
const FULL: Place = {
  location: 'westeurope',
  identities: [IDENTITY.replace('puller', 'task')],
  registries: [{ server: 'acme.azurecr.io', identity: IDENTITY }],
  subnetId: '/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/tasks',
  zone: '1',
  priority: 'Regular',
  logAnalytics: { workspaceId: 'w', workspaceKey: 'hidden' },
};

const pod = (task: Partial<V1Container>, spec: Partial<V1PodSpec> = {}): V1PodTemplateSpec => ({
  spec: { containers: [{ name: 'task', image: 'i', ...task }], ...spec },
});
function group(template: V1PodTemplateSpec, place = PLACE): ContainerGroup {
  const translation = translate(template, place, {}, sources);
  if (translation.kind === 'incomplete') throw new Error(JSON.stringify(translation.missing));
  return translation.group;
}
const missing = (template: V1PodTemplateSpec) => {
  const translation = translate(template, PLACE, {}, sources);
  return translation.kind === 'incomplete' ? translation.missing.map(({ field, reason }) => `${field}: ${reason}`) : [];
};
const task = (...args: Parameters<typeof pod>) => group(pod(...args)).properties.containers[0].properties;

const everything = `
runner: { image: acme.azurecr.io/runner:1, imagePullSecrets: [registry] }
webhook: { allow: [10.0.0.0/8], signingSecret: { name: openai, key: key } }
taskTypes:
  document-processing:
    command: [/worker, --region=$(REGION)]
    args: [--fast, $$(REGION)]
    resources: { cpu: 1500m, memory: 4Gi }
    env:
      - { name: REGION, value: eu }
      - { name: DSN, value: $(DB_URL)?sslmode=require }
      - { name: OPENAI_API_KEY, valueFrom: { secretKeyRef: { name: openai, key: key } } }
      - { name: MODE_AGAIN, valueFrom: { configMapKeyRef: { name: settings, key: MODE } } }
    envFrom: [{ prefix: DB_, secretRef: { name: database } }]
    podTemplate:
      spec:
        initContainers: [{ name: fetch, image: busybox, command: [wget, x], volumeMounts: [{ name: tmp, mountPath: /tmp }] }]
        containers:
          - { name: task, volumeMounts: [{ name: certs, mountPath: /etc/certs, readOnly: true }, { name: keys, mountPath: /keys }] }
        volumes:
          - { name: certs, configMap: { name: settings, items: [{ key: ca.pem, path: ca.crt }] } }
          - { name: keys, secret: { secretName: database } }
`;

describe('what Slipway renders', () => {
  test.each<[string, string, string, Place]>([
    ['echo', 'taskTypes: { echo: {} }', 'echo', PLACE],
    ['everything', everything, 'document-processing', FULL],
  ])('%s', async (name, config, type, place) => {
    const context = { namespace: 'slipway', instance: 'slipway', installation: 'i', configHash: 'h' };
    const job = manifest(testTask({ taskType: type }), testPolicy(testConfig(config), type), context);
    const translated = translate(job.spec!.template, place, { 'slipway-job': 'acme-x' }, sources);
    if (translated.kind === 'incomplete') throw new Error(JSON.stringify(translated.missing));
    expect(faultsOf('ContainerGroup', 'request', translated.group)).toEqual([]);
    await expect(stringify(translated.group, { lineWidth: 0 })).toMatchFileSnapshot(`golden/${name}.yaml`);
  });
});

describe('the environment', () => {
  const env = (container: Partial<V1Container>) => task(container).environmentVariables;

  test('a secret is secure, wherever it has gone; what comes of a message too', () => {
    expect(
      env({
        env: [
          { name: 'PLAIN', value: 'a' },
          { name: 'KEY', valueFrom: { secretKeyRef: { name: 'openai', key: 'key' } } },
          { name: 'HEADER', value: 'Bearer $(KEY)' },
          { name: 'DATA', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['d']" } } },
          { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        ],
      }),
    ).toEqual([
      { name: 'PLAIN', value: 'a' },
      { name: 'KEY', secureValue: 'sk-hidden' },
      { name: 'HEADER', secureValue: 'Bearer sk-hidden' },
      { name: 'DATA', secureValue: "value of metadata.annotations['d']" },
      { name: 'NAME', value: 'value of metadata.name' },
    ]);
  });

  test('what comes of a message is not expanded', () => {
    const hostile: Sources = { ...sources, field: () => '$(KEY)' };
    const template = pod({
      env: [
        { name: 'KEY', valueFrom: { secretKeyRef: { name: 'openai', key: 'key' } } },
        { name: 'DATA', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['d']" } } },
      ],
    });
    const translation = translate(template, PLACE, {}, hostile);
    expect(translation).toMatchObject({
      group: {
        properties: { containers: [{ properties: { environmentVariables: [{}, { secureValue: '$(KEY)' }] } }] },
      },
    });
  });

  test('a later name wins, and env over envFrom; a key that cannot be a name is left out', () => {
    expect(
      env({
        envFrom: [{ configMapRef: { name: 'settings' } }, { secretRef: { name: 'database' } }],
        env: [
          { name: 'PASSWORD', value: 'own' },
          { name: 'MODE', value: 'a' },
          { name: 'MODE', value: '$(MODE)b' },
        ],
      }),
    ).toEqual([
      { name: 'MODE', value: 'ab' },
      { name: 'URL', secureValue: 'postgres://hidden' },
      { name: 'PASSWORD', value: 'own' },
    ]);
  });

  test('what is optional and not there is left out', () => {
    expect(
      env({
        envFrom: [{ secretRef: { name: 'none', optional: true } }],
        env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'openai', key: 'none', optional: true } } }],
      }),
    ).toEqual([]);
  });
});

describe('the command', () => {
  test('is command and arguments, with their references', () => {
    expect(
      task({ command: ['sh', '-c'], args: ['echo $(A) $$(A) $(B)'], env: [{ name: 'A', value: 'a' }] }).command,
    ).toEqual(['sh', '-c', 'echo a $(A) $(B)']);
    expect(task({})).not.toHaveProperty('command');
  });

  test('shows no secret', () => {
    const env = [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'openai', key: 'key' } } }];
    const [said] = missing(pod({ command: ['curl', '-u', '$(KEY)'], env }));
    expect(said).toMatch(/^spec\.containers\[0\]\.command: .*Read the environment variable in the program$/);
  });
});

test('volumes have names that ACI takes, and their mounts the same', () => {
  const { containers, volumes } = group(
    pod(
      {
        volumeMounts: [
          { name: 'tmp', mountPath: '/tmp' },
          { name: 'gone', mountPath: '/gone' },
        ],
      },
      {
        volumes: [
          { name: 'tmp', emptyDir: {} },
          { name: 'my--cache', emptyDir: {} },
        ],
      },
    ),
  ).properties;
  expect(volumes).toEqual([
    { name: 'tmp-volume', emptyDir: {} },
    { name: 'my-cache', emptyDir: {} },
  ]);
  expect(containers[0].properties.volumeMounts).toEqual([{ name: 'tmp-volume', mountPath: '/tmp' }]);
});

test('images are pulled by identity where one is named, else by the pull secrets', () => {
  const { identity, properties } = group(pod({}, { imagePullSecrets: [{ name: 'registry' }] }), FULL);
  expect(properties.imageRegistryCredentials).toEqual([
    { server: 'acme.azurecr.io', identity: IDENTITY },
    { server: 'registry.example', username: 'puller', password: 'hidden' },
    { server: 'docker.io', username: 'hub', password: 'hid:den' },
  ]);
  expect(Object.keys(identity?.userAssignedIdentities ?? {})).toEqual([IDENTITY.replace('puller', 'task'), IDENTITY]);
});

test('what is not there is told, each by its place', () => {
  const none = { name: 'none', key: 'k' };
  expect(
    missing(
      pod(
        {
          envFrom: [{ configMapRef: { name: 'none' } }],
          env: [
            { name: 'A', valueFrom: { secretKeyRef: none } },
            { name: 'B', valueFrom: { configMapKeyRef: { name: 'settings', key: 'k' } } },
            { name: 'C', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
          ],
        },
        {
          imagePullSecrets: [{ name: 'openai' }],
          volumes: [
            { name: 'volume', secret: { secretName: 'none' } },
            { name: 'other', configMap: { name: 'settings', items: [{ key: 'k', path: 'k' }] } },
          ],
        },
      ),
    ),
  ).toEqual([
    'spec.containers[0].envFrom[0]: there is no ConfigMap none. Make it, or correct the name',
    'spec.containers[0].env[0]: there is no Secret none. Make it, or correct the name',
    'spec.containers[0].env[1]: the ConfigMap settings has no key k. Add it, or correct the key',
    'spec.containers[0].env[2]: spec.nodeName is not known',
    'spec.volumes[0]: there is no Secret none. Make it, or correct the name',
    'spec.volumes[1]: the ConfigMap settings has no key k. Add it, or correct the key',
    expect.stringMatching(/^spec\.imagePullSecrets\[0\]: there is no Secret openai of the type/),
  ]);
});

test('an optional volume that is not there is an empty one', () => {
  const volumes = [{ name: 'volume', secret: { secretName: 'none', optional: true } }];
  expect(group(pod({}, { volumes })).properties.volumes).toEqual([{ name: 'volume', emptyDir: {} }]);
});
