/** One suite for Leases on a real API server and for the fake that the fast tests use: what holds here holds for both. */
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#/lib/clock.ts';
import type { ErrorKind } from '#/lib/errors.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { createLeaseStore, type LeaseStore, type LeaseTerms } from '#/operator/lease-object.ts';
import { startControlPlane } from '#/testing/control-plane.ts';
import { FakeLeases } from '#/testing/fake-leases.ts';

const NAMESPACE = 'leases';
const TERMS: LeaseTerms = {
  holder: 'a',
  durationSeconds: 15,
  acquiredAt: Date.UTC(2026, 0, 1, 12, 0, 0, 7),
  renewedAt: Date.UTC(2026, 0, 1, 12, 0, 1, 250),
  transitions: 3,
};

interface Bench {
  readonly leases: LeaseStore;
  readonly remove: (name: string) => Promise<void>;
  readonly stop: () => Promise<void>;
}

async function startFake(): Promise<Bench> {
  const leases = new FakeLeases();
  return { leases: leases.client(), remove: async (name) => leases.remove(name), stop: async () => undefined };
}

async function startReal(): Promise<Bench> {
  const cluster = await startControlPlane();
  await cluster.kubectl(['create', 'namespace', NAMESPACE]);
  const config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  return {
    leases: createLeaseStore(createKubernetesApi(config, systemClock), NAMESPACE),
    remove: async (name) => void (await cluster.kubectl(['-n', NAMESPACE, 'delete', 'lease', name])),
    stop: async () => {
      await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--wait=false']);
      await cluster[Symbol.asyncDispose]();
    },
  };
}

describe.each<[name: string, start: () => Promise<Bench>]>([
  ['the fake', startFake],
  ['the API server', startReal],
])('%s', (_, start) => {
  let bench: Bench;
  let leases: LeaseStore;
  let name: string;
  let names = 0;
  beforeAll(async () => {
    bench = await start();
    leases = bench.leases;
  });
  afterAll(() => bench?.stop());
  beforeEach(() => {
    name = `lease-${++names}`;
  });
  const signal = new AbortController().signal;
  const failsAs = (work: Promise<unknown>, kind: ErrorKind, code: string) =>
    expect(work).rejects.toMatchObject({ kind, code });

  test('what is created is read as it was written, to the millisecond', async () => {
    expect(await leases.read(name, signal)).toBeUndefined();
    const created = await leases.create(name, TERMS, signal);
    expect(created).toMatchObject(TERMS);
    expect(await leases.read(name, signal)).toEqual(created);
  });

  test('one that exists is not created', async () => {
    const created = await leases.create(name, TERMS, signal);
    await failsAs(leases.create(name, { ...TERMS, holder: 'b' }, signal), 'conflict', 'AlreadyExists');
    expect(await leases.read(name, signal)).toEqual(created);
  });

  test('the version that was read is replaced, and is another one then', async () => {
    const created = await leases.create(name, TERMS, signal);
    const terms = { holder: 'b', durationSeconds: 20, acquiredAt: TERMS.renewedAt, renewedAt: 0, transitions: 4 };
    const replaced = await leases.replace(name, created, terms, signal);
    expect(replaced).toMatchObject(terms);
    expect(replaced.metadata.uid).toBe(created.metadata.uid);
    expect(replaced.metadata.resourceVersion).not.toBe(created.metadata.resourceVersion);
    expect(await leases.read(name, signal)).toEqual(replaced);
    // The same once more, by whoever did not see that.
    await failsAs(leases.replace(name, created, TERMS, signal), 'conflict', 'Conflict');
    expect(await leases.read(name, signal)).toEqual(replaced);
    expect(await leases.replace(name, replaced, TERMS, signal)).toMatchObject(TERMS);
  });

  test('nobody may hold it, for a second', async () => {
    const created = await leases.create(name, TERMS, signal);
    const nobody = { ...TERMS, holder: '', durationSeconds: 1 };
    expect(await leases.replace(name, created, nobody, signal)).toMatchObject(nobody);
  });

  test('of two that replace one version at once, one is refused', async () => {
    const created = await leases.create(name, TERMS, signal);
    const both = ['b', 'c'].map((holder) => leases.replace(name, created, { ...TERMS, holder }, signal));
    const ends = await Promise.allSettled(both);
    expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { kind: 'conflict' } });
  });

  test('one that was deleted is not replaced, nor is its successor', async () => {
    const created = await leases.create(name, TERMS, signal);
    await bench.remove(name);
    await failsAs(leases.replace(name, created, { ...TERMS, holder: 'b' }, signal), 'conflict', 'Conflict');
    expect(await leases.read(name, signal)).toBeUndefined();
    const successor = await leases.create(name, TERMS, signal);
    await failsAs(leases.replace(name, created, { ...TERMS, holder: 'b' }, signal), 'conflict', 'Conflict');
    expect(await leases.read(name, signal)).toEqual(successor);
  });

  test('a call that is aborted has no known end', async () => {
    await expect(leases.read(name, AbortSignal.abort())).rejects.toMatchObject({ kind: 'unknown' });
  });
});
