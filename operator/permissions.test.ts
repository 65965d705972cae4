import { expect, test } from 'vitest';
import { CI_NAMESPACE_PERMISSIONS, CI_PERMISSIONS, PERMISSIONS, type Permission } from './permissions.ts';

const rights = (permissions: readonly Permission[]) =>
  new Set(permissions.flatMap(({ group, resource, verbs }) => verbs.map((verb) => `${verb} ${resource}.${group}`)));

test('where nothing but CI tasks run the operator holds no Lease, and has what CI tasks need besides', () => {
  const there = rights(CI_NAMESPACE_PERMISSIONS);
  const verbs = ['create', 'get', 'update'];
  expect([...rights(PERMISSIONS).difference(there)]).toEqual(verbs.map((verb) => `${verb} leases.coordination.k8s.io`));
  expect([...there.difference(rights(PERMISSIONS))]).toEqual([...rights(CI_PERMISSIONS)]);
});
