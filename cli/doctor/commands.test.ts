import { expect, test } from 'vitest';
import { accountUser, grant, kubectl, quoted } from './commands.ts';

test.each([
  ['plain', 'plain'],
  ['a=b,c.d/e:f@g', 'a=b,c.d/e:f@g'],
  ['two words', "'two words'"],
  ["it's", "'it'\\''s'"],
  ['$(rm)', "'$(rm)'"],
  ['{"a":1}', '\'{"a":1}\''],
  ['', "''"],
])('%j is quoted as %j', (word, expected) => expect(quoted(word)).toBe(expected));

test('a right of a service account', () => {
  const right = { group: 'batch', resource: 'jobs', verbs: ['patch', 'watch'] };
  expect(grant('jobs', accountUser('jobs', 'slipway'), right)).toBe(
    'kubectl -n jobs create role slipway-jobs-patch-watch --verb=patch,watch --resource=jobs.batch && ' +
      'kubectl -n jobs create rolebinding slipway-jobs-patch-watch-slipway --role=slipway-jobs-patch-watch --serviceaccount=jobs:slipway',
  );
});

test('a right of a person on one object, and one on a subresource', () => {
  const secret = { group: '', resource: 'secrets', verbs: ['get'], name: 'storage' };
  expect(grant('jobs', 'Jo Doe', secret)).toMatch(/--resource-name=storage .* '--user=Jo Doe'$/);
  const eviction = { group: '', resource: 'pods/eviction', verbs: ['create'] };
  expect(grant('jobs', 'jo', eviction)).toContain(
    'role slipway-pods-eviction-create --verb=create --resource=pods/eviction',
  );
  const scale = { group: 'apps', resource: 'deployments/scale', verbs: ['get'] };
  expect(grant('jobs', 'jo', scale)).toContain('--resource=deployments.apps/scale');
});

test('a namespace goes first', () => {
  expect(kubectl('jobs', 'get', 'pods')).toBe('kubectl -n jobs get pods');
});
