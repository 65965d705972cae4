/**
 * Container groups of a real subscription, where the environment names one: SLIPWAY_AZURE_SUBSCRIPTION, SLIPWAY_AZURE_RESOURCE_GROUP (which
 * must be there) and SLIPWAY_AZURE_LOCATION, with the credentials that DefaultAzureCredential finds, such as those of `az login`. Makes four
 * groups of one vCPU for a minute or two: about a cent. SLIPWAY_AZURE_ENDPOINT: another cloud. SLIPWAY_AZURE_IMAGE: an image with a POSIX shell.
 *
 * What is seen here is what testing/arm is held to: a word of the service that the stand-in never says fails the test.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, describe, expect, test } from 'vitest';
import { formatReport, reportIn, reportLine } from '#/contract/runner-abi.ts';
import { systemClock } from '#/lib/clock.ts';
import { createGroupsIn } from '#/operator/aci/azure.ts';
import type { ContainerGroup } from '#/operator/aci/container-group.ts';
import type { GroupRecord } from '#/operator/aci/groups.ts';
import { translate } from '#/operator/aci/translate.ts';
import { isLive } from '#/testing/tiers.ts';

const { env } = process;
const [subscription = '', resourceGroup = ''] = [
  env['SLIPWAY_AZURE_SUBSCRIPTION'],
  env['SLIPWAY_AZURE_RESOURCE_GROUP'],
];
const location = env['SLIPWAY_AZURE_LOCATION'] ?? '';
const image = env['SLIPWAY_AZURE_IMAGE'] ?? 'mcr.microsoft.com/azurelinux/busybox:1.36';
const place = `/subscriptions/${subscription}/resourceGroups/${resourceGroup}`;
const START_WITHIN_MS = 600_000;

/** Words that the stand-in knows of a group, of its operation, and of a container. */
const KNOWN = {
  state: ['', 'Pending', 'Running', 'Succeeded', 'Failed', 'Stopped'],
  provisioning: ['Pending', 'Creating', 'Succeeded', 'Failed', 'Repairing'],
  task: [undefined, 'waiting', 'running', 'terminated'],
};

describe.skipIf(!isLive('Azure', env))('Azure Container Instances', () => {
  const groups = createGroupsIn(env['SLIPWAY_AZURE_ENDPOINT'], systemClock)(place);
  const made: string[] = [];

  afterAll(async () => {
    for (const name of made) await groups.remove(name).catch(() => undefined);
  }, 120_000);

  function groupOf(script: string): ContainerGroup {
    const containers = [
      {
        name: 'task',
        image,
        command: ['sh', '-c', script],
        env: [{ name: 'TOKEN', value: 'hidden' }],
        resources: { requests: { cpu: '1', memory: '1Gi' } },
      },
    ];
    const nothing = { secret: () => undefined, configMap: () => undefined, field: () => undefined };
    const where = { location, identities: [], registries: [] };
    const translation = translate({ spec: { containers } }, where, { 'slipway-test': 'live' }, nothing);
    if (translation.kind !== 'group') throw new Error('it cannot be translated');
    return translation.group;
  }

  async function run(script: string): Promise<string> {
    const name = `slipway-live-${randomUUID().slice(0, 8)}`;
    made.push(name);
    await groups.put(name, groupOf(script));
    return name;
  }

  /** Reads it until it is as it should be; every answer on the way must be one that the stand-in could give. */
  async function until(
    name: string,
    is: (group: GroupRecord | undefined) => boolean,
  ): Promise<GroupRecord | undefined> {
    const end = systemClock.monotonic() + START_WITHIN_MS;
    let last = '';
    for (;;) {
      const group = await groups.get(name);
      const seen = `${group?.provisioning} ${group?.state} ${group?.task?.state} ${group?.task?.detail}`;
      if (seen !== last) console.log(`${new Date().toISOString()} ${name}: ${seen}`);
      last = seen;
      if (group !== undefined) {
        expect(KNOWN.provisioning).toContain(group.provisioning);
        expect(KNOWN.state).toContain(group.state);
        expect(KNOWN.task).toContain(group.task?.state);
      }
      if (is(group)) return group;
      if (systemClock.monotonic() > end) throw new Error(`${name} is still: ${seen}`);
      await systemClock.sleep(2000, new AbortController().signal);
    }
  }

  test('a task that succeeds: its exit code, its last words, and its end', { timeout: 900_000 }, async () => {
    const report = formatReport({ v: 1, status: 'completed', webhook: 'none' });
    const name = await run(`echo at work; echo '${reportLine(report)}'`);
    const group = await until(name, (one) => one?.task?.state === 'terminated');
    expect(group).toMatchObject({
      tags: { 'slipway-test': 'live' },
      state: 'Succeeded',
      task: { exitCode: 0, restarts: 0 },
    });
    const printed = await groups.tail(name, 'task', 60);
    expect(printed).toContain('at work');
    expect(reportIn(printed)).toBe(report);
    expect((await groups.list()).map((one) => one.name)).toContain(name);
    await groups.remove(name);
    await until(name, (one) => one === undefined);
  });

  test('a task that fails is not started again, and is called Failed', { timeout: 900_000 }, async () => {
    const name = await run('echo it broke; exit 3');
    const group = await until(name, (one) => one?.task?.state === 'terminated');
    expect(group).toMatchObject({ state: 'Failed', task: { exitCode: 3 } });
  });

  test('a task that is stopped while it runs', { timeout: 900_000 }, async () => {
    const name = await run('sleep 3000');
    await until(name, (one) => one?.task?.state === 'running');
    await groups.stop(name);
    await until(name, (one) => one?.state === 'Stopped');
  });

  test('what is refused', async () => {
    expect(await groups.get('slipway-live-none')).toBeUndefined();
    await groups.remove('slipway-live-none');
    await groups.stop('slipway-live-none');
    await expect(groups.put('Not-a-Name', groupOf('true'))).rejects.toMatchObject({ kind: 'invalid' });
  });
});
