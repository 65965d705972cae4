/** Jobs as former versions made them, recorded from their commits: a newer operator takes them over. */
import { readdirSync, readFileSync } from 'node:fs';
import type { V1Job } from '@kubernetes/client-node';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { ANNOTATION } from '../contract/identity.ts';
import { iso } from '../lib/clock.ts';
import { World } from '../testing/rig.ts';

const DIRECTORY = new URL('../testing/fixtures/jobs/', import.meta.url);
const QUEUE = 'acme-tasks';

/** A message that such a Job was made of, and the Job, as they stood when the former operator was gone. */
async function takeOver(file: string) {
  const job: V1Job = parse(readFileSync(new URL(file, DIRECTORY), 'utf8'));
  const world = new World('taskTypes: { echo: {} }');
  const id = world.queues.send(QUEUE, { task_id: 't-1', task_type: 'echo' });
  const [message] = await world.queues.receive(QUEUE, 1, 600);
  if (message === undefined || job.metadata?.annotations === undefined) throw new Error('nothing to take over');
  expect(job.metadata.annotations[ANNOTATION.messageId]).toBe(id);
  Object.assign(job.metadata.annotations, {
    [ANNOTATION.popReceipt]: message.popReceipt,
    [ANNOTATION.leaseUntil]: iso(message.leaseUntil),
  });
  const { uid } = await world.store.create(job);
  return { world, uid };
}

test.each(readdirSync(DIRECTORY))('I10: a Job of %s is adopted, goes on, and is settled once', async (file) => {
  const { world, uid } = await takeOver(file);
  await using _world = world;
  await world.start();
  await world.clock.advance(60_000);
  const job = await world.theJob();
  expect(job).toMatchObject({ uid, settled: true, end: { kind: 'complete' } });
  expect(job.annotations).not.toHaveProperty(ANNOTATION.leaseLost);
  expect(await world.endState()).toMatchObject({
    queued: [],
    poisoned: [],
    webhooks: [expect.stringContaining('completed')],
  });
  expect(world.doubles).toEqual([]);
});

test.each(readdirSync(DIRECTORY))('I1: a message that comes again finds its Job of %s', async (file) => {
  const { world, uid } = await takeOver(file);
  await using _world = world;
  await world.clock.advance(700_000);
  await world.start();
  await world.clock.advance(200_000);
  expect(await world.theJob()).toMatchObject({ uid, settled: true });
  expect(world.queues.messages(QUEUE)).toEqual([]);
});
