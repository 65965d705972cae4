import { expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { createReadReference } from '../operator/aci/references.ts';
import { stopWorkload } from '../operator/aci/remove-groups.ts';
import type { ApiRequest, KubernetesApi } from '../operator/jobs/api.ts';
import { createKubernetesStore } from '../operator/jobs/kubernetes.ts';
import type { JobStore } from '../operator/jobs/store.ts';
import { createLeaseStore, type LeaseStore, type LeaseTerms } from '../operator/lease-object.ts';
import { ACI_PERMISSIONS, CI_PERMISSIONS, PERMISSIONS } from '../operator/permissions.ts';
import { roleRules } from './permissions.ts';

/** Every method of the store, so that a new one cannot be forgotten here. */
const CALLS: { readonly [method in keyof JobStore]: (store: JobStore) => Promise<unknown> } = {
  create: (store) => store.create({ metadata: { name: 'a' } }),
  dryRun: (store) => store.dryRun({ metadata: { name: 'a' } }),
  get: (store) => store.get('a'),
  patch: (store) => store.patch('a', { labels: { x: 'y' } }),
  patchStatus: (store) => store.patchStatus('a', {}, '1'),
  deletePod: (store) => store.deletePod({ name: 'p', namespace: 'ns', uid: 'u' }),
  evictPod: (store) => store.evictPod({ name: 'p', namespace: 'ns', uid: 'u' }),
  expirePod: (store) => store.expirePod({ name: 'p', namespace: 'ns', uid: 'u' }),
  podRefusal: (store) => store.podRefusal({ name: 'a', uid: 'u' }),
  notify: (store) => store.notify({ reason: 'R', message: 'm', type: 'Normal', about: { kind: 'Job', name: 'a' } }),
  isTerminating: (store) => store.isTerminating('ns'),
  follow: (store) => store.follow(() => undefined, AbortSignal.timeout(50)),
};

const TERMS: LeaseTerms = { holder: 'h', durationSeconds: 1, acquiredAt: 0, renewedAt: 0, transitions: 0 };
const LEASE = { ...TERMS, metadata: { resourceVersion: '1', uid: 'u' } };
const signal = new AbortController().signal;

/** The same for the store of Leases. */
const LEASE_CALLS: { readonly [method in keyof LeaseStore]: (store: LeaseStore) => Promise<unknown> } = {
  read: (store) => store.read('l', signal),
  create: (store) => store.create('l', TERMS, signal),
  replace: (store) => store.replace('l', LEASE, TERMS, signal),
};

/** The right that a request needs, as the API server's authorizer derives it. */
function rightFor({ method, path, query }: ApiRequest): string {
  if (method === 'GET' && path === '/api/v1/namespaces/ns') return 'get namespaces. (ns)';
  const match =
    /^\/(?:api|apis\/(?<group>[^/]+))\/[^/]+\/namespaces\/ns\/(?<resource>[^/]+)(?<name>\/[^/]+)?(?<sub>\/[^/]+)?$/.exec(
      path,
    );
  expect(match, path).not.toBeNull();
  const { group = '', resource = '', name, sub = '' } = match?.groups ?? {};
  const read = query?.['watch'] === 'true' ? 'watch' : name === undefined ? 'list' : 'get';
  const verb = { GET: read, POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }[method];
  return `${verb} ${resource}${sub}.${group}`;
}

test('the Role grants what the operator asks the API server for, and nothing more', async () => {
  const used = new Set<string>();
  const api: KubernetesApi = {
    request: async (request) => {
      used.add(rightFor(request));
      return { metadata: {}, items: [] };
    },
    async *lines(request) {
      used.add(rightFor(request));
      yield* [];
      await systemClock.sleep(1000, request.signal);
    },
  };
  const log = createLog('silent', {});
  const store = createKubernetesStore(api, { namespace: 'ns', installation: 'i', clock: systemClock, log });
  const { patchStatus, expirePod, ...calls } = CALLS;
  await Promise.all(Object.values(calls).map((call) => call(store)));
  const leases = createLeaseStore(api, 'ns');
  await Promise.all(Object.values(LEASE_CALLS).map((call) => call(leases)));

  expect([...used].sort()).toEqual(granted(PERMISSIONS));

  used.clear();
  await expirePod(store);
  expect([...used].sort()).toEqual(granted(CI_PERMISSIONS));

  used.clear();
  await patchStatus(store);
  const read = createReadReference(api, 'ns');
  await Promise.all([read('Secret', 's', signal), read('ConfigMap', 'c', signal)]);
  for (const workload of ['deployments/d', 'cronjobs/c']) await stopWorkload(api, 'ns', workload, signal);
  expect([...used].sort()).toEqual(granted(ACI_PERMISSIONS));
});

function granted(permissions: typeof PERMISSIONS): string[] {
  return permissions
    .flatMap(({ group, resource, verbs, ownNamespaceOnly }) =>
      verbs.map((verb) => `${verb} ${resource}.${group}${ownNamespaceOnly ? ' (ns)' : ''}`),
    )
    .sort();
}

test('a rule is YAML with its reason', () => {
  expect(roleRules([{ group: 'batch', resource: 'jobs', verbs: ['get', 'list'], why: 'To see.' }])).toBe(
    '# To see.\n- apiGroups: ["batch"]\n  resources: [jobs]\n  verbs: [get, list]',
  );
});

test('a rule can be about the namespace of its Role alone', () => {
  const rule = { group: '', resource: 'namespaces', verbs: ['get'], ownNamespaceOnly: true, why: 'To see.' } as const;
  expect(roleRules([rule])).toContain('\n  resourceNames: ["{{ .Release.Namespace }}"]\n  verbs: [get]');
  expect(roleRules([rule], '$namespace')).toContain('\n  resourceNames: ["{{ $namespace }}"]\n  verbs: [get]');
});

test('a rule about named objects is left out where no name is given: without names it would be about all', () => {
  const rule = { group: '', resource: 'secrets', verbs: ['get'], namedBy: 'names', why: 'To see.' } as const;
  expect(roleRules([rule])).toBe(
    '{{- with include "names" . | fromJsonArray }}\n# To see.\n- apiGroups: [""]\n  resources: [secrets]\n  resourceNames: {{ toJson . }}\n  verbs: [get]\n{{- end }}',
  );
});
