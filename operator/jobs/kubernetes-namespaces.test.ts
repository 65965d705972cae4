/** Jobs in several namespaces of one API server, whose answers the test gives. */
import { expect, test } from 'vitest';
import { ServiceError } from '../../lib/errors.ts';
import { createLog } from '../../lib/log.ts';
import { settled, VirtualClock } from '../../testing/virtual-clock.ts';
import type { ApiRequest, KubernetesApi } from './api.ts';
import { createKubernetesStore } from './kubernetes.ts';
import type { Observation } from './store.ts';

const jobIn = (namespace: string, name: string, resourceVersion = '5') => ({
  metadata: { name, namespace, uid: `uid-${name}`, resourceVersion },
});

/** A store over `slipway` and `ci`, of which the latter has one Job. */
function setUp() {
  const requests: ApiRequest[] = [];
  const watched: string[] = [];
  const api: KubernetesApi = {
    request: async (request) => {
      requests.push(request);
      const { method, path, body } = request;
      if (method === 'POST') return body;
      if (method === 'PATCH') return jobIn('ci', path.split('/').at(-1) ?? '');
      if (path.endsWith('/jobs'))
        return {
          metadata: { resourceVersion: path.includes('/ci/') ? '7' : '6' },
          items: path.includes('/ci/') ? [jobIn('ci', 'built')] : [],
        };
      if (path === '/apis/batch/v1/namespaces/ci/jobs/built') return jobIn('ci', 'built');
      if (/\/jobs\/./.test(path)) throw new ServiceError('not-found', 'NotFound', path);
      return { metadata: {}, items: [] };
    },
    // Ends only with its signal, as a watch does.
    async *lines({ path, signal }) {
      watched.push(path);
      await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
      yield* [];
    },
  };
  const clock = new VirtualClock();
  const options = {
    namespace: 'slipway',
    namespaces: ['ci', 'slipway'],
    installation: 'i',
    clock,
    log: createLog('silent', {}),
  };
  return { store: createKubernetesStore(api, options), requests, watched, clock };
}

const paths = (requests: readonly ApiRequest[]) => requests.map(({ method, path }) => `${method} ${path}`);

test('are listed as one, each with the version of its own namespace’s list, and watched', async () => {
  const { store, watched } = setUp();
  const heard: Observation[] = [];
  const stop = new AbortController();
  const following = store.follow((one) => heard.push(one), stop.signal);
  await settled();
  stop.abort();
  await following;
  const [first] = heard;
  if (first?.kind !== 'listed') throw new Error('nothing was listed');
  expect(first.jobs.map(({ name, namespace }) => `${namespace}/${name}`)).toEqual(['ci/built']);
  expect(['slipway', 'ci', 'other'].map((namespace) => first.versionOf?.(namespace))).toEqual(['6', '7', undefined]);
  expect(watched.toSorted()).toEqual([
    '/api/v1/namespaces/ci/pods',
    '/api/v1/namespaces/slipway/pods',
    '/apis/batch/v1/namespaces/ci/jobs',
    '/apis/batch/v1/namespaces/slipway/jobs',
  ]);
});

test('a Job is made where it says, and acted upon there from then on', async () => {
  const { store, requests } = setUp();
  await store.create({ metadata: { name: 'a', namespace: 'ci' } });
  await store.patch('a', {});
  await store.podRefusal({ name: 'a', uid: 'u' });
  await store.notify({ reason: 'R', message: 'm', type: 'Normal', about: { kind: 'Job', name: 'a' } });
  await store.notify({ reason: 'R', message: 'm', type: 'Normal', about: { kind: 'Pod', name: 'a' } });
  await store.deletePod({ name: 'p', namespace: 'ci', uid: 'u' });
  expect(paths(requests)).toEqual([
    'POST /apis/batch/v1/namespaces/ci/jobs',
    'PATCH /apis/batch/v1/namespaces/ci/jobs/a',
    'GET /api/v1/namespaces/ci/events',
    'POST /api/v1/namespaces/ci/events',
    'POST /api/v1/namespaces/slipway/events',
    'DELETE /api/v1/namespaces/ci/pods/p',
  ]);
});

test('I5: one that was never seen is looked for in every namespace before it is said not to be there', async () => {
  const { store, requests } = setUp();
  expect((await store.get('built'))?.record.namespace).toBe('ci');
  expect(await store.get('a')).toBeUndefined();
  expect(paths(requests).slice(-2)).toEqual([
    'GET /apis/batch/v1/namespaces/slipway/jobs/a',
    'GET /apis/batch/v1/namespaces/ci/jobs/a',
  ]);
});

test('a list that was made before a create does not forget where the Job is; one that lacks it afterwards does', async () => {
  const { store, requests, clock } = setUp();
  const stop = new AbortController();
  const following = store.follow(() => undefined, stop.signal);
  // The lists are under way.
  await store.create({ metadata: { name: 'a', namespace: 'ci' } });
  await settled();
  const homeOf = async () => {
    await store.patch('a', {});
    return requests.at(-1)?.path;
  };
  expect(await homeOf()).toBe('/apis/batch/v1/namespaces/ci/jobs/a');
  await clock.advance(400_000);
  expect(await homeOf()).toBe('/apis/batch/v1/namespaces/slipway/jobs/a');
  stop.abort();
  await following;
});
