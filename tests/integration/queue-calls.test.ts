import { expect, test } from 'vitest';
import { formatEnvelope, type PoisonEnvelope } from '#/contract/poison.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { queueCall } from '#/testing/chaos/calls.ts';
import type { QueueCall } from '#/testing/chaos/history.ts';
import { startQueueProxy } from '#/testing/fault-servers.ts';
import { testQueues } from '#/testing/queues.ts';

const ENVELOPE: PoisonEnvelope = {
  slipway: 1,
  id: 'the-id',
  queue: 'acme-tasks',
  reason: 'it <failed> & "so" on',
  diagnosis: { category: 'Malformed', message: "it's\nwrong", hint: '' },
  attempts: [],
  insertedOn: null,
  poisonedOn: '2026-01-01T00:00:00.000Z',
  encoding: 'plain',
  original: '{"id":"another"} ü 😀 &amp;',
};

test("the SDK's removals and poison copies are read off the wire, also when their answer is lost, and nothing else", async () => {
  const calls: QueueCall[] = [];
  await using azurite = await startAzurite({ blob: false });
  await using proxy = await startQueueProxy(azurite.connectionString, (request) => {
    const call = queueCall(request);
    if (call !== undefined) calls.push(call);
  });
  const queues = testQueues(proxy.connectionString);
  await queues.create('acme-tasks', 'acme-tasks-poison');
  await queues.put('acme-tasks', 'a task');
  await queues.put('acme-tasks-poison', formatEnvelope(ENVELOPE), 'no envelope');
  const queue = queues.service.getQueueClient('acme-tasks');
  const { receivedMessageItems } = await queue.receiveMessages();
  const { messageId, popReceipt } = receivedMessageItems[0]!;
  await expect(queue.deleteMessage(messageId, 'AgAAAAMAAAAAAAAAAAAAAAAAAAA=')).rejects.toThrow();
  let lost = false;
  proxy.use(({ operation }) => {
    if (operation !== 'remove' || lost) return undefined;
    lost = true;
    return { kind: 'lost-reply' };
  });
  await queue.deleteMessage(messageId, popReceipt).catch(() => undefined);
  expect(lost).toBe(true);
  expect(calls).toEqual([
    { kind: 'poisoned', messageId: 'the-id', at: expect.any(Number) },
    { kind: 'removed', messageId, at: expect.any(Number) },
  ]);
});
