import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../contract/identity.ts';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { testConfig, testJob } from '../testing/jobs.ts';
import { World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';
import { LiveConfig } from './live-config.ts';
import { TaskTypes } from './task-types.ts';

const YAML = 'taskTypes: { echo: {}, bad: {} }';

/** Task types that are being asked about, by a server that refuses those named. */
async function setUp(queues = '', yaml = YAML) {
  const config = testConfig(queues + yaml, { SLIPWAY_POD_NAME: 'operator-1' });
  const world = new World(YAML);
  const refusals = new Map<string, ErrorKind>();
  const life = world.rest();
  let checked = 0;
  const { store } = life.tools;
  const live = new LiveConfig(config);
  const asking = {
    ...store,
    dryRun: async (...[job, signal]: Parameters<typeof store.dryRun>) => {
      const type = job.spec?.template.metadata?.annotations?.['slipway.dev/task-type'] ?? '';
      const kind = refusals.get(type);
      if (kind !== undefined) throw new ServiceError(kind, 'Code', `refused as ${kind}`);
      await store.dryRun(job, signal);
    },
  };
  const types = new TaskTypes({
    config: live,
    context: () => life.tools.context,
    sources: () => config.sources,
    store: asking,
    clock: world.clock,
    log: createLog('silent', {}),
    metrics: life.metrics,
    onChecked: () => checked++,
  });
  const stop = new AbortController();
  const run = () => {
    void types.keepChecking(stop.signal);
    return settled();
  };
  return {
    world,
    config,
    live,
    types,
    refusals,
    run,
    checked: () => checked,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settled();
      await world[Symbol.asyncDispose]();
    },
  };
}

describe('task types', () => {
  test('that the server takes may be started, once all were asked about', async () => {
    await using at = await setUp();
    expect([at.types.checked, at.checked()]).toEqual([false, 0]);
    await at.run();
    expect([at.types.checked, at.checked(), at.types.paused.size]).toEqual([true, 1, 0]);
    expect(await at.world.jobs()).toEqual([]);
  });

  test('I7: one whose Job is refused is paused, alone, and an Event says why', async () => {
    await using at = await setUp();
    at.refusals.set('bad', 'invalid');
    await at.run();
    expect(at.types.checked).toBe(true);
    expect(at.types.pausedBecause('bad')).toBe('the API server refuses its Job: refused as invalid');
    expect(at.types.pausedBecause('echo')).toBeUndefined();
    expect(at.world.store.notices).toMatchObject([
      { reason: 'TaskTypePaused', type: 'Warning', about: { kind: 'Pod', name: 'operator-1' } },
    ]);
  });

  test('is resumed when the server takes it, within a minute', async () => {
    await using at = await setUp();
    at.refusals.set('bad', 'invalid');
    await at.run();
    at.refusals.clear();
    await at.world.clock.advance(60_000);
    expect(at.types.paused.size).toBe(0);
    at.refusals.set('bad', 'invalid');
    await at.world.clock.advance(60_000);
    expect([...at.types.paused.keys()]).toEqual(['bad']);
    expect(at.checked()).toBe(1);
  });

  test('forbidden is no reason to pause: quota, policy and lost rights look alike, and pass', async () => {
    await using at = await setUp();
    at.refusals.set('bad', 'forbidden');
    await at.run();
    expect([at.types.checked, at.types.paused.size]).toEqual([true, 0]);
  });

  test.each<ErrorKind>(['unavailable', 'unknown', 'throttled'])(
    'I5: without an answer (%s) nothing is known, and it asks again soon',
    async (kind) => {
      await using at = await setUp();
      at.refusals.set('bad', kind);
      await at.run();
      await at.world.clock.advance(10_000);
      expect([at.types.checked, at.types.paused.size]).toEqual([false, 0]);
      at.refusals.clear();
      await at.world.clock.advance(2000);
      expect([at.types.checked, at.checked()]).toEqual([true, 1]);
    },
  );

  test('I7: after a change of the configuration all are asked about anew, at once, before anything is received', async () => {
    await using at = await setUp();
    at.refusals.set('bad', 'invalid');
    await at.run();
    expect([...at.types.paused.keys()]).toEqual(['bad']);
    at.live.replace({ ...at.config, hash: 'another' });
    expect([at.types.checked, at.types.paused.size]).toEqual([false, 0]);
    await settled();
    expect([at.types.checked, at.checked(), [...at.types.paused.keys()]]).toEqual([true, 2, ['bad']]);
  });

  const ended = (client: string, configHash: string, name = 'acme-echo-abcdefghijkl') =>
    testJob({
      name,
      annotations: { [ANNOTATION.client]: client, [ANNOTATION.configHash]: configHash },
    });

  test('I7: one whose last five tasks could not start is paused: a wrong image must not poison a queue', async () => {
    await using at = await setUp();
    await at.run();
    const { hash } = at.config;
    for (let times = 1; times <= 4; times++) at.types.ended(ended('acme', hash), 'ImagePull');
    expect(at.types.paused.size).toBe(0);
    at.types.ended(ended('acme', hash), 'ContainerConfig');
    expect(at.types.pausedBecause('echo')).toBe(
      'the last 5 tasks could not start (ContainerConfig); the last one was acme-echo-abcdefghijkl',
    );
    await at.world.clock.advance(180_000);
    expect([...at.types.paused.keys()], 'that the server takes its Job does not resume it').toEqual(['echo']);
  });

  test('a task that started ends the row, and so does not count what was made under another configuration', async () => {
    await using at = await setUp();
    const { hash } = at.config;
    for (let times = 1; times <= 4; times++) at.types.ended(ended('acme', hash), 'InvalidImage');
    at.types.ended(ended('acme', hash), 'TaskFailed');
    for (let times = 1; times <= 4; times++) at.types.ended(ended('acme', hash), 'InvalidImage');
    for (let times = 1; times <= 9; times++) at.types.ended(ended('acme', 'another'), 'InvalidImage');
    expect(at.types.paused.size).toBe(0);
  });

  test('of several clients two must be hit: the images of one are no reason to keep the tasks of the others', async () => {
    await using at = await setUp('queues: [{ name: acme-tasks }, { name: globex-tasks }]\n');
    const { hash } = at.config;
    for (let times = 1; times <= 9; times++) at.types.ended(ended('acme', hash), 'ImagePull');
    expect(at.types.paused.size).toBe(0);
    at.types.ended(ended('globex', hash), 'ImagePull');
    expect([...at.types.paused.keys()]).toEqual(['echo']);
  });

  test('a type that is paused stays so when the server is away', async () => {
    await using at = await setUp();
    at.refusals.set('bad', 'invalid');
    await at.run();
    at.refusals.set('bad', 'unavailable');
    await at.world.clock.advance(180_000);
    expect(at.types.pausedBecause('bad')).toBe('the API server refuses its Job: refused as invalid');
  });
});

describe('a type for Azure Container Instances', () => {
  const ACI =
    'aci: { subscriptionId: 11111111-1111-4111-8111-111111111111, resourceGroup: tasks, location: westeurope }';

  test('that it cannot run is paused, with the field and the alternative, and before any call to Azure', async () => {
    const patch = '{ spec: { volumes: [{ name: host, hostPath: { path: /etc } }] } }';
    const types = `{ echo: { backend: aci }, bad: { backend: aci, podTemplate: ${patch} } }`;
    await using at = await setUp('', `${ACI}\ntaskTypes: ${types}`);
    await at.run();
    expect(at.types.checked).toBe(true);
    expect([...at.types.paused]).toEqual([
      [
        'bad',
        "it cannot run on Azure Container Instances: the pod template's spec.volumes[1].hostPath: a group has no host. Use an emptyDir, or Blob storage",
      ],
    ]);
  });

  test('that one client’s settings make impossible is paused too', async () => {
    const clients = '{ acme: { env: [{ name: _HIDDEN, value: x }] } }';
    await using at = await setUp('', `${ACI}\nbackend: aci\ntaskTypes: { echo: {} }\nclients: ${clients}`);
    await at.run();
    expect(at.types.pausedBecause('echo')).toContain('"_HIDDEN" must be at most 63 letters');
  });
});
