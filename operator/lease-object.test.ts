import { expect, test } from 'vitest';
import type { ApiRequest } from './jobs/api.ts';
import { createLeaseStore } from './lease-object.ts';

const METADATA = { resourceVersion: '7', uid: 'u', labels: { theirs: 'stays' }, annotations: { a: 'b' } };
const signal = new AbortController().signal;

/** A store whose server answers everything with one object, and what it was asked. */
function setUp(answer: object) {
  const requests: ApiRequest[] = [];
  const api = {
    request: async (request: ApiRequest): Promise<unknown> => {
      requests.push(request);
      return answer;
    },
    async *lines() {},
  };
  return { store: createLeaseStore(api, 'ns'), requests };
}

test.each([
  ['no spec', {}],
  ['nothing in the spec', { spec: {} }],
  [
    'nulls',
    {
      spec: {
        holderIdentity: null,
        leaseDurationSeconds: null,
        acquireTime: null,
        renewTime: null,
        leaseTransitions: null,
      },
    },
  ],
])('a Lease that people have edited is one that nobody holds: %s', async (_, rest) => {
  const { store } = setUp({ metadata: METADATA, ...rest });
  expect(await store.read('l', signal)).toEqual({
    metadata: METADATA,
    holder: '',
    durationSeconds: 0,
    acquiredAt: undefined,
    renewedAt: undefined,
    transitions: 0,
  });
});

test('a replacement gives back all metadata, and moments with six digits', async () => {
  const { store, requests } = setUp({ metadata: METADATA });
  const before = await store.read('l', signal);
  const terms = {
    holder: 'a',
    durationSeconds: 15,
    acquiredAt: undefined,
    renewedAt: Date.UTC(2026, 0, 1, 0, 0, 0, 5),
    transitions: 2,
  };
  await store.replace('l', before!, terms, signal);
  expect(requests.at(-1)).toMatchObject({
    method: 'PUT',
    path: '/apis/coordination.k8s.io/v1/namespaces/ns/leases/l',
    signal,
    body: {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: METADATA,
      spec: { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.005000Z' },
    },
  });
});
