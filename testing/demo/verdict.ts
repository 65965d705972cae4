/** What is not (yet) as it should be. */
import type { SentMessage } from '#/testing/demo/messages.ts';
import type { Observed } from '#/testing/demo/observed.ts';

/** Every way in which the world differs from its expected end, as a sentence each; none when all is done. */
export function shortcomings(messages: readonly SentMessage[], seen: Observed): string[] {
  const left = seen.queued === 0 ? [] : [`${seen.queued} messages are still in the queues`];
  return [...messages.flatMap((message) => ofOne(message, seen)), ...left];
}

function ofOne(message: SentMessage, seen: Observed): string[] {
  const { expected, client, taskId, id } = message;
  const faults = [...jobFaults(message, seen), ...poisonFaults(message, seen)];
  const webhooks = seen.webhooks.filter((one) => one.client === client.name && one.body.task_id === taskId);
  const status = expected.kind === 'completed' ? 'completed' : 'failed';
  if (new Set(webhooks.map((webhook) => webhook.id)).size !== 1)
    faults.push(`${webhooks.length} webhooks have come, there must be one`);
  if (webhooks.some(({ body }) => body.status !== status)) faults.push(`its webhook does not say "${status}"`);
  if (webhooks.some(({ signed }) => !signed)) faults.push("its webhook's signature is wrong");
  return faults.map((fault) => `${client.name} ${taskId} (${id}): ${fault}`);
}

function jobFaults({ expected, id }: SentMessage, seen: Observed): string[] {
  const [found, ...more] = seen.jobs.get(id) ?? [];
  if (expected.kind === 'refused') return found === undefined ? [] : ['it became a Job, and must not'];
  if (found === undefined) return ['it has not become a Job'];
  const { job, pods } = found;
  const faults = more.length === 0 ? [] : [`it became ${more.length + 1} Jobs`];
  const end = expected.kind === 'completed' ? 'complete' : 'failed';
  const attempts = expected.kind === 'completed' ? 1 : expected.attempts;
  if (job.end === undefined) faults.push(`Job ${job.name} has not ended`);
  else if (job.end.kind !== end) faults.push(`Job ${job.name} is ${job.end.kind} (${job.end.reason}), not ${end}`);
  else if (!job.settled || job.ttlSeconds === undefined) faults.push(`Job ${job.name} is not settled`);
  if (job.end !== undefined && pods.length !== attempts)
    faults.push(`Job ${job.name} had ${pods.length} attempts, not ${attempts}`);
  return faults;
}

function poisonFaults({ expected, id }: SentMessage, seen: Observed): string[] {
  const copies = seen.poison.filter((envelope) => envelope.id === id);
  if (expected.kind === 'completed') return copies.length === 0 ? [] : ['it was poisoned, and must not be'];
  if (copies.length === 0) return ['it is not in the poison queue'];
  const others = copies.filter(({ diagnosis }) => diagnosis.category !== expected.category);
  return others.map(({ reason }) => `it was poisoned as "${reason}", not as ${expected.category}`);
}
