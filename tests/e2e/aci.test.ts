/**
 * Tasks on Azure Container Instances from `helm install` to `helm uninstall`, with our images on a real node: the operator, and the hook that
 * deletes the groups, are pods under the chart's rights. Azure is a stand-in on this machine, whose groups run the real runner.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { systemClock } from '#/lib/clock.ts';
import type { RawJob } from '#/operator/jobs/records.ts';
import { ORDINARY } from '#/testing/arm/life.ts';
import type { GroupBody } from '#/testing/arm/rules.ts';
import { startRunner } from '#/testing/arm/runner-program.ts';
import { type ArmServer, startArm } from '#/testing/arm/server.ts';
import { eventually } from '#/testing/eventually.ts';
import { installOnNode, type NodeInstallation, RELEASE } from '#/testing/node-installation.ts';

const QUEUE = 'acme-tasks';
/** Is in a Secret that the task type names. */
const TOKEN = 'this-must-stay-in-its-secret';
const OTHER_RELEASE = 'harbour';

let arm: ArmServer;
let installation: NodeInstallation;

beforeAll(async () => {
  const runs = new Map<string, number>();
  installation = await installOnNode({
    queues: [QUEUE],
    secrets: { echo: { TOKEN } },
    config: async ({ hostAddress }) => {
      arm = await startArm(
        {
          clock: systemClock,
          deletesMs: 500,
          program: (_, body) => (variable(body, 'TASK_TYPE') === 'echo' ? startRunner(body) : undefined),
          behaviour: (name) => {
            runs.set(name, (runs.get(name) ?? 0) + 1);
            // As long as nobody stops it; the second time it ends.
            return { ...ORDINARY, createsMs: 100, startsMs: 500, runsMs: runs.get(name) === 1 ? undefined : 500 };
          },
        },
        hostAddress,
      );
      return {
        backend: 'aci',
        aci: {
          subscriptionId: '11111111-1111-4111-8111-111111111111',
          resourceGroup: 'tasks',
          location: 'westeurope',
          endpoint: arm.url,
        },
        polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
        taskTypes: {
          echo: { attempts: 1, envFrom: [{ secretRef: { name: 'echo' } }] },
          long: { image: 'example.test/long:1', attempts: 1, timeoutSeconds: 600 },
        },
      };
    },
  });
}, 900_000);

afterAll(async () => {
  try {
    await installation?.[Symbol.asyncDispose]();
  } finally {
    await arm?.[Symbol.asyncDispose]();
  }
}, 60_000);

function variable({ properties }: GroupBody, name: string): string | undefined {
  const variables = properties.containers[0]?.properties.environmentVariables ?? [];
  return variables.find((one) => one.name === name)?.secureValue;
}

async function jobs(type: string): Promise<readonly RawJob[]> {
  const labels = `${LABEL.taskType}=${type}`;
  return (await installation.node.get<{ items: RawJob[] }>('jobs', '-l', labels, '-n', installation.namespace)).items;
}

const put = (id: string, type: string, payload: unknown = {}) =>
  installation.queues.put(QUEUE, {
    task_id: id,
    task_type: type,
    payload,
    webhook_url: `${installation.sink.url}/${id}`,
  });

const settled = (type: string, count: number) =>
  eventually(async () => {
    const all = await jobs(type);
    expect(all.filter(({ metadata }) => metadata?.labels?.[LABEL.state] === 'settled')).toHaveLength(count);
    return all;
  }, 120_000);

test('tasks run as container groups, with what their Secrets hold; no pod is made', { timeout: 180_000 }, async () => {
  const { sink, kubectl, queues } = installation;
  for (const id of ['one', 'two', 'three']) await put(id, 'echo', { id });
  await put('failing', 'echo', { fail: 'told to fail' });
  const secrets = new Set<string | undefined>();
  await eventually(async () => {
    for (const name of arm.groups) secrets.add(variable(arm.bodyOf(name) as GroupBody, 'TOKEN'));
    expect([...secrets]).toEqual([TOKEN]);
  }, 60_000);
  await settled('echo', 4);
  const reports = sink.requests.map(({ body }) => webhookBodySchema.parse(JSON.parse(body)));
  expect(reports.map(({ task_id, status }) => [task_id, status]).toSorted()).toEqual([
    ['failing', 'failed'],
    ['one', 'completed'],
    ['three', 'completed'],
    ['two', 'completed'],
  ]);
  expect((await queues.poison(QUEUE)).map(({ diagnosis }) => diagnosis.category)).toEqual(['TaskFailed']);
  await eventually(async () => expect(arm.groups).toEqual([]));
  expect(await kubectl('get', 'pods', '-l', LABEL.taskType, '-o', 'name')).toBe('');
  console.log(await kubectl('get', 'jobs'));
  const everything = await kubectl('get', 'jobs,events,configmaps', '-o', 'yaml');
  expect(everything).not.toContain(TOKEN);
  expect(await kubectl('logs', `deployment/${RELEASE}`)).not.toContain(TOKEN);
});

test('I10 I13: helm uninstall leaves no group, and the Jobs; under another name they start again, uncounted', {
  timeout: 240_000,
}, async () => {
  const { kubectl, queues } = installation;
  await put('long-1', 'long');
  await put('long-2', 'long');
  await eventually(async () => expect(arm.alive()).toHaveLength(2), 60_000);

  await installation.uninstall(RELEASE);
  expect(arm.groups).toEqual([]);
  // Of the release nothing is left, the hook's Job neither.
  expect(await kubectl('get', 'deployments,pods,roles', '-o', 'name')).toBe('');
  const left = await jobs('long');
  expect(left.map(({ status }) => [status?.active, status?.failed ?? 0])).toEqual([
    [1, 0],
    [1, 0],
  ]);

  await installation.install(OTHER_RELEASE);
  const ended = await settled('long', 2);
  expect(ended.map(({ metadata, status }) => [metadata?.uid, status?.succeeded, status?.failed ?? 0])).toEqual(
    left.map(({ metadata }) => [metadata?.uid, 1, 0]),
  );
  await eventually(async () => expect(arm.groups).toEqual([]));
  expect(await queues.count(QUEUE)).toBe(0);
  expect(arm.overwritten).toEqual([]);
});

test('helm uninstall without a group ends at once', { timeout: 120_000 }, async () => {
  await installation.uninstall(OTHER_RELEASE);
  expect(await installation.kubectl('get', 'deployments,pods', '-o', 'name')).toBe('');
});
