import { ContainerInstanceManagementClient } from '@azure/arm-containerinstance';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { type Behaviour, ORDINARY } from '../../testing/arm/life.ts';
import { startArm } from '../../testing/arm/server.ts';
import type { ArmOptions } from '../../testing/arm/service.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { ContainerGroup } from './container-group.ts';
import { createContainerGroups } from './groups.ts';

const NAME = 'acme-echo-x';
const GROUP: ContainerGroup = {
  location: 'westeurope',
  tags: { 'slipway-message': 'm-1' },
  properties: {
    osType: 'Linux',
    restartPolicy: 'Never',
    sku: 'Standard',
    containers: [
      {
        name: 'task',
        properties: {
          image: 'i',
          environmentVariables: [{ name: 'KEY', secureValue: 'hidden' }],
          volumeMounts: [],
          resources: { requests: { cpu: 1, memoryInGB: 1 } },
        },
      },
    ],
  },
};

async function setUp(behaviour: Partial<Behaviour> = {}, options: Partial<ArmOptions> = {}) {
  const clock = new VirtualClock();
  const arm = await startArm({ clock, behaviour: () => ({ ...ORDINARY, ...behaviour }), ...options });
  // Over plain HTTP the SDK gives no token.
  const client = new ContainerInstanceManagementClient({ getToken: async () => null }, 's', {
    endpoint: arm.url,
    allowInsecureConnection: true,
    retryOptions: { maxRetries: 0 },
  });
  client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
  return {
    clock,
    arm,
    // Deadlines are of this machine's time: the stand-in's answers are.
    groups: createContainerGroups(client, 'g', 'task', systemClock, 5000),
    [Symbol.asyncDispose]: () => arm[Symbol.asyncDispose](),
  };
}

test('a group goes from its PUT to its end, and is read on the way', async () => {
  await using at = await setUp({ exitCode: 3, detail: 'Error', log: 'one\ntwo\n' });
  const { groups, clock } = at;
  expect(await groups.get(NAME)).toBeUndefined();
  await groups.put(NAME, GROUP);
  expect(at.arm.bodyOf(NAME)).toEqual(GROUP);
  expect(await groups.get(NAME)).toMatchObject({
    provisioning: 'Pending',
    state: 'Pending',
    task: { state: 'waiting' },
  });
  await clock.advance(20_500);
  const startedAt = clock.now() - 500;
  expect(await groups.get(NAME)).toMatchObject({
    provisioning: 'Succeeded',
    state: 'Running',
    tags: GROUP.tags,
    task: { state: 'running', startedAt, exitCode: undefined },
  });
  await clock.advance(1000);
  expect(await groups.get(NAME)).toMatchObject({
    state: 'Failed',
    task: { state: 'terminated', exitCode: 3, detail: 'Error', startedAt, finishedAt: startedAt + 1000, restarts: 0 },
  });
  expect(await groups.tail(NAME, 'task', 100)).toBe('one\ntwo\n');
  expect(await groups.list()).toEqual([{ name: NAME, tags: GROUP.tags, provisioning: 'Succeeded' }]);
  await groups.remove(NAME);
  expect(await groups.get(NAME)).toBeUndefined();
  expect(at.arm.groups).toEqual([]);
});

test('what nothing is told of is undefined, not zero', async () => {
  await using at = await setUp({ isSilent: true });
  await at.groups.put(NAME, GROUP);
  await at.clock.advance(60_000);
  expect(await at.groups.get(NAME)).toMatchObject({ provisioning: 'Succeeded', state: '', task: undefined });
});

test('a container that the platform has started again tells of its first end', async () => {
  await using at = await setUp({ exitCode: 1, restarts: true });
  await at.groups.put(NAME, GROUP);
  await at.clock.advance(30_000);
  expect(await at.groups.get(NAME)).toMatchObject({
    state: 'Running',
    task: { state: 'running', restarts: 1, before: { exitCode: 1, finishedAt: at.clock.now() - 9000 } },
  });
});

test('a stopped group stays, and a stop or a delete of none is no error', async () => {
  await using at = await setUp({ runsMs: undefined });
  await at.groups.put(NAME, GROUP);
  await at.clock.advance(60_000);
  expect(at.arm.alive()).toEqual([NAME]);
  await at.groups.stop(NAME);
  expect(at.arm.alive()).toEqual([]);
  expect(await at.groups.get(NAME)).toMatchObject({ state: 'Stopped', task: { state: 'terminated', exitCode: 137 } });
  await at.groups.stop('none');
  await at.groups.remove('none');
});

describe('errors', () => {
  test('another operation under way is a conflict', async () => {
    await using at = await setUp();
    await at.groups.put(NAME, GROUP);
    await expect(at.groups.put(NAME, GROUP)).rejects.toMatchObject({
      kind: 'conflict',
      code: 'ContainerGroupTransitioning',
    });
  });

  test('a full region is a quota, and names it', async () => {
    await using at = await setUp({}, { mostGroups: 1 });
    await at.groups.put(NAME, GROUP);
    await expect(at.groups.put('acme-echo-y', GROUP)).rejects.toMatchObject({
      kind: 'throttled',
      code: 'ContainerGroupQuotaReached',
      message: expect.stringContaining("quota 'ContainerGroups' exceeded"),
    });
  });

  test('a group that the service will never take is invalid', async () => {
    await using at = await setUp();
    await expect(at.groups.put('Acme', GROUP)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'InvalidContainerGroupName',
    });
  });

  test('a log that is not there yet is to be had later', async () => {
    await using at = await setUp();
    await at.groups.put(NAME, GROUP);
    await expect(at.groups.tail(NAME, 'task', 10)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test.each([
    [429, 'TooManyRequests', 'throttled', 7000],
    [409, 'ServiceUnavailable', 'unavailable', undefined],
    [500, 'InternalServerError', 'unknown', undefined],
    [503, 'ServerBusy', 'unavailable', undefined],
    [403, 'AuthorizationFailed', 'forbidden', undefined],
    [401, 'ExpiredAuthenticationToken', 'forbidden', undefined],
    [400, 'InaccessibleImage', 'invalid', undefined],
    [409, 'RegistryErrorResponse', 'unavailable', undefined],
  ])('%i %s is %s', async (status, code, kind, retryAfterMs) => {
    await using at = await setUp();
    at.arm.use(() => ({ status, code, ...(retryAfterMs === undefined ? {} : { retryAfterSeconds: 7 }) }));
    for (const call of [at.groups.get(NAME), at.groups.put(NAME, GROUP), at.groups.remove(NAME), at.groups.list()])
      await expect(call).rejects.toMatchObject({ name: 'ServiceError', kind, code, retryAfterMs });
    // Each was tried once.
    expect(at.arm.requests).toHaveLength(4);
  });

  test('a quota under another code is one too', async () => {
    await using at = await setUp();
    at.arm.use(() => ({
      status: 409,
      code: 'ServiceUnavailable',
      message: "quota 'StandardCores' exceeded in region 'here'",
    }));
    await expect(at.groups.put(NAME, GROUP)).rejects.toMatchObject({
      kind: 'throttled',
      code: 'ContainerGroupQuotaReached',
    });
  });
});

test('I12: a service that never answers is waited for until the deadline', async () => {
  const { createServer } = await import('node:http');
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const client = new ContainerInstanceManagementClient({ getToken: async () => null }, 's', {
    endpoint: `http://127.0.0.1:${port}`,
    allowInsecureConnection: true,
    retryOptions: { maxRetries: 0 },
  });
  client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
  const groups = createContainerGroups(client, 'g', 'task', systemClock, 50);
  const calls = [
    groups.get(NAME),
    groups.put(NAME, GROUP),
    groups.stop(NAME),
    groups.remove(NAME),
    groups.list(),
    groups.tail(NAME, 'task', 1),
  ];
  const ended = await Promise.allSettled(calls);
  server.closeAllConnections();
  server.close();
  for (const one of ended)
    expect(one).toMatchObject({ status: 'rejected', reason: { name: 'ServiceError', kind: 'unknown' } });
});
