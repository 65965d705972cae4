import type { V1Container, V1PodSpec, V1Volume } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { testConfig, testPolicy, testTask } from '../../testing/jobs.ts';
import { manifest } from '../jobs/manifest.ts';
import { obstaclesOf } from './obstacles.ts';

const found = (spec: Partial<V1PodSpec>, task: Partial<V1Container> = {}) =>
  obstaclesOf({ spec: { containers: [{ name: 'task', image: 'i', ...task }], ...spec } });
const fields = (...args: Parameters<typeof found>) => found(...args).map(({ field }) => field);

test('what Slipway itself renders has none', () => {
  const config = testConfig('taskTypes: { echo: { env: [{ name: LOG_LEVEL, value: debug }] } }');
  const context = { namespace: 'slipway', instance: 'slipway', installation: 'i', configHash: 'h' };
  expect(obstaclesOf(manifest(testTask(), testPolicy(config, 'echo'), context).spec!.template)).toEqual([]);
});

describe('of the pod', () => {
  test.each<[keyof V1PodSpec, Partial<V1PodSpec>]>([
    ['affinity', { affinity: { nodeAffinity: {} } }],
    ['nodeSelector', { nodeSelector: { pool: 'tasks' } }],
    ['nodeName', { nodeName: 'a' }],
    [
      'topologySpreadConstraints',
      { topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'z', whenUnsatisfiable: 'x' }] },
    ],
    ['runtimeClassName', { runtimeClassName: 'gvisor' }],
    ['serviceAccountName', { serviceAccountName: 'worker' }],
    ['hostNetwork', { hostNetwork: true }],
    ['hostPID', { hostPID: true }],
    ['hostIPC', { hostIPC: true }],
    ['hostAliases', { hostAliases: [{ ip: '10.0.0.1' }] }],
    ['shareProcessNamespace', { shareProcessNamespace: true }],
    ['dnsConfig', { dnsConfig: { nameservers: ['10.0.0.1'] } }],
    ['resourceClaims', { resourceClaims: [{ name: 'gpu' }] }],
    ['automountServiceAccountToken', { automountServiceAccountToken: true }],
  ])('%s', (field, spec) => expect(fields(spec)).toEqual([`spec.${field}`]));

  test('what is there and says nothing is none', () => {
    expect(
      fields({ nodeSelector: {}, hostNetwork: false, serviceAccountName: '', automountServiceAccountToken: false }),
    ).toEqual([]);
  });
});

describe('of a container', () => {
  test.each<[string, Partial<V1Container>]>([
    ['livenessProbe', { livenessProbe: { exec: { command: ['a'] } } }],
    ['readinessProbe', { readinessProbe: { exec: { command: ['a'] } } }],
    ['startupProbe', { startupProbe: { exec: { command: ['a'] } } }],
    ['lifecycle', { lifecycle: { preStop: { exec: { command: ['a'] } } } }],
    ['volumeDevices', { volumeDevices: [{ name: 'a', devicePath: '/dev/a' }] }],
    ['stdin', { stdin: true }],
    ['tty', { tty: true }],
    ['workingDir', { workingDir: '/work' }],
    ['args', { args: ['a'] }],
    ['securityContext.privileged', { securityContext: { privileged: true } }],
    ['securityContext.capabilities.add', { securityContext: { capabilities: { add: ['NET_ADMIN'] } } }],
    ['env[0].name', { env: [{ name: '_A', value: '' }] }],
    ['env[0].name', { env: [{ name: 'A.B', value: '' }] }],
    ['env[0].name', { env: [{ name: 'A'.repeat(64), value: '' }] }],
    [
      'env[0].valueFrom.resourceFieldRef',
      { env: [{ name: 'A', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } }] },
    ],
    ['env[0].valueFrom.fieldRef', { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }] }],
    ['envFrom[0].prefix', { envFrom: [{ prefix: '_', secretRef: { name: 'a' } }] }],
    ['volumeMounts[0].subPath', { volumeMounts: [{ name: 'a', mountPath: '/a', subPath: 'b' }] }],
    ['volumeMounts[0].mountPath', { volumeMounts: [{ name: 'a', mountPath: '/a:b' }] }],
    ['resources', { resources: { limits: { 'nvidia.com/gpu': '1' } } }],
    ['resources.requests.cpu', { resources: { requests: { cpu: '32' } } }],
    ['resources.requests.memory', { resources: { requests: { memory: '300Gi' } } }],
    ['resources.requests.ephemeral-storage', { resources: { requests: { 'ephemeral-storage': '100Gi' } } }],
  ])('%s', (field, task) => expect(fields({}, task)).toEqual([`spec.containers[0].${field}`]));

  test.each([
    "metadata.annotations['a/b']",
    "metadata.labels['a']",
    'metadata.name',
    'metadata.namespace',
    'metadata.uid',
  ])('a reference to %s is none', (fieldPath) =>
    expect(fields({}, { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath } } }] })).toEqual([]),
  );

  test('one beside the task, and an init container that stays, have another way', () => {
    const beside = { name: 'proxy', image: 'p' };
    expect(found({ containers: [{ name: 'task', image: 'i' }, beside] })).toEqual([
      { field: 'spec.containers[1]', reason: expect.stringContaining('Make it an init container') },
    ]);
    expect(fields({ initContainers: [{ ...beside, restartPolicy: 'Always' }] })).toEqual([
      'spec.initContainers[0].restartPolicy',
    ]);
    expect(fields({ initContainers: [beside] })).toEqual([]);
    expect(fields({ initContainers: [{ ...beside, tty: true, name: 'Proxy' }] })).toEqual([
      'spec.initContainers[0].tty',
      'spec.initContainers[0].name',
    ]);
  });
});

describe('of a volume', () => {
  const volume = (one: Omit<V1Volume, 'name'>) => fields({ volumes: [{ name: 'volume', ...one }] });

  test.each<[string, Omit<V1Volume, 'name'>]>([
    ['hostPath', { hostPath: { path: '/' } }],
    ['persistentVolumeClaim', { persistentVolumeClaim: { claimName: 'a' } }],
    ['ephemeral', { ephemeral: {} }],
    ['projected', { projected: { sources: [] } }],
    ['downwardAPI', { downwardAPI: {} }],
    ['csi', { csi: { driver: 'secrets-store.csi.k8s.io' } }],
    ['image', { image: { reference: 'a' } }],
    ['nfs', { nfs: { server: 'a', path: '/' } }],
    ['emptyDir.medium', { emptyDir: { medium: 'Memory' } }],
    ['secret.items[0].path', { secret: { secretName: 'a', items: [{ key: 'k', path: 'a/b' }] } }],
    ['configMap.items[0].path', { configMap: { name: 'a', items: [{ key: 'k', path: 'a/b' }] } }],
  ])('%s', (field, one) => expect(volume(one)).toEqual([`spec.volumes[0].${field}`]));

  test('emptyDir, secret and configMap are none', () => {
    expect(volume({ emptyDir: { sizeLimit: '1Gi' } })).toEqual([]);
    expect(volume({ secret: { secretName: 'a', items: [{ key: 'k', path: 'a' }] } })).toEqual([]);
    expect(volume({ configMap: { name: 'a' } })).toEqual([]);
  });

  test('more than a group may have, and names that become one', () => {
    const many = Array.from({ length: 21 }, (_, at) => ({ name: `volume-${at}`, emptyDir: {} }));
    expect(found({ volumes: many })).toEqual([{ field: 'spec.volumes', reason: 'has 21; a group has at most 20' }]);
    const alike = [
      { name: 'my--cache', emptyDir: {} },
      { name: 'my-cache', emptyDir: {} },
    ];
    expect(fields({ volumes: alike })).toEqual(['spec.volumes']);
    expect(
      fields({ initContainers: Array.from({ length: 60 }, (_, at) => ({ name: `i-${at}`, image: 'i' })) }),
    ).toEqual(['spec.initContainers']);
  });
});

test('every reason says what to do', () => {
  const all = [
    ...found({ affinity: { nodeAffinity: {} }, hostNetwork: true, serviceAccountName: 'a' }),
    ...found({
      volumes: [
        { name: 'volume', hostPath: { path: '/' } },
        { name: 'claim', persistentVolumeClaim: { claimName: 'a' } },
      ],
    }),
    ...found({}, { args: ['a'], tty: true }),
  ];
  for (const { reason } of all) expect(reason).toMatch(/Remove|Use|Set|Write|Make|run this type on Kubernetes/);
});
