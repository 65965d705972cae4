import { expect, test } from 'vitest';
import { ciPolicy } from '../testing/ci-policy.ts';
import { testConfig, testPolicy } from '../testing/jobs.ts';
import { ciWarnings } from './ci-warnings.ts';
import { ANY_ENVIRONMENT, readConfig } from './read-config.ts';

const NAME = 'AZURE_STORAGE_CONNECTION_STRING';
const FROM = { valueFrom: { secretKeyRef: { name: 'storage', key: 'k' } } };

test('none for a CI type that has what it needs, and for another type', () => {
  expect(ciWarnings(ciPolicy())).toEqual([]);
  expect(ciWarnings(testPolicy(testConfig('taskTypes: { echo: {} }'), 'echo'))).toEqual([]);
});

test.each<[string, object, object]>([
  ['nothing', {}, {}],
  ['another variable', { env: [{ name: 'AZURE_STORAGE_SAS_URL', ...FROM }] }, {}],
  ['an empty value', { env: [{ name: NAME, value: '' }] }, {}],
  ['keys that begin otherwise', { envFrom: [{ prefix: 'PROXY_', secretRef: { name: 'a' } }] }, {}],
  ['its tests alone', {}, { env: [{ name: NAME, ...FROM }], envFrom: [{ secretRef: { name: 'a' } }] }],
])('a sidecar with %s does not reach storage', (_, report, more) => {
  expect(ciWarnings(ciPolicy({ report }, more))).toEqual([
    expect.stringMatching(/^taskTypes\.ci\.ci\.report has no .*: reports and artifacts are not kept\. .* names ci$/),
  ]);
});

test.each<[string, object, object]>([
  ['by reference', { env: [{ name: NAME, ...FROM }] }, {}],
  ['by all keys of a Secret', { envFrom: [{ secretRef: { name: 'a' } }] }, {}],
  ['by a prefix', { envFrom: [{ prefix: 'AZURE_STORAGE_', secretRef: { name: 'a' } }] }, {}],
  [
    'by the pod template',
    {},
    { podTemplate: { spec: { initContainers: [{ name: 'report', env: [{ name: NAME, ...FROM }] }] } } },
  ],
])('a sidecar may reach it %s', (_, report, more) => expect(ciWarnings(ciPolicy({ report }, more))).toEqual([]));

test.each([
  ['storage: { existingSecret: s, taskTypes: [ci] }', 0],
  ['storage: { existingSecret: s, taskTypes: [ci], access: sas-url }', 1],
  ['storage: { existingSecret: s }', 1],
])("in the chart's values, with %s: %i warnings", (storage, count) => {
  const ci = '{ ci: { ci: { images: registry.example.com/ci, namespace: ci } } }';
  const values = `${storage}\nconfig: { queues: [{ name: a-tasks }], runner: { image: "r/x:1" }, taskTypes: ${ci} }`;
  const read = readConfig(values, 'values.yaml', ANY_ENVIRONMENT);
  if (read.kind === 'wrong') throw new Error(read.problems.join());
  expect(ciWarnings(testPolicy(read.config, 'ci'))).toHaveLength(count);
});

test('flags that Kaniko does not have, each; of another version less surely, of another builder not', () => {
  const flags = ['--reproducible', '--label=a=b', '--reproducibel', '--tarPath=x'];
  const warnings = (image?: string) => ciWarnings(ciPolicy({ builder: { flags, ...(image && { image }) } }));
  expect(warnings()).toEqual([
    expect.stringMatching(/^taskTypes\.ci\.ci\.builder\.flags has --reproducibel, which .*Correct it or remove it$/),
    expect.stringContaining('flags has --tarPath, which Kaniko'),
  ]);
  expect(warnings('registry.example.com/mirror/kaniko:v9')).toEqual([
    expect.stringMatching(/--reproducibel.*unless registry\.example\.com\/mirror\/kaniko:v9 is of a version/),
    expect.stringContaining('--tarPath'),
  ]);
  expect(warnings('registry.example.com/buildah:1')).toEqual([]);
});

test('capabilities beyond Pod Security baseline', () => {
  const warnings = (...capabilities: readonly string[]) => ciWarnings(ciPolicy({ builder: { capabilities } }));
  expect(warnings('CHOWN', 'MKNOD', 'SYS_CHROOT', 'NET_BIND_SERVICE')).toEqual([]);
  expect(warnings('CHOWN', 'SYS_ADMIN', 'ALL')).toEqual([
    expect.stringMatching(/^taskTypes\.ci\.ci\.builder\.capabilities has SYS_ADMIN, ALL, which .*Remove them, or/),
  ]);
  expect(warnings('NET_RAW')).toEqual([expect.stringContaining('Remove it, or have the namespace')]);
});
