/** What becomes of tasks whose pods do not start, and of cancelled ones: the whole operator on fakes, hours in milliseconds. */
import { describe, expect, test } from 'vitest';
import type { Category } from '../contract/diagnosis.ts';
import { HINTS } from '../contract/diagnosis.ts';
import { ANNOTATION } from '../contract/identity.ts';
import { parseEnvelope } from '../contract/poison.ts';
import { WEBHOOK_URL } from '../testing/jobs.ts';
import { type Plan, task, World } from '../testing/rig.ts';
import { recordedOutcome } from './jobs/outcome.ts';

const QUEUE = 'acme-tasks';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** One message of that plan, and an operator at work. */
async function setUp(plan: Plan, yaml = 'taskTypes: { echo: { attempts: 2 } }') {
  const world = new World(yaml);
  world.queues.send(QUEUE, task('t-1', plan, { webhook_url: WEBHOOK_URL }));
  const life = await world.start();
  await world.clock.advance(5000);
  const { name } = await world.theJob();
  const minutesUntilSettled = async () => {
    const began = world.clock.monotonic();
    await world.clock.advanceUntil(() => life.view.job(name)?.settled === true, 24 * HOUR);
    return Math.round((world.clock.monotonic() - began) / MINUTE);
  };
  return { world, life, name, minutesUntilSettled, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const pull = (message: string): Plan => ({ stuck: { reason: 'ErrImagePull', message } });
const config = (message: string): Plan => ({ stuck: { reason: 'CreateContainerConfigError', message } });

describe('a task whose pod does not start fails with its category, everywhere', () => {
  test.each<[what: string, plan: Plan, category: Category, minutes: number, attempts: number]>([
    ['an image that is not there, in every attempt', pull('r/x:1: not found'), 'ImagePull', 20, 2],
    ['a Secret that is not there, in every attempt', config('secret "s" not found'), 'ContainerConfig', 20, 2],
    [
      'an image of root, at once',
      config('container has runAsNonRoot and image will run as root'),
      'ContainerConfig',
      0,
      1,
    ],
    [
      'an image name that is none, at once',
      { stuck: { reason: 'InvalidImageName', message: 'A B' } },
      'InvalidImage',
      0,
      1,
    ],
    ['no node, after an hour', { unschedulable: '0/3 nodes are available' }, 'Unschedulable', 60, 1],
    ['a quota, after an hour', { refused: 'pods "x" is forbidden: exceeded quota: q' }, 'QuotaExceeded', 61, 0],
    [
      'Pod Security, as soon as Kubernetes says so',
      { refused: 'pods "x" is forbidden: violates PodSecurity "restricted:latest"' },
      'InvalidSpec',
      1,
      0,
    ],
  ])('%s', async (_, plan, category, minutes, attempts) => {
    await using at = await setUp(plan);
    expect(await at.minutesUntilSettled()).toBe(minutes);
    const job = await at.world.theJob();
    const outcome = recordedOutcome(job);
    expect(outcome).toMatchObject({
      status: 'failed',
      diagnosis: { category, hint: HINTS[category] },
      startedAt: null,
    });
    expect(outcome?.attempts).toHaveLength(attempts);
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).toMatchObject({
      status: 'failed',
      error: { code: category, hint: HINTS[category] },
    });
    const [copy] = at.world.queues.messages(`${QUEUE}-poison`).map(({ text }) => parseEnvelope(text));
    expect(copy).toMatchObject({ diagnosis: { category }, attempts: outcome?.attempts });
    expect(at.world.store.notices.map(({ reason }) => reason)).toContain(category);
    const counted = (await at.life.metrics.settled.get()).values.map(({ labels, value }) => [
      labels['category'],
      value,
    ]);
    expect(counted).toEqual([[category, 1]]);
    expect(at.world.queues.messages(QUEUE)).toEqual([]);
  });
});

describe('trouble that passes', () => {
  test('a registry that is away uses up no attempt: the pod is made anew until it is back', async () => {
    await using at = await setUp(pull('dial tcp 10.0.0.1:443: connection refused'));
    await at.world.clock.advance(35 * MINUTE);
    const job = await at.world.theJob();
    expect(job.end).toBeUndefined();
    expect(at.world.effects.filter((line) => line.startsWith('evictPod'))).toHaveLength(3);
    expect(at.world.store.notices.filter(({ reason }) => reason === 'ImagePull')).toHaveLength(1);
  });

  test('what was noted goes when the pod runs after all, and the task completes', async () => {
    await using at = await setUp({ unschedulable: 'no node yet' });
    await at.world.clock.advance(MINUTE);
    expect(at.life.view.job(at.name)?.annotations[ANNOTATION.diagnosis]).toContain('Unschedulable');
    at.world.hasRoom = true;
    // It runs for a second, so that its note is still there at its end.
    await at.minutesUntilSettled();
    const job = await at.world.theJob();
    expect([job.end?.kind, job.annotations[ANNOTATION.diagnosis]]).toEqual(['complete', undefined]);
  });
});

describe('I3: the evidence is written before the pod goes', () => {
  test('an operator that dies between the two leaves the same end to the next one', async () => {
    await using world = new World('taskTypes: { echo: { attempts: 2 } }');
    world.queues.send(QUEUE, task('t-1', pull('r/x:1: not found'), { webhook_url: WEBHOOK_URL }));
    const first = await world.start({ crashAt: { checkpoint: 'pod-removed' } });
    await world.clock.advanceUntil(() => first.dead, HOUR);
    const [removed] = world.effects.filter((line) => line.startsWith('deletePod'));
    const written = world.effects.findIndex((line) => line.includes('attempts'));
    expect(written).toBeGreaterThan(-1);
    expect(written).toBeLessThan(world.effects.indexOf(removed ?? ''));
    const second = await world.start();
    await world.clock.advanceUntil(() => [...second.view.jobs()].some((job) => job.settled), HOUR);
    expect(recordedOutcome(await world.theJob())?.attempts).toHaveLength(2);
  });
});

describe('cancelling by annotation', () => {
  const cancel = { annotations: { [ANNOTATION.cancel]: 'ordered twice' } };

  test.each<[when: string, plan: Plan]>([
    ['while it runs', { runMs: HOUR }],
    ['while it waits for a node', { unschedulable: 'no node' }],
    ['while no pod may be made', { refused: 'exceeded quota: q' }],
  ])('I7: ends a task %s, without a poison copy', async (_, plan) => {
    await using at = await setUp(plan);
    await at.world.store.patch(at.name, cancel);
    expect(await at.minutesUntilSettled()).toBeLessThan(2);
    const job = await at.world.theJob();
    expect(recordedOutcome(job)).toMatchObject({
      status: 'cancelled',
      diagnosis: { category: 'Cancelled', message: 'the task was cancelled: ordered twice' },
    });
    expect(at.world.queues.messages(`${QUEUE}-poison`)).toEqual([]);
    expect(at.world.queues.messages(QUEUE)).toEqual([]);
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).toMatchObject({
      status: 'failed',
      error: { code: 'Cancelled' },
    });
    expect(at.world.webhooks[0]?.id).toMatch(/_failed$/);
  });

  test('is reported as cancelled to a backend that knows the word', async () => {
    await using at = await setUp({ runMs: HOUR }, 'webhook: { sendCancelled: true }\ntaskTypes: { echo: {} }');
    await at.world.store.patch(at.name, cancel);
    await at.minutesUntilSettled();
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).toMatchObject({
      status: 'cancelled',
      error: { code: 'Cancelled' },
    });
    expect(at.world.webhooks[0]?.id).toMatch(/_cancelled$/);
  });

  test('I7: a suspended task, and one that was cancelled while no operator was there', async () => {
    await using at = await setUp({ runMs: HOUR });
    at.life.kill();
    await at.world.store.patch(at.name, { suspend: true });
    await at.world.store.patch(at.name, cancel);
    await at.world.clock.advance(MINUTE);
    const next = await at.world.start();
    await at.world.clock.advanceUntil(() => next.view.job(at.name)?.settled === true, HOUR);
    expect(recordedOutcome(await at.world.theJob())).toMatchObject({ status: 'cancelled' });
    expect(at.world.doubles).toEqual([]);
  });
});
