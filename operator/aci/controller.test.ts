/** The operator on fakes, with its tasks on the stand-in for Azure Container Instances, through the SDK's own client. */
import { afterEach, describe, expect, test } from 'vitest';
import { ANNOTATION, TAG } from '../../contract/identity.ts';
import { AciWorld } from '../../testing/arm/world.ts';
import { randomOf } from '../../testing/random.ts';
import { ACI_CHECKPOINTS } from '../checkpoint.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const WEBHOOK = { webhook_url: 'https://backend.example/hook' };

const worlds: AciWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) {
    // Whatever the test was about: no group was started again under a task that ran, and none is left.
    expect(world.arm.overwritten).toEqual([]);
    await world[Symbol.asyncDispose]();
  }
});

async function running(...args: Parameters<typeof AciWorld.running>): Promise<AciWorld> {
  const world = await AciWorld.running(...args);
  worlds.push(world);
  return world;
}

/** The only Job's group. */
async function theGroup(world: AciWorld) {
  const { name } = await world.theJob();
  const body = world.arm.bodyOf(name);
  if (body === undefined) throw new Error('there is no group');
  return { name, body };
}

/** Lets time pass, and gives the end. */
async function endAfter(world: AciWorld, ms: number) {
  await world.clock.advance(ms);
  return world.endState();
}

describe('I1 I13: a task on Azure Container Instances', () => {
  test('gets one group, and is settled by what that reports', async () => {
    const at = await running();
    at.send('a', { report: { status: 'completed', webhook: 'delivered' } }, WEBHOOK);
    await at.clock.advance(15_000);
    const job = await at.theJob();
    expect(job.managed?.by).toBe('slipway.dev/aci');
    expect(at.arm.groups).toEqual([job.name]);
    expect(at.arm.bodyOf(job.name)?.tags).toMatchObject({ [TAG.jobUid]: job.uid, [TAG.attempt]: '1' });
    expect(job.managed?.status).toMatchObject({ active: 1, ready: 0 });
    expect(await endAfter(at, 2 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [], webhooks: [] });
    const { managed, settled } = await at.theJob();
    expect(settled).toBe(true);
    expect(managed?.status).toMatchObject({ active: 0, ready: 0, succeeded: 1 });
    expect(managed?.status.conditions?.map(({ type }) => type)).toEqual(['SuccessCriteriaMet', 'Complete']);
    expect(at.arm.groups).toEqual([]);
    expect(at.starts()).toEqual([1]);
  });

  test('starts within seconds of its message, and its TASK_DATA is shown to nobody', async () => {
    const at = await running();
    await at.clock.advance(HOUR_MS);
    at.send('a', { runsMs: HOUR_MS });
    const sent = at.clock.now();
    await at.clock.advance(30_000);
    const put = at.arm.requests.find(({ operation }) => operation === 'put');
    expect((put?.at ?? Number.NaN) - sent).toBeLessThan(10_000);
    const [container] = at.arm.bodyOf((await at.theJob()).name)?.properties.containers ?? [];
    const data = container?.properties.environmentVariables?.find(({ name }) => name === 'TASK_DATA');
    expect(data).toEqual({ name: 'TASK_DATA', secureValue: expect.stringContaining('"task_id":"a"') });
  });

  test('of a queue that is new starts within seconds too', async () => {
    const at = await running('discovery: {}\nqueues: []\ntaskTypes: { echo: {} }');
    await at.clock.advance(HOUR_MS);
    at.queues.create('newcomer-tasks');
    at.queues.send('newcomer-tasks', { task_id: 'a', task_type: 'echo', payload: { runsMs: HOUR_MS } });
    const sent = at.clock.now();
    await at.clock.advance(MINUTE_MS);
    const put = at.arm.requests.find(({ operation }) => operation === 'put');
    expect((put?.at ?? Number.NaN) - sent).toBeLessThan(30_000);
  });

  test('that fails every attempt is poisoned once, and each attempt had a group of its own', async () => {
    const at = await running();
    at.send('a', { exitCode: 3, log: 'it broke\n' }, WEBHOOK);
    expect(await endAfter(at, HOUR_MS)).toMatchObject({
      queued: [],
      poisoned: [expect.stringContaining('TaskFailed')],
      webhooks: [expect.stringContaining('failed')],
    });
    expect(at.starts()).toEqual([3]);
    expect((await at.theJob()).managed?.status.conditions?.map(({ type }) => type)).toEqual([
      'FailureTarget',
      'Failed',
    ]);
    expect(JSON.parse((await at.theJob()).annotations[ANNOTATION.outcome] ?? '')).toMatchObject({
      diagnosis: { message: 'the container ended with exit code 3' },
      attempts: [{ exitCode: 3 }, { exitCode: 3 }, { exitCode: 3 }],
    });
  });

  test('that fails once is tried again, after a pause, when the first group is gone', async () => {
    const at = await running(undefined, { deletesMs: 45_000 });
    at.send('a', { ends: [{ exitCode: 1 }, { report: { status: 'completed', webhook: 'none' } } as object] });
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2]);
    const [first, second] = at.arm.requests.filter(({ operation }) => operation === 'put');
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(45_000 + 20_000);
  });

  test('whose exit code says that no attempt can help is not tried again', async () => {
    const at = await running();
    at.send('a', { exitCode: 65 });
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ poisoned: [expect.stringContaining('TaskFailed')] });
    expect(at.starts()).toEqual([1]);
    expect((await at.theJob()).end?.reason).toBe('PodFailurePolicy');
  });

  test('that the platform starts again after a failure has failed: its first end counts', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { exitCode: 4, restarts: true });
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ poisoned: [expect.stringContaining('TaskFailed')] });
    expect(at.arm.groups).toEqual([]);
  });

  test.each([7147, 7148])('that maintenance ends with %i runs again, and no attempt is used up', async (exitCode) => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { ends: [{ exitCode }, { exitCode }, {}] });
    expect(await endAfter(at, 30 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([3]);
  });

  test('that the platform moves runs again in a group of its own, and no attempt is used up', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { ends: [{ repairsMs: 5000, runsMs: 20_000 }, {}] });
    expect(await endAfter(at, 30 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2]);
    expect(at.arm.groups).toEqual([]);
  });

  test.each(['fails', 'fails-and-runs'] as const)(
    'whose group is called Failed (%s) is ended first, and then tried again',
    async (provisioning) => {
      const at = await running('taskTypes: { echo: { attempts: 2 } }');
      at.send('a', { ends: [{ provisioning, startsMs: 40_000, runsMs: 400_000 }, {}] });
      expect(await endAfter(at, 30 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
      expect(at.starts()).toEqual([2]);
    },
  );

  test('whose image cannot be pulled uses up an attempt after its start timeout, and says why meanwhile', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    const message = 'Failed to pull image "registry.example/runner:1": not found';
    at.send('a', { startsMs: HOUR_MS, events: [{ name: 'Failed', message, type: 'Warning' }] });
    await at.clock.advance(2 * MINUTE_MS);
    expect((await at.theJob()).annotations[ANNOTATION.diagnosis]).toContain('ImagePull');
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ poisoned: [expect.stringContaining('ImagePull')] });
    expect(at.arm.groups).toEqual([]);
  });

  test('that runs for too long is ended at its deadline', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1, timeoutSeconds: 60, startTimeoutSeconds: 60 } }');
    at.send('a', { runsMs: HOUR_MS });
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ poisoned: [expect.stringContaining('TaskTimedOut')] });
    expect(at.arm.groups).toEqual([]);
  });

  test('whose last words cannot be read is reported by the operator, with the same id', async () => {
    const at = await running();
    at.arm.use(({ operation }) => (operation === 'logs' ? { status: 500, code: 'InternalServerError' } : undefined));
    at.send('a', { report: { status: 'completed', webhook: 'delivered' } }, WEBHOOK);
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ webhooks: [expect.stringContaining('completed')] });
  });

  test('whose last words cannot be read for a moment, long after its end, is reported by them', async () => {
    const at = AciWorld.resting();
    worlds.push(at);
    const first = await at.start();
    at.send('a', { runsMs: 60_000, report: { status: 'completed', webhook: 'delivered' } }, WEBHOOK);
    await at.clock.advance(MINUTE_MS);
    first.kill();
    await at.clock.advance(30 * MINUTE_MS);
    let refusals = 3;
    at.arm.use(({ operation }) => (operation === 'logs' && refusals-- > 0 ? { status: 503, code: 'Busy' } : undefined));
    await at.start();
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ queued: [], webhooks: [] });
    expect(refusals).toBeLessThan(0);
  });

  test('of a foreign image is judged by its exit code, and its last words are kept', async () => {
    const at = await running('taskTypes: { echo: { image: registry.example/other:1, attempts: 1 } }');
    at.send('a', { exitCode: 2, log: 'permission denied\n' }, WEBHOOK);
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({
      poisoned: [expect.stringContaining('TaskFailed')],
      webhooks: [expect.stringContaining('failed')],
    });
  });

  test('whose group somebody else deletes runs again, and no attempt is used up', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { ends: [{ runsMs: HOUR_MS }, {}] });
    await at.clock.advance(2 * MINUTE_MS);
    at.arm.vanish((await at.theJob()).name);
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2]);
  });
});

describe('I1 I13: stopping a task', () => {
  test.each([
    ['before its group was asked for', 0],
    ['while its group is made', 10_000],
    ['while it runs', 60_000],
  ])('by cancel, %s', async (_, ms) => {
    const at = await running(undefined, ms === 0 ? { mostGroups: 0 } : {});
    at.send('a', { runsMs: HOUR_MS });
    await at.clock.advance(ms + 6000);
    await at.store.patch((await at.theJob()).name, { annotations: { [ANNOTATION.cancel]: 'not needed' } });
    expect(await endAfter(at, 3 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    const job = await at.theJob();
    expect(job.settled).toBe(true);
    expect(JSON.parse(job.annotations[ANNOTATION.outcome] ?? '').status).toBe('cancelled');
    expect(at.arm.groups).toEqual([]);
  });

  test('by kubectl delete job: its message is dealt with when the group is gone', async () => {
    const at = await running(undefined, { deletesMs: 30_000 });
    at.send('a', { runsMs: HOUR_MS });
    await at.clock.advance(MINUTE_MS);
    at.store.remove((await at.theJob()).name);
    await at.clock.advance(20_000);
    expect(at.arm.groups).toHaveLength(1);
    expect((await at.endState()).queued).toHaveLength(1);
    expect(await endAfter(at, 2 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [], jobs: [] });
    expect(at.arm.groups).toEqual([]);
    expect(at.starts()).toEqual([1]);
  });

  test('by suspending its Job, and starting it again uses up no attempt', async () => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { ends: [{ runsMs: HOUR_MS }, {}] });
    await at.clock.advance(MINUTE_MS);
    const { name } = await at.theJob();
    await at.store.patch(name, { suspend: true });
    await at.clock.advance(MINUTE_MS);
    expect(at.arm.groups).toEqual([]);
    const { managed } = await at.theJob();
    expect(managed?.status).toMatchObject({ active: 0, conditions: [{ type: 'Suspended', status: 'True' }] });
    expect(managed?.status.startTime).toBeUndefined();
    await at.store.patch(name, { suspend: false });
    expect(await endAfter(at, 5 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2]);
  });
});

describe('I1 I13: what Azure refuses or leaves open', () => {
  test.each([
    ['a quota', { status: 409, code: 'ContainerGroupQuotaReached' }],
    [
      'no capacity',
      { status: 409, code: 'ServiceUnavailable', message: 'the resource is not available in the location' },
    ],
    ['too many requests', { status: 429, code: 'TooManyRequests', retryAfterSeconds: 90 }],
    ['lost rights', { status: 403, code: 'AuthorizationFailed' }],
    ['a resource group that is not there', { status: 404, code: 'ResourceGroupNotFound' }],
  ])('%s: the task waits, and no attempt is used up', async (_, fault) => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.arm.use(({ operation }) => (operation === 'put' ? fault : undefined));
    at.send('a');
    await at.clock.advance(10 * MINUTE_MS);
    expect(at.starts()).toEqual([0]);
    expect((await at.theJob()).annotations[ANNOTATION.diagnosis]).toMatch(/QuotaExceeded|Unschedulable/);
    const tries = at.arm.requests.filter(({ operation }) => operation === 'put').length;
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(25);
    at.arm.use(undefined);
    expect(await endAfter(at, 3 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([1]);
  });

  test('a group that it never takes: the task fails at once, as one of a wrong specification', async () => {
    const at = await running();
    at.arm.use(({ operation }) =>
      operation === 'put' ? { status: 400, code: 'InvalidRequestContent', message: 'no such property' } : undefined,
    );
    at.send('a');
    expect(await endAfter(at, MINUTE_MS)).toMatchObject({ poisoned: [expect.stringContaining('InvalidSpec')] });
  });

  test.each([
    ['with its effect', { takesEffect: true }],
    ['without it', {}],
    ['with its effect a minute later', { takesEffectAfterMs: 60_000 }],
  ])('a PUT without an answer, %s', async (_, effect) => {
    const at = await running();
    let lost = false;
    at.arm.use(({ operation }) => {
      if (operation !== 'put' || lost) return undefined;
      lost = true;
      return { status: 0, code: 'reset', ...effect };
    });
    at.send('a');
    expect(await endAfter(at, 10 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([1]);
  });

  test.each([
    ['credentials that are not taken', { status: 401, code: 'InvalidAuthenticationToken' }],
    ['a subscription that is not there', { status: 404, code: 'SubscriptionNotFound' }],
  ])('%s: nothing is concluded from it, and the Job says why it waits', async (_, fault) => {
    const at = await running('taskTypes: { echo: { attempts: 1 } }');
    at.send('a', { runsMs: 10 * MINUTE_MS });
    await at.clock.advance(MINUTE_MS);
    at.arm.use(() => fault);
    at.send('b');
    await at.clock.advance(5 * MINUTE_MS);
    const jobs = await at.jobs();
    expect(jobs.map(({ end }) => end)).toEqual([undefined, undefined]);
    // Of the one that has not started it stands on the Job; of both there is an Event.
    expect(jobs.filter((job) => job.annotations[ANNOTATION.diagnosis]?.includes(fault.code))).toHaveLength(1);
    expect(at.store.notices.filter(({ message }) => message.includes(fault.code))).toHaveLength(2);
    at.arm.use(undefined);
    expect(await endAfter(at, 20 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([1, 1]);
  });

  test('a delete that fails in silence is asked for again', async () => {
    const at = await running();
    let silent = 2;
    at.arm.use(({ operation }) => (operation === 'delete' && silent-- > 0 ? { status: 200, code: 'none' } : undefined));
    at.send('a');
    await at.clock.advance(MINUTE_MS);
    expect(at.arm.groups).toHaveLength(1);
    await at.clock.advance(10 * MINUTE_MS);
    expect(at.arm.groups).toEqual([]);
  });

  test.each([1, 2, 3])('answers of any kind to reads and deletes lose nothing (seed %i)', async (seed) => {
    const at = await running();
    const random = randomOf(seed);
    const faults = [
      { status: 429, code: 'TooManyRequests', retryAfterSeconds: 5 },
      { status: 500, code: 'InternalServerError' },
      { status: 503, code: 'ServerBusy' },
      { status: 0, code: 'reset' },
      { status: 409, code: 'ContainerGroupTransitioning' },
    ];
    at.arm.use(({ operation }) =>
      operation !== 'put' && random() < 0.6 ? faults[Math.floor(random() * faults.length)] : undefined,
    );
    for (const id of ['a', 'b', 'c']) at.send(id, { ends: [{ exitCode: 1 }, {}] });
    expect(await endAfter(at, HOUR_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2, 2, 2]);
    expect(at.arm.groups).toEqual([]);
  });

  test('a group of another installation is left alone', async () => {
    const at = await running();
    at.send('a', { runsMs: HOUR_MS });
    await at.clock.advance(MINUTE_MS);
    const { name, body } = await theGroup(at);
    at.arm.vanish(name);
    at.arm.plant(name, { ...body, tags: { ...body.tags, [TAG.installation]: 'another' } });
    await at.clock.advance(10 * MINUTE_MS);
    expect(at.arm.groups).toEqual([name]);
    expect(at.store.notices.map(({ reason }) => reason)).toContain('ForeignGroup');
    at.arm.vanish(name);
    await at.clock.advance(MINUTE_MS);
  });
});

describe('I1 I13: an operator that dies', () => {
  test.each(ACI_CHECKPOINTS)('after %s: the next one brings it to the same end, with one group', async (checkpoint) => {
    for (const downMs of [0, 20_000, 10 * MINUTE_MS]) {
      const at = AciWorld.resting();
      worlds.push(at);
      const first = await at.start({ crashAt: { checkpoint } });
      at.send('a', { report: { status: 'completed', webhook: 'owed' } }, WEBHOOK);
      await at.clock.advanceUntil(() => first.dead, 5 * MINUTE_MS);
      await at.clock.advance(downMs);
      await at.start();
      const end = await endAfter(at, 20 * MINUTE_MS);
      expect(end).toMatchObject({ queued: [], poisoned: [], webhooks: [expect.stringContaining('completed')] });
      expect(at.starts()).toEqual([1]);
      expect(at.arm.groups).toEqual([]);
    }
  });

  test('of two that claim an attempt at one moment, one asks for its group', async () => {
    const at = AciWorld.resting();
    worlds.push(at);
    await at.start();
    await at.start();
    // Neither knows of the other's claim: both are on their way.
    let claims = 0;
    at.before = async ({ method }) => {
      if (method === 'patch' && ++claims <= 2)
        await at.clock.sleep(claims === 1 ? 2000 : 1000, new AbortController().signal);
    };
    at.send('a', { runsMs: HOUR_MS });
    await at.clock.advance(3 * MINUTE_MS);
    expect(claims).toBeGreaterThanOrEqual(2);
    expect(at.arm.requests.filter(({ operation }) => operation === 'put')).toHaveLength(1);
  });

  test('two that think they lead make one group for each attempt', async () => {
    const at = await running();
    await at.start();
    for (const id of ['a', 'b', 'c', 'd']) at.send(id, { ends: [{ exitCode: 1 }, {}] });
    expect(await endAfter(at, 30 * MINUTE_MS)).toMatchObject({ queued: [], poisoned: [] });
    expect(at.starts()).toEqual([2, 2, 2, 2]);
    expect(at.arm.groups).toEqual([]);
  });
});

describe('I13: what is left over', () => {
  test('a group without a Job, and that of a finished Job, are deleted after two observations', async () => {
    const at = await running();
    at.send('a', { runsMs: HOUR_MS });
    await at.clock.advance(MINUTE_MS);
    const { name, body } = await theGroup(at);
    at.arm.plant('nobodys', body, { runsMs: HOUR_MS });
    at.arm.plant('anothers', { ...body, tags: { ...body.tags, [TAG.installation]: 'another' } }, { runsMs: HOUR_MS });
    at.arm.plant('untagged', { ...body, tags: {} }, { runsMs: HOUR_MS });
    await at.clock.advanceUntil(() => at.arm.requests.some(({ operation }) => operation === 'list'), 10 * MINUTE_MS);
    await at.clock.advance(MINUTE_MS);
    expect(at.arm.groups).toContain('nobodys');
    await at.clock.advance(10 * MINUTE_MS);
    expect(at.arm.groups.toSorted()).toEqual([name, 'anothers', 'untagged'].toSorted());
    const looks = at.arm.requests.filter(({ operation }) => operation === 'list').length;
    expect(looks).toBeGreaterThanOrEqual(2);
  });

  test('a group whose delete was under way when its operator died, and whose Job has been removed since', async () => {
    const at = AciWorld.resting('taskTypes: { echo: {} }\nttl: { completedSeconds: 60 }');
    worlds.push(at);
    const first = await at.start();
    at.arm.use(({ operation }) => (operation === 'delete' ? { status: 200, code: 'none' } : undefined));
    at.send('a');
    await at.clock.advance(MINUTE_MS);
    first.kill();
    await at.clock.advance(10 * MINUTE_MS);
    expect(await at.jobs()).toEqual([]);
    expect(at.arm.groups).toHaveLength(1);
    at.arm.use(undefined);
    await at.start();
    await at.clock.advance(15 * MINUTE_MS);
    expect(at.arm.groups).toEqual([]);
  });
});

describe('the limits of Azure', () => {
  test('300 tasks: never more than it allows, done in the time that it allows, and said meanwhile', async () => {
    const at = await running('taskTypes: { echo: {} }\nlimits: { maxRunning: 400 }');
    for (let n = 0; n < 300; n++) at.send(`t-${n}`);
    const begun = at.clock.now();
    await at.clock.advance(4 * MINUTE_MS);
    const waiting = (await at.jobs()).filter((job) => !job.settled);
    expect(waiting.length).toBeGreaterThan(150);
    const noted = waiting.filter((job) => job.annotations[ANNOTATION.diagnosis]?.includes('QuotaExceeded'));
    expect(noted.length).toBe(waiting.length);
    await at.clock.advanceUntil(() => at.queues.messages('acme-tasks').length === 0, HOUR_MS);
    expect(at.clock.now() - begun).toBeLessThan(15 * MINUTE_MS);
    for (const operation of ['put', 'delete']) {
      const times = at.arm.requests.filter((one) => one.operation === operation).map((one) => one.at);
      expect(most(times, 300_000), operation).toBeLessThanOrEqual(100);
      expect(most(times, HOUR_MS), operation).toBeLessThanOrEqual(300);
    }
    const reads = at.arm.requests.filter(({ operation }) => operation === 'get').map((one) => one.at);
    expect(most(reads, 10_000)).toBeLessThan(250);
    await at.clock.advance(HOUR_MS);
    expect(at.arm.groups).toEqual([]);
  });

  test('are kept across a restart', async () => {
    const at = AciWorld.resting('taskTypes: { echo: {} }\nlimits: { maxRunning: 400 }');
    worlds.push(at);
    const first = await at.start();
    for (let n = 0; n < 150; n++) at.send(`t-${n}`);
    await at.clock.advance(MINUTE_MS);
    first.kill();
    await at.start();
    await at.clock.advance(3 * MINUTE_MS);
    const times = at.arm.requests.filter(({ operation }) => operation === 'put').map((one) => one.at);
    expect(times.length).toBe(100);
  });
});

/** The most of these moments that lie within one window. */
function most(times: readonly number[], windowMs: number): number {
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length));
}

describe('I1 I13: what somebody else has broken, or done meanwhile', () => {
  test('a Job whose attempts cannot be read says so, and stands in nobody’s way; deleted, it is dealt with', async () => {
    const at = await running();
    at.send('broken', { runsMs: HOUR_MS });
    await at.clock.advance(MINUTE_MS);
    const { name } = await at.theJob();
    await at.store.patch(name, { annotations: { [ANNOTATION.groups]: 'no json' } });
    at.send('other');
    // Sweeps too come by.
    await at.clock.advance(20 * MINUTE_MS);
    const jobs = await at.jobs();
    expect(jobs.filter(({ settled }) => settled)).toHaveLength(1);
    expect(jobs.find((job) => job.name === name)?.annotations[ANNOTATION.diagnosis]).toContain('cannot be read');
    expect(at.arm.groups).toEqual([name]);
    at.store.remove(name);
    expect(await endAfter(at, 5 * MINUTE_MS)).toMatchObject({ queued: [] });
    expect(at.arm.groups).toEqual([]);
  });

  test('a leader that comes back counts what the other has asked for', async () => {
    const at = AciWorld.resting('taskTypes: { echo: {} }\nlimits: { maxRunning: 400 }');
    worlds.push(at);
    const one = await at.start();
    const other = await at.start({ leads: false });
    for (let n = 0; n < 60; n++) at.send(`first-${n}`);
    await at.clock.advance(30_000);
    one.lead(false);
    other.lead(true);
    for (let n = 0; n < 60; n++) at.send(`second-${n}`);
    await at.clock.advance(30_000);
    other.lead(false);
    one.lead(true);
    for (let n = 0; n < 60; n++) at.send(`third-${n}`);
    await at.clock.advance(2 * MINUTE_MS);
    expect(at.arm.requests.filter(({ operation }) => operation === 'put')).toHaveLength(100);
  });
});
