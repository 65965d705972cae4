import { expect, test } from 'vitest';
import { refusalOf } from '#/testing/arm/rules.ts';

const container = (properties: object = {}, name = 'task') => ({
  name,
  properties: { image: 'i', resources: { requests: { cpu: 1, memoryInGB: 1.5 } }, ...properties },
});
const group = (properties: object = {}, more: object = {}) => ({
  location: 'l',
  properties: { osType: 'Linux', containers: [container()], ...properties },
  ...more,
});
const withContainer = (properties: object) => group({ containers: [container(properties)] });
const requests = (cpu: number, memoryInGB: number) => withContainer({ resources: { requests: { cpu, memoryInGB } } });
const variable = (one: object) => withContainer({ environmentVariables: [one] });
const volumes = (...all: object[]) => group({ volumes: all });
const many = (count: number, of: (at: number) => object) => Array.from({ length: count }, (_, at) => of(at));

test('an ordinary group is taken', () => {
  expect(refusalOf('acme-echo-x', group())).toBeUndefined();
  expect(refusalOf('a', requests(1.25, 2.3))).toBeUndefined();
  expect(refusalOf('a', volumes({ name: 'certs', secret: { 'ca.crt': 'YQ==' } }))).toBeUndefined();
});

test.each([
  ['InvalidContainerGroupName', 'Acme', group()],
  ['InvalidContainerGroupName', '-acme', group()],
  ['InvalidContainerGroupName', 'a'.repeat(64), group()],
  ['InvalidRequestContent', 'a', { ...group(), colour: 'red' }],
  ['LocationRequired', 'a', { properties: group().properties }],
  ['InvalidTag', 'a', group({}, { tags: Object.fromEntries(many(51, (at) => [`t${at}`, '']) as [string, string][]) })],
  ['InvalidTag', 'a', group({}, { tags: { t: 'x'.repeat(257) } })],
  ['InvalidTagNameCharacters', 'a', group({}, { tags: { 'slipway.dev/job': 'x' } })],
  ['InvalidContainerCount', 'a', group({ containers: [] })],
  ['InvalidContainerCount', 'a', group({ containers: many(61, (at) => container({}, `c${at}`)) })],
  [
    'InvalidInitContainerCount',
    'a',
    group({ initContainers: many(60, (at) => ({ name: `c${at}`, properties: { image: 'i' } })) }),
  ],
  ['InvalidVolumeCount', 'a', volumes(...many(21, (at) => ({ name: `volume-${at}`, emptyDir: {} })))],
  ['InvalidContainerName', 'a', group({ containers: [container({}, 'Task')] })],
  ['InvalidContainerEnvironmentVariable', 'a', variable({ name: '_A', value: '' })],
  ['InvalidContainerEnvironmentVariable', 'a', variable({ name: 'A.B', value: '' })],
  ['InvalidContainerEnvironmentVariable', 'a', variable({ name: 'A' })],
  ['InvalidContainerEnvironmentVariable', 'a', variable({ name: 'A', value: 'a', secureValue: 'a' })],
  ['VolumeMountNotFound', 'a', withContainer({ volumeMounts: [{ name: 'none', mountPath: '/a' }] })],
  [
    'InvalidVolumeMountPath',
    'a',
    group({
      volumes: [{ name: 'cache', emptyDir: {} }],
      containers: [container({ volumeMounts: [{ name: 'cache', mountPath: '/a:b' }] })],
    }),
  ],
  ['ReservedPort', 'a', withContainer({ ports: [{ port: 22 }] })],
  ['ReservedPort', 'a', withContainer({ ports: [{ port: 25_000 }] })],
  ['InvalidVolumeName', 'a', volumes({ name: 'tmp', emptyDir: {} })],
  ['InvalidVolumeName', 'a', volumes({ name: 'my--cache', emptyDir: {} })],
  ['InvalidSecretVolume', 'a', volumes({ name: 'certs', secret: { 'a/b': 'YQ==' } })],
  ['InvalidSecretVolume', 'a', volumes({ name: 'certs', secret: { a: 'plain text' } })],
  ['InvalidResourceRequest', 'a', requests(1.001, 1)],
  ['InvalidResourceRequest', 'a', requests(1, 1.25)],
  ['InvalidResourceRequest', 'a', requests(0, 1)],
  ['ResourceRequestsOutOfRange', 'a', requests(0.5, 1)],
  ['ResourceRequestsOutOfRange', 'a', requests(1, 0.5)],
  ['ResourceRequestsOutOfRange', 'a', requests(32, 1)],
  ['ResourceRequestsOutOfRange', 'a', requests(1, 241)],
  ['InvalidImageRegistryIdentity', 'a', group({ imageRegistryCredentials: [{ server: 's', identity: 'i' }] })],
  ['SpotPriorityNotSupported', 'a', group({ priority: 'Spot', subnetIds: [{ id: 'x' }] })],
])('%s: %s %j', (code, name, body) => expect(refusalOf(name, body)).toMatchObject({ code }));
