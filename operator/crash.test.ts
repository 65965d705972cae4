/** Whatever ends the operator, and whenever: a new one brings everything to the same end. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { WEBHOOK_URL } from '../testing/jobs.ts';
import { type EndState, type Life, type LifeOptions, report, task, World } from '../testing/rig.ts';
import { CHECKPOINTS, type CheckpointName } from './checkpoint.ts';

const YAML = `
ttl: { completedSeconds: 2000000, failedSeconds: 2000000 }
taskTypes: { echo: {} }
`;
const HOUR = 3_600_000;
const owed = { exitCode: 0, message: report('completed', 'owed', { result: 7 }) };
const delivered = { exitCode: 0, message: report('completed', 'delivered') };
const permanent = { exitCode: 65, message: report('failed', 'none', { error: { code: 'C', message: 'bad data' } }) };
const hook = { webhook_url: WEBHOOK_URL };

/** A message for every way that there is. */
function fill(world: World): void {
  const messages = [
    task('owed', { ends: [owed] }, hook),
    task('delivered', { ends: [delivered], runMs: 20_000 }, hook),
    task('permanent', { ends: [permanent] }, hook),
    task('second attempt', { ends: [1, 0] }),
    task('long', { runMs: 200_000 }),
    { ...task('malformed', {}, hook), task_type: 7 },
    'garbage',
  ];
  for (const message of messages) world.queues.send('acme-tasks', message);
}

/** True when nothing is left to be done. */
function isDone(world: World, life: Life): boolean {
  const jobs = [...life.view.jobs()];
  return (
    life.view.state.kind === 'known' &&
    jobs.length === 5 &&
    jobs.every((job) => job.settled) &&
    world.queues.messages('acme-tasks').length === 0
  );
}

interface Run {
  readonly end: EndState;
  readonly doubles: readonly string[];
  readonly crashes: number;
}

/** Runs operators one after another, each until it crashes, the last one until everything is done. */
async function run(
  crashes: readonly (Required<LifeOptions>['crashAt'] & { readonly downMs?: number })[],
): Promise<Run> {
  await using world = new World(YAML);
  fill(world);
  let happened = 0;
  for (const { downMs = 0, ...crashAt } of crashes) {
    const life = await world.start({ crashAt });
    await world.clock.advanceUntil(() => life.dead || isDone(world, life), 4 * HOUR);
    if (!life.dead) life.kill();
    else happened++;
    await world.clock.advance(downMs);
  }
  const last = await world.start();
  await world.clock.advanceUntil(() => isDone(world, last), 4 * HOUR);
  return { end: await world.endState(), doubles: world.doubles, crashes: happened };
}

const reference = run([]);

test('I7: undisturbed, every message ends in one settled outcome', async () => {
  const { end } = await reference;
  expect(end.queued).toEqual([]);
  expect(end.jobs.map((job) => job.replace(/^acme-echo-[a-z2-7]{12}: /, '')).toSorted()).toEqual([
    ...Array.from({ length: 4 }, () => 'complete, settled, ttl set'),
    'failed, settled, ttl set',
  ]);
  expect(end.poisoned.map((line) => line.replace(/^.*: /, '')).toSorted()).toEqual([
    'Malformed',
    'Malformed',
    'TaskFailed',
  ]);
  expect(end.webhooks.map((line) => line.replace(/^.*: /, '')).toSorted()).toEqual(['completed', 'failed', 'failed']);
});

describe('I3: killed and started anew, it comes to the same end', () => {
  /** How often each checkpoint is passed for certain; a lease is renewed for the long task alone. Every pod of these messages starts. */
  const passed: Record<Exclude<CheckpointName, 'adopted' | 'started' | 'ended' | 'pod-removed'>, number> = {
    received: 7,
    created: 5,
    'receipt-patched': 1,
    recorded: 2,
    poisoned: 3,
    deleted: 7,
    'webhook-sent': 3,
    settled: 5,
  };
  const cells = Object.entries(passed).flatMap(([name, times]) =>
    CHECKPOINTS.filter((checkpoint) => checkpoint === name).flatMap((checkpoint) =>
      [...new Set([1, 2, times])].filter((time) => time <= times).map((time) => [checkpoint, time] as const),
    ),
  );

  test.each(cells)('after %s (number %i), at once and a quarter of an hour later', async (checkpoint, time) => {
    for (const downMs of [0, 900_000]) {
      const { end, doubles, crashes } = await run([{ checkpoint, time, downMs }]);
      expect(crashes).toBe(1);
      expect(end).toEqual((await reference).end);
      expect(doubles).toEqual([]);
    }
  });

  test('after adopted: a message came again, since nobody renewed its lease', async () => {
    const { end, doubles, crashes } = await run([
      { checkpoint: 'created', time: 5, downMs: 100_000 },
      { checkpoint: 'adopted' },
    ]);
    expect(crashes).toBe(2);
    expect(end).toEqual((await reference).end);
    expect(doubles).toEqual([]);
  });

  test('again and again, anywhere', async () => {
    const crash = fc.record({
      checkpoint: fc.constantFrom(...CHECKPOINTS),
      time: fc.integer({ min: 1, max: 4 }),
      downMs: fc.constantFrom(0, 1000, 45_000, 61_000, 700_000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(crash, { minLength: 2, maxLength: 5 }), async (crashes) => {
        const { end, doubles } = await run(crashes);
        expect(end).toEqual((await reference).end);
        expect(doubles).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });
});

test('I1: two operators at once, by mistake: one workload a message, and the same end', async () => {
  await using world = new World(YAML);
  fill(world);
  const lives = [await world.start(), await world.start()];
  await world.clock.advanceUntil(() => lives.every((life) => isDone(world, life)), 4 * HOUR);
  expect(await world.endState()).toEqual((await reference).end);
  expect(world.doubles).toEqual([]);
});

test('I1: servers that refuse, lose requests and lose answers for a while change nothing', async () => {
  const fault = fc.record({
    where: fc.constantFrom('before' as const, 'after' as const),
    kind: fc.constantFrom('unavailable' as const, 'unknown' as const, 'throttled' as const),
  });
  const faults = fc.array(fc.option(fault, { nil: undefined, freq: 2 }), { minLength: 20, maxLength: 120 });
  await fc.assert(
    fc.asyncProperty(faults, faults, async (ofStore, ofQueues) => {
      await using world = new World(YAML);
      fill(world);
      const play = (script: typeof ofStore) => {
        let turn: (typeof ofStore)[number];
        let calls = 0;
        const answer = (where: 'before' | 'after') => () => {
          if (where === 'before') turn = script[calls++];
          if (turn?.where === where) throw new ServiceError(turn.kind, 'Code', `lost ${where} the effect`);
        };
        return { before: answer('before'), after: answer('after') };
      };
      Object.assign(world, play(ofStore));
      Object.assign(world.queues, play(ofQueues));
      const life = await world.start();
      await world.clock.advanceUntil(() => isDone(world, life), 8 * HOUR);
      expect(await world.endState()).toEqual((await reference).end);
      expect(world.doubles).toEqual([]);
    }),
    { numRuns: 20 },
  );
});
