import { describe, expect, test } from 'vitest';
import { POD_ANNOTATION } from '../../contract/identity.ts';
import { type ErrorKind, ServiceError } from '../../lib/errors.ts';
import { createLog } from '../../lib/log.ts';
import { settled, VirtualClock } from '../../testing/virtual-clock.ts';
import type { ApiRequest, KubernetesApi } from './api.ts';
import { createKubernetesStore } from './kubernetes.ts';
import type { Notice, Observation } from './store.ts';

const SELECTOR = 'app.kubernetes.io/managed-by=slipway,slipway.dev/installation=inst';
const JOBS = '/apis/batch/v1/namespaces/slipway/jobs';
const PODS = '/api/v1/namespaces/slipway/pods';

/** A watch that the test feeds. */
interface Watch {
  readonly request: ApiRequest;
  say(event: object): void;
  end(error?: Error): void;
}

/** An API server whose answers the test decides. */
class ScriptedApi implements KubernetesApi {
  readonly requests: ApiRequest[] = [];
  readonly watches: Watch[] = [];
  answer: (request: ApiRequest) => unknown = () => ({ metadata: { resourceVersion: '1' }, items: [] });

  readonly request = async (request: ApiRequest): Promise<unknown> => {
    this.requests.push(request);
    return this.answer(request);
  };

  readonly lines = (request: ApiRequest & { readonly signal: AbortSignal }): AsyncIterable<string> => {
    const stream = new TransformStream<string, string>(undefined, { highWaterMark: 1000 });
    const writer = stream.writable.getWriter();
    const ignore = () => undefined;
    const end = (error?: Error) => void (error === undefined ? writer.close() : writer.abort(error)).catch(ignore);
    request.signal.addEventListener('abort', () => end(new Error('aborted')), { once: true });
    this.watches.push({ request, say: (event) => void writer.write(JSON.stringify(event)).catch(ignore), end });
    return stream.readable;
  };

  /** The watches of Jobs so far. */
  get jobWatches(): Watch[] {
    return this.watches.filter(({ request }) => request.path === JOBS);
  }
}

function setUp() {
  const clock = new VirtualClock();
  const api = new ScriptedApi();
  const log = createLog('silent', {});
  const store = createKubernetesStore(api, { namespace: 'slipway', installation: 'inst', clock, log });
  return { clock, api, store };
}

/** A store that is being followed. */
async function follow(answer?: ScriptedApi['answer']) {
  const { clock, api, store } = setUp();
  if (answer !== undefined) api.answer = answer;
  const heard: Observation[] = [];
  const stop = new AbortController();
  const following = store.follow((observation) => heard.push(observation), stop.signal);
  await settled();
  const kinds = () => heard.map(({ kind }) => kind);
  return {
    clock,
    api,
    heard,
    kinds,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settled();
      await following;
      expect(clock.sleepers).toBe(0);
    },
  };
}

const rawJob = (name: string, resourceVersion = '2') => ({ metadata: { name, uid: name, resourceVersion } });
const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', 'refused');

describe('follow', () => {
  test('lists, tells everything, and watches on from the list’s version', async () => {
    await using world = await follow(({ path }) => ({
      metadata: { resourceVersion: '41' },
      items: path === JOBS ? [rawJob('a')] : [{ metadata: { name: 'p' } }],
    }));
    expect(world.heard).toMatchObject([{ kind: 'listed', jobs: [{ name: 'a' }], pods: [{ name: 'p' }] }]);
    const [first] = world.heard;
    expect(first?.kind === 'listed' && first.versionOf?.('slipway')).toBe('41');
    expect(world.api.watches.map(({ request }) => request)).toMatchObject([
      {
        path: JOBS,
        query: { watch: 'true', resourceVersion: '41', labelSelector: SELECTOR, allowWatchBookmarks: 'true' },
      },
      { path: PODS, query: { watch: 'true', resourceVersion: '41', labelSelector: SELECTOR } },
    ]);
  });

  test('without an installation asks for those of all, and as much more narrowly as it is told', async () => {
    const { api, clock } = setUp();
    const stop = new AbortController();
    const options = {
      namespace: 'slipway',
      installation: undefined,
      selector: 'a=b',
      clock,
      log: createLog('silent', {}),
    };
    const following = createKubernetesStore(api, options).follow(() => stop.abort(), stop.signal);
    await following;
    expect(api.requests.map(({ query }) => query?.['labelSelector'])).toEqual(
      Array(2).fill('app.kubernetes.io/managed-by=slipway,a=b'),
    );
  });

  test('I5: a list of many pages is told only when it is whole', async () => {
    const pages = new Map([
      [undefined, { metadata: { continue: 'two' }, items: [rawJob('a')] }],
      ['two', { metadata: { continue: 'three' }, items: [rawJob('b')] }],
      ['three', { metadata: { resourceVersion: '9', continue: '' }, items: [rawJob('c')] }],
    ]);
    await using world = await follow(({ path, query }) =>
      path === JOBS ? pages.get(query?.['continue']?.toString()) : { metadata: {} },
    );
    expect(world.heard).toMatchObject([
      { kind: 'listed', jobs: [{ name: 'a' }, { name: 'b' }, { name: 'c' }], pods: [] },
    ]);
    expect(world.api.requests.every(({ query }) => query?.['labelSelector'] === SELECTOR)).toBe(true);
  });

  test.each<ErrorKind>(['unavailable', 'unknown', 'forbidden', 'throttled', 'invalid', 'not-found'])(
    'I5: a list that fails (%s) is unknown, not empty, and is asked for again',
    async (kind) => {
      let failures = 3;
      await using world = await follow(({ path }) => {
        if (path === PODS || failures-- <= 0) return { metadata: { resourceVersion: '1' } };
        throw refused(kind);
      });
      expect(world.kinds()).toEqual(['unknown']);
      await world.clock.advance(20_000);
      expect(world.kinds()).toEqual(['unknown', 'unknown', 'unknown', 'listed']);
    },
  );

  test('I5: a page that fails spoils the list', async () => {
    await using world = await follow(({ path, query }) => {
      if (path === PODS || query?.['continue'] === undefined)
        return { metadata: { continue: path === JOBS ? 'x' : '' } };
      throw refused('unavailable');
    });
    expect(world.kinds()).toEqual(['unknown']);
  });

  test('tells what a watch brings, bookmarks apart', async () => {
    await using world = await follow();
    const [jobs, pods] = world.api.watches;
    jobs?.say({ type: 'ADDED', object: rawJob('a') });
    jobs?.say({ type: 'MODIFIED', object: rawJob('a', '3') });
    jobs?.say({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '7' } } });
    jobs?.say({ type: 'DELETED', object: rawJob('a', '8') });
    pods?.say({ type: 'ADDED', object: { metadata: { name: 'p' } } });
    pods?.say({ type: 'DELETED', object: { metadata: { name: 'p' } } });
    await settled();
    expect(world.kinds().slice(1).toSorted()).toEqual(['job', 'job', 'job-gone', 'pod', 'pod-gone']);
  });

  test('a deletion comes with the message text: nowhere else is it left', async () => {
    await using world = await follow();
    const template = { metadata: { annotations: { [POD_ANNOTATION.taskData]: '{"task_id":"t-1"}' } } };
    world.api.watches[0]?.say({ type: 'DELETED', object: { ...rawJob('a', '8'), spec: { template } } });
    await settled();
    expect(world.heard.at(-1)).toMatchObject({
      kind: 'job-gone',
      job: { name: 'a', resourceVersion: '8' },
      taskData: '{"task_id":"t-1"}',
    });
  });

  test('a watch that ends goes on where it stopped, but not in a hot loop', async () => {
    await using world = await follow();
    const [first] = world.api.jobWatches;
    first?.say({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '77' } } });
    first?.end();
    await settled();
    expect(world.api.jobWatches).toHaveLength(1);
    await world.clock.advance(1000);
    expect(world.api.jobWatches[1]?.request.query).toMatchObject({ resourceVersion: '77' });
    expect(world.kinds()).toEqual(['listed']);
  });

  test('I5: a watch that breaks makes everything unknown until the next list', async () => {
    await using world = await follow();
    world.api.jobWatches[0]?.end(new Error('socket hang up'));
    await settled();
    expect(world.kinds()).toEqual(['listed', 'unknown']);
    expect(world.api.watches.every(({ request }) => request.signal?.aborted)).toBe(true);
    await world.clock.advance(1000);
    expect(world.kinds()).toEqual(['listed', 'unknown', 'listed']);
  });

  test('a version that is too old to watch from needs a new list, and is no loss of contact', async () => {
    await using world = await follow();
    world.api.jobWatches[0]?.say({ type: 'ERROR', object: { code: 410, message: 'too old resource version' } });
    await settled();
    await world.clock.advance(1000);
    expect(world.kinds()).toEqual(['listed', 'listed']);
  });

  test('I5: a list that is refused in turn is a loss of contact: what is known is out of date', async () => {
    await using world = await follow();
    world.api.answer = () => {
      throw new ServiceError('conflict', 'Expired', 'the continue token is too old');
    };
    world.api.jobWatches[0]?.say({ type: 'ERROR', object: { code: 410, message: 'too old resource version' } });
    await world.clock.advance(5000);
    expect(world.heard.map(({ kind }) => kind).slice(0, 2)).toEqual(['listed', 'unknown']);
  });

  test('I12: a watch has a deadline: a server that falls silent is noticed', async () => {
    await using world = await follow();
    await world.clock.advance(39_000);
    expect(world.kinds()).toEqual(['listed']);
    await world.clock.advance(1000);
    expect(world.kinds()).toEqual(['listed', 'unknown']);
  });

  test('lists anew every five minutes, since a watch can lose events', async () => {
    await using world = await follow();
    for (let passed = 0; passed < 320; passed += 20) {
      for (const watch of world.api.watches) watch.end();
      await world.clock.advance(20_000);
    }
    expect(world.kinds()).toEqual(['listed', 'listed']);
  });
});

describe('requests', () => {
  test('whether the namespace is being deleted is read from itself; no answer is no "no"', async () => {
    const { api, store } = setUp();
    api.answer = () => ({ metadata: { name: 'slipway' } });
    expect(await store.isTerminating('slipway')).toBe(false);
    api.answer = () => ({ metadata: { name: 'slipway', deletionTimestamp: '2026-01-01T00:00:00Z' } });
    expect(await store.isTerminating('slipway')).toBe(true);
    expect(api.requests.at(-1)).toMatchObject({ method: 'GET', path: '/api/v1/namespaces/slipway' });
    for (const kind of ['forbidden', 'not-found', 'unknown'] as const) {
      api.answer = () => {
        throw refused(kind);
      };
      await expect(store.isTerminating('slipway')).rejects.toMatchObject({ kind });
    }
  });

  const job = { metadata: { name: 'a' } };

  test('create asks for strict validation, and gives the Job as the server made it', async () => {
    const { api, store } = setUp();
    api.answer = () => rawJob('a', '5');
    expect(await store.create(job)).toMatchObject({ name: 'a', resourceVersion: '5' });
    expect(api.requests).toMatchObject([
      { method: 'POST', path: JOBS, body: job, query: { fieldValidation: 'Strict' } },
    ]);
  });

  test('a dry run creates nothing', async () => {
    const { api, store } = setUp();
    await store.dryRun(job);
    expect(api.requests).toMatchObject([
      { method: 'POST', path: JOBS, query: { dryRun: 'All', fieldValidation: 'Strict' } },
    ]);
  });

  test('I5: only not-found means that there is no Job', async () => {
    const { api, store } = setUp();
    api.answer = () => {
      throw refused('not-found');
    };
    expect(await store.get('a')).toBeUndefined();
    for (const kind of ['unavailable', 'forbidden', 'unknown'] as const) {
      api.answer = () => {
        throw refused(kind);
      };
      await expect(store.get('a')).rejects.toMatchObject({ kind });
    }
  });

  test('a patch has what it changes, and the version only where it is bound to one', async () => {
    const { api, store } = setUp();
    api.answer = () => rawJob('a');
    await store.patch('a', { annotations: { x: 'y', z: null } });
    await store.patch('a', { resourceVersion: '7', labels: { l: 'v' }, ttlSeconds: 60 });
    expect(api.requests.map(({ body }) => body)).toEqual([
      { metadata: { annotations: { x: 'y', z: null } } },
      { metadata: { resourceVersion: '7', labels: { l: 'v' } }, spec: { ttlSecondsAfterFinished: 60 } },
    ]);
    expect(api.requests[0]).toMatchObject({
      method: 'PATCH',
      path: `${JOBS}/a`,
      contentType: 'application/merge-patch+json',
    });
  });

  test('a patch of what a Job does is one of its spec; false and 0 are changes like any other', async () => {
    const { api, store } = setUp();
    api.answer = () => rawJob('a');
    await store.patch('a', { suspend: false, parallelism: 0, activeDeadlineSeconds: 1 });
    await store.patch('a', { suspend: true });
    await store.patch('a', { annotations: { x: 'y' }, activeDeadlineSeconds: 0 });
    expect(api.requests.map(({ body }) => body)).toEqual([
      { metadata: {}, spec: { suspend: false, parallelism: 0, activeDeadlineSeconds: 1 } },
      { metadata: {}, spec: { suspend: true } },
      { metadata: { annotations: { x: 'y' } }, spec: { activeDeadlineSeconds: 0 } },
    ]);
  });

  test('a pod is deleted and evicted as the one of its uid', async () => {
    const { api, store } = setUp();
    await store.deletePod({ name: 'p', namespace: 'slipway', uid: 'u' });
    await store.evictPod({ name: 'p', namespace: 'slipway', uid: 'u' });
    expect(api.requests).toMatchObject([
      {
        method: 'DELETE',
        path: `${PODS}/p`,
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'u' } },
      },
      {
        method: 'POST',
        path: `${PODS}/p/eviction`,
        body: {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name: 'p', namespace: 'slipway' },
          deleteOptions: { preconditions: { uid: 'u' } },
        },
      },
    ]);
  });

  test('a pod is ended by its deadline, as the one of its uid', async () => {
    const { api, store } = setUp();
    await store.expirePod({ name: 'p', namespace: 'slipway', uid: 'u' });
    expect(api.requests).toMatchObject([
      { method: 'PATCH', path: `${PODS}/p`, body: { metadata: { uid: 'u' }, spec: { activeDeadlineSeconds: 1 } } },
    ]);
  });

  test.each(['deletePod', 'evictPod', 'expirePod'] as const)(
    '%s is done when the pod is gone or another has its name, and fails with every other answer',
    async (takeAway) => {
      const { api, store } = setUp();
      const answer = (kind: ErrorKind) => {
        api.answer = () => {
          throw refused(kind);
        };
        return store[takeAway]({ name: 'p', namespace: 'slipway', uid: 'u' });
      };
      for (const kind of ['not-found', 'conflict'] as const) await expect(answer(kind)).resolves.toBeUndefined();
      for (const kind of ['throttled', 'forbidden', 'unavailable', 'unknown', 'invalid'] as const)
        await expect(answer(kind)).rejects.toMatchObject({ kind });
    },
  );

  test('why a pod could not be made is the latest Event about this Job, whichever way it tells its time', async () => {
    const { api, store } = setUp();
    const ask = (items?: readonly object[]) => {
      api.answer = () => (items === undefined ? {} : { items });
      return store.podRefusal({ name: 'a', uid: 'u' });
    };
    expect(await ask([])).toBeUndefined();
    expect(await ask()).toBeUndefined();
    const [early, late] = ['2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z'];
    expect(
      await ask([
        { message: 'late', lastTimestamp: late },
        { message: 'early', lastTimestamp: early },
      ]),
    ).toBe('late');
    expect(
      await ask([
        { message: 'late', lastTimestamp: null, eventTime: early, series: { lastObservedTime: late } },
        { message: 'early', lastTimestamp: null, eventTime: early },
        { message: 'none' },
      ]),
    ).toBe('late');
    // Of one second: the one that the server lists last.
    expect(
      await ask([
        { message: 'first', lastTimestamp: late },
        { message: 'second', lastTimestamp: late },
      ]),
    ).toBe('second');
    expect(api.requests[0]).toMatchObject({
      method: 'GET',
      path: '/api/v1/namespaces/slipway/events',
      query: { fieldSelector: 'involvedObject.uid=u,reason=FailedCreate' },
    });
    api.answer = () => {
      throw refused('forbidden');
    };
    await expect(store.podRefusal({ name: 'a', uid: 'u' })).rejects.toMatchObject({ kind: 'forbidden' });
  });

  test('an Event has a name made of what it says, and its failure harms nobody', async () => {
    const { api, store } = setUp();
    const notice: Notice = {
      reason: 'LeaseLost',
      message: 'm',
      type: 'Warning',
      about: { kind: 'Job', name: 'a', uid: 'u' },
    };
    await store.notify(notice);
    await store.notify(notice);
    await store.notify({ ...notice, message: 'another' });
    const names = api.requests.map(({ body }) => (body as { metadata: { name: string } }).metadata.name);
    expect(names[0]).toMatch(/^a\.[0-9a-f]{16}$/);
    expect([names[1] === names[0], names[2] === names[0]]).toEqual([true, false]);
    for (const kind of ['conflict', 'forbidden', 'unknown'] as const) {
      api.answer = () => {
        throw refused(kind);
      };
      await store.notify(notice);
    }
  });
});
