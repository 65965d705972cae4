import { expect, test } from 'vitest';
import { TAG } from '../../contract/identity.ts';
import { createLog } from '../../lib/log.ts';
import { AciWorld } from '../../testing/arm/world.ts';
import { FakeLeases } from '../../testing/fake-leases.ts';
import type { ApiRequest } from '../jobs/api.ts';
import { LeaderElection } from '../leader.ts';
import { removeGroups } from './remove-groups.ts';

test('I13: stops its operator, waits for the Lease, and has all go but those of others; one that is stuck holds up none', async () => {
  await using at = await AciWorld.running('taskTypes: { echo: {} }');
  for (const id of ['a', 'b', 'c']) at.send(id, { runsMs: 3_600_000 });
  await at.clock.advance(60_000);
  const [stuck = ''] = at.arm.groups.toSorted();
  at.arm.plant('anothers', { ...at.arm.bodyOf(stuck), tags: { [TAG.installation]: 'x' } } as never, {
    runsMs: 3_600_000,
  });
  for (const life of at.lives) life.kill();
  const leases = new FakeLeases();
  // The operator is dead, and its Lease is not given back.
  leases.put('lease', { holder: 'gone', durationSeconds: 15, acquiredAt: 0, renewedAt: 0, transitions: 0 });
  let isStuck = true;
  at.arm.use(({ operation, group }) =>
    isStuck && operation === 'delete' && group === stuck
      ? { status: 409, code: 'ContainerGroupTransitioning' }
      : undefined,
  );
  const requests: ApiRequest[] = [];
  const log = createLog('silent', {});
  const { namespace, installation } = at.config;
  const { terms, groupsIn } = at.aci ?? expect.fail('there is no Azure');
  const election = new LeaderElection({ leases: leases.client(), name: 'lease', identity: 'me', clock: at.clock, log });
  const api = {
    request: async (request: ApiRequest) => void requests.push(request),
    lines: () => expect.fail('nothing is watched'),
  };
  const parts = { api, store: at.store, election, clock: at.clock, log, namespace, installation };
  const done = removeGroups(
    { ...parts, workload: 'deployments/slipway', terms, groupsIn },
    new AbortController().signal,
  );
  await at.clock.advance(10_000);
  expect(at.arm.groups).toHaveLength(4);
  await at.clock.advance(30_000);
  expect(at.arm.groups.toSorted()).toEqual(['anothers', stuck].toSorted());
  isStuck = false;
  await at.clock.advance(60_000);
  expect(await done).toBe(true);
  expect(at.arm.groups).toEqual(['anothers']);
  expect(requests.map(({ method, path, body }) => [method, path, body])).toEqual([
    ['PATCH', `/apis/apps/v1/namespaces/${namespace}/deployments/slipway/scale`, { spec: { replicas: 0 } }],
  ]);
  expect((await at.jobs()).map(({ end }) => end)).toEqual([undefined, undefined, undefined]);
});
