/** Microsoft's own examples of requests and answers, through the SDK's client and the stand-in. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { systemClock } from '../../lib/clock.ts';
import { clientFor } from '../../testing/arm/server.ts';
import { type Answer, createArm } from '../../testing/arm/service.ts';
import { AciWorld } from '../../testing/arm/world.ts';
import { createContainerGroups } from './groups.ts';

interface Example {
  readonly parameters: { readonly containerGroup?: object; readonly containerGroupName?: string };
  readonly responses: Readonly<Record<string, { readonly body?: object }>>;
}
const directory = new URL('../../testing/arm/2023-05-01/examples/', import.meta.url);
const example = (name: string): Example => JSON.parse(readFileSync(new URL(`${name}.json`, directory), 'utf8'));
const answerOf = (name: string, status = 200): Answer => {
  const body = example(name).responses[status]?.body;
  return { status, ...(body === undefined ? {} : { body }) };
};

/** The service that gives one answer to all. */
const answering = (answer: Answer, container = 'demo1') =>
  createContainerGroups(clientFor({ handle: () => answer }), 'demo', container, systemClock);

describe('answers are read', () => {
  test('a group that cannot start', async () => {
    expect(await answering(answerOf('ContainerGroupsGet_Failed')).get('demo1')).toEqual({
      name: 'demo1',
      tags: {},
      provisioning: 'Failed',
      state: 'Pending',
      task: {
        state: 'waiting',
        exitCode: undefined,
        detail: '',
        startedAt: Date.parse('2017-08-08T00:09:10Z'),
        finishedAt: undefined,
        restarts: 0,
        before: undefined,
      },
      events: [
        { name: 'Pulling', message: 'pulling image "nginx"', lastAt: Date.parse('2017-08-08T00:09:01Z') },
        { name: 'Pulled', message: 'Successfully pulled image "nginx"', lastAt: Date.parse('2017-08-08T00:09:10Z') },
        {
          name: 'FailedMount',
          message: 'Output: mount error(2): Permission denied',
          lastAt: Date.parse('2017-10-08T00:19:10Z'),
        },
      ],
    });
  });

  test('one of which nothing is told but that it is there', async () => {
    expect(await answering(answerOf('ContainerGroupsGet_Succeeded')).get('demo1')).toEqual({
      name: 'demo1',
      tags: {},
      provisioning: 'Succeeded',
      state: '',
      task: undefined,
      events: [],
    });
  });

  test('one that has ended', async () => {
    const group = await answering(answerOf('ContainerGroupsGetPriority'), 'test-container-001').get('demo1');
    expect(group).toMatchObject({
      provisioning: 'Succeeded',
      state: 'Succeeded',
      task: {
        state: 'terminated',
        exitCode: 0,
        detail: 'Completed',
        finishedAt: Date.parse('2022-11-11T19:33:55.565Z'),
      },
    });
    expect(group?.events.map(({ name }) => name)).toEqual(['Pulling', 'Pulled', 'Started']);
  });

  test('a list, a log, and what deletes and stops give', async () => {
    const list = await answering(answerOf('ContainerGroupsListByResourceGroup')).list();
    expect(list).toEqual([{ name: 'demo1', tags: {}, provisioning: 'Succeeded' }]);
    expect(await answering(answerOf('ContainerListLogs')).tail('demo1', 'demo1', 10)).toBe('log content');
    for (const status of [200, 202, 204]) await answering(answerOf('ContainerGroupsDelete', status)).remove('demo1');
    await answering(answerOf('ContainerGroupsStop', 204)).stop('demo1');
  });
});

test.each([
  'ContainerGroupsCreateOrUpdate',
  'ContainerGroupsCreatePriority',
  'ContainerGroupCreateConfidential',
  'ContainerGroupEncryptionProperties',
  'ContainerGroupExtensions',
])('the stand-in takes the request of %s, and refuses it with a field that there is not', (name) => {
  const { parameters } = example(name);
  const put = (body: object) => {
    const path = `/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerInstance/containerGroups/${parameters.containerGroupName}`;
    return createArm({ clock: systemClock }).handle('PUT', `${path}?api-version=2023-05-01`, JSON.stringify(body));
  };
  expect(put(parameters.containerGroup ?? {}).status).toBe(201);
  expect(put({ ...parameters.containerGroup, colour: 'red' })).toMatchObject({
    status: 400,
    body: { error: { code: 'InvalidRequestContent' } },
  });
});

/** The official answer, as if it were about the group of the only Job. */
function replayed(name: string, at: AciWorld): object {
  const [job = ''] = at.arm.groups;
  const { tags, properties } = at.arm.bodyOf(job) ?? { tags: {} };
  const container = properties?.containers[0]?.name;
  const body = structuredClone(answerOf(name).body) as {
    name: string;
    tags: unknown;
    properties: { containers: { name: string | undefined }[] };
  };
  for (const one of body.properties.containers) one.name = container;
  return { ...body, name: job, tags };
}

describe('the operator makes of them', () => {
  /** A task whose group is as an example has it, after a minute. */
  async function on(name: string, clean: AsyncDisposableStack) {
    const at = clean.use(await AciWorld.running('taskTypes: { echo: { attempts: 1 } }'));
    at.send('a', { runsMs: 3_600_000 });
    await at.clock.advance(5000);
    const body = replayed(name, at);
    at.arm.use(({ operation }) => (operation === 'get' ? { status: 200, code: '', body } : undefined));
    await at.clock.advance(60_000);
    return at;
  }

  test('a task that completed', async () => {
    await using clean = new AsyncDisposableStack();
    const { managed } = await (await on('ContainerGroupsGetPriority', clean)).theJob();
    expect(managed?.status).toMatchObject({ succeeded: 1, active: 0 });
  });

  test('a task that runs, where nothing is told of its container', async () => {
    await using clean = new AsyncDisposableStack();
    const { managed } = await (await on('ContainerGroupsGet_Succeeded', clean)).theJob();
    expect(managed?.status).toMatchObject({ active: 1, ready: 1 });
  });

  test('a group that is ended, and a reason that can be read', async () => {
    await using clean = new AsyncDisposableStack();
    const at = await on('ContainerGroupsGet_Failed', clean);
    const { annotations } = await at.theJob();
    expect(annotations[ANNOTATION.groups]).toContain('mount error(2): Permission denied');
    expect(at.arm.requests.map(({ operation }) => operation)).toContain('stop');
  });
});
