import { expect, test } from 'vitest';
import { ciPlaces, type MaybeCiType } from './ci.ts';

const secret = (name: string, key: string) => ({ secretKeyRef: { name, key } });
const NONE = { image: 'runners.example.com/slipway-runner:1', imagePullSecrets: [], env: [], envFrom: [] };
const ci = (type: string, settings: Partial<MaybeCiType['ci']> = {}, more: Partial<MaybeCiType> = {}): MaybeCiType => ({
  ...NONE,
  type,
  ci: { images: 'registry.example.com:5000/acme/ci', ...settings },
  ...more,
});

test('no CI type, no namespace to look at', () => {
  expect(ciPlaces('slipway', [{ ...NONE, type: 'echo', imagePullSecrets: ['pull'] }])).toEqual([]);
});

test('each namespace once, with every Secret that its types name, once', () => {
  const token = { name: 'TOKEN', valueFrom: secret('tests', 'token') };
  const storage = { name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: secret('storage', 'connection-string') };
  const named = { namespace: 'ci', registrySecret: 'registry', gitSecret: 'git' };
  const report = { env: [storage], envFrom: [{ secretRef: { name: 'proxy' } }, {}] };
  const places = ciPlaces('slipway', [
    { ...NONE, type: 'echo', env: [{ name: 'A', valueFrom: secret('not-this', 'k') }] },
    ci('app', { ...named, report }, { env: [token, { name: 'LANG', value: 'de' } as { name: string }] }),
    ci(
      'lib',
      { ...named, gitSecret: 'other' },
      { env: [token], envFrom: [{ secretRef: { name: 'services' } }, { secretRef: { name: 'proxy' } }] },
    ),
    ci('here'),
  ]);
  expect(places).toEqual([
    {
      namespace: 'ci',
      types: ['app', 'lib'],
      registries: [{ secret: 'registry', server: 'registry.example.com:5000' }],
      gitSecrets: ['git', 'other'],
      keys: [
        { name: 'tests', key: 'token', use: 'TOKEN', shell: '"$TOKEN"' },
        {
          name: 'storage',
          key: 'connection-string',
          use: 'AZURE_STORAGE_CONNECTION_STRING',
          shell: '"$AZURE_STORAGE_CONNECTION_STRING"',
        },
      ],
      whole: ['proxy', 'services'],
    },
    { namespace: 'slipway', types: ['here'], registries: [], gitSecrets: [], keys: [], whole: [] },
  ]);
});

test('the Secrets by which the pod pulls, each once; of one that pushes too, where it pushes', () => {
  const pulling = { imagePullSecrets: ['pull', 'registry'] };
  const [place] = ciPlaces('slipway', [
    ci('app', { registrySecret: 'registry' }, pulling),
    ci('lib', {}, pulling),
    ci('other', { namespace: 'ci' }),
  ]);
  expect(place?.registries).toEqual([
    { secret: 'registry', server: 'registry.example.com:5000' },
    { secret: 'pull', server: 'runners.example.com' },
  ]);
});

test.each([
  ['docker.io/acme', 'https://index.docker.io/v1/'],
  ['index.docker.io/acme', 'https://index.docker.io/v1/'],
  ['docker.io.example.com/acme', 'docker.io.example.com'],
  ['localhost/acme', 'localhost'],
  ['registry:5000/acme', 'registry:5000'],
])('%s is pushed to %s', (images, server) => {
  const [place] = ciPlaces('slipway', [ci('app', { images, registrySecret: 'registry' })]);
  expect(place?.registries).toEqual([{ secret: 'registry', server }]);
});

test.each(['acme/slipway-runner:1', 'slipway-runner:1', 'docker.io/acme/slipway-runner:1'])(
  'a runner at %s is pulled from Docker Hub',
  (image) => {
    const [place] = ciPlaces('slipway', [ci('app', {}, { image, imagePullSecrets: ['pull'] })]);
    expect(place?.registries).toEqual([{ secret: 'pull', server: 'https://index.docker.io/v1/' }]);
  },
);
