import { expect, test } from 'vitest';
import { ciPlaces, type MaybeCiType } from './ci.ts';

const secret = (name: string, key: string) => ({ secretKeyRef: { name, key } });
const ci = (type: string, settings: Partial<MaybeCiType['ci']> = {}, env: MaybeCiType['env'] = []): MaybeCiType => ({
  type,
  env,
  ci: { images: 'registry.example.com:5000/acme/ci', ...settings },
});

test('no CI type, no namespace to look at', () => {
  expect(ciPlaces('slipway', [{ type: 'echo', env: [] }])).toEqual([]);
});

test('each namespace once, with every Secret that its types name, once', () => {
  const token = { name: 'TOKEN', valueFrom: secret('tests', 'token') };
  const storage = { name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: secret('storage', 'connection-string') };
  const named = { namespace: 'ci', registrySecret: 'registry', gitSecret: 'git', report: { env: [storage] } };
  const places = ciPlaces('slipway', [
    { type: 'echo', env: [{ name: 'A', valueFrom: secret('not-this', 'k') }] },
    ci('app', named, [token, { name: 'LANG', value: 'de' } as { name: string }]),
    ci('lib', { ...named, gitSecret: 'other' }, [token]),
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
    },
    { namespace: 'slipway', types: ['here'], registries: [], gitSecrets: [], keys: [] },
  ]);
});
