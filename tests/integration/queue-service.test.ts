/** One suite for the real service, on Azurite, and for the fake that the fast tests use: what holds here holds for both. */
import { setTimeout as delay } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#/lib/clock.ts';
import type { ErrorKind } from '#/lib/errors.ts';
import { storageAccess } from '#/queue/access.ts';
import { createQueueService, type QueueService, type ReceivedMessage } from '#/queue/service.ts';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { AZURITE, FakeQueues, type QueueDialect } from '#/testing/fake-queue.ts';
import { VirtualClock } from '#/testing/virtual-clock.ts';

interface Bench {
  readonly service: QueueService;
  readonly now: () => number;
  /** Lets time pass. */
  readonly pass: (ms: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

const benches: readonly (readonly [name: string, start: () => Promise<Bench>])[] = [
  ['the fake', () => startFake()],
  ['Azurite', startReal],
];

async function startFake(dialect: Partial<QueueDialect> = {}): Promise<Bench> {
  const clock = new VirtualClock();
  const service = new FakeQueues(clock, [], dialect);
  return { service, now: () => clock.now(), pass: (ms) => clock.advance(ms), stop: async () => undefined };
}

async function startReal(): Promise<Bench> {
  const azurite: Azurite = await startAzurite({ blob: false });
  const access = storageAccess(azurite.connectionString, undefined);
  if (access.kind === 'invalid') throw new Error(access.problem);
  const service = createQueueService(access, systemClock);
  return { service, now: () => Date.now(), pass: (ms) => delay(ms), stop: async () => azurite[Symbol.asyncDispose]() };
}

describe.each(benches)('%s', (_, start) => {
  let bench: Bench;
  let service: QueueService;
  let queue: string;
  let queues = 0;
  beforeAll(async () => {
    bench = await start();
    service = bench.service;
  });
  afterAll(() => bench.stop());
  beforeEach(async () => {
    queue = `client-${++queues}-tasks`;
    await service.ensureQueue(queue);
  });

  const failsAs = (work: Promise<unknown>, kind: ErrorKind) => expect(work).rejects.toMatchObject({ kind });
  const only = (messages: readonly ReceivedMessage[]): ReceivedMessage => {
    expect(messages).toHaveLength(1);
    return messages[0]!;
  };
  /** Puts a message and takes it. */
  const inHand = async (leaseSeconds: number) => {
    await service.put(queue, 'text', 3600);
    return only(await service.receive(queue, 1, leaseSeconds));
  };

  test('a queue that is not there: told as not-found, made when wanted, as often as wanted', async () => {
    const other = `${queue}-poison`;
    await failsAs(service.receive(other, 1, 10), 'not-found');
    await failsAs(service.hasMessages(other), 'not-found');
    await failsAs(service.put(other, 'text', 60), 'not-found');
    await failsAs(service.renew(other, crypto.randomUUID(), 'AAAAAAAA', 10), 'not-found');
    await failsAs(service.remove(other, crypto.randomUUID(), 'AAAAAAAA'), 'not-found');
    expect(await service.exists(other)).toBe(false);
    await service.ensureQueue(other);
    await service.ensureQueue(other);
    expect(await service.exists(other)).toBe(true);
    expect(await service.receive(other, 1, 10)).toEqual([]);
  });

  test('the list of queues names each once, sorted', async () => {
    await service.ensureQueue(`${queue}-poison`);
    const names = await service.list();
    expect(names).toEqual(names.toSorted());
    expect(names.filter((name) => name.startsWith(queue))).toEqual([queue, `${queue}-poison`]);
    await failsAs(service.list(AbortSignal.abort()), 'unknown');
  });

  test.each([
    ['plain', '{"task_id":"t"}'],
    ['with characters that XML and URLs mean', '<a href="x">&amp; % + \' ]]></a>'],
    ['beyond ASCII', 'grüße 漢字 🚢 \u2028'],
    ['with line ends', 'a\nb\tc'],
    ['of 64 KiB', 'x'.repeat(65_536)],
    ['line ends of every kind', '{\r\n"a":\r1,\n"b": "c"}'],
    ['a text that names references, beside real ones', 'a\r\n&#xD; &#13; &amp;#xD; &amp;amp; <b>&lt;/b>'],
  ])('a text arrives as it was put: %s', async (_what, text) => {
    await service.put(queue, text, 3600);
    expect(only(await service.receive(queue, 1, 10)).text).toBe(text);
  });

  test('a received message tells its times and how often it was received', async () => {
    const message = await inHand(30);
    // A busy machine may need a while, which is not to be taken for a lease.
    const seconds = (ms: number) => Math.abs(ms) / 1000;
    expect(message.dequeueCount).toBe(1);
    expect(seconds(message.insertedOn - bench.now())).toBeLessThan(12);
    expect(seconds(message.expiresOn - bench.now() - 3_600_000)).toBeLessThan(12);
    expect(seconds(message.leaseUntil - bench.now() - 30_000)).toBeLessThan(12);
  });

  test('whether there are messages is seen without hiding or counting any; one that is hidden is not seen', async () => {
    expect(await service.hasMessages(queue)).toBe(false);
    await service.put(queue, 'text', 3600);
    expect([await service.hasMessages(queue), await service.hasMessages(queue)]).toEqual([true, true]);
    const message = only(await service.receive(queue, 1, 30));
    expect(message.dequeueCount).toBe(1);
    expect(await service.hasMessages(queue)).toBe(false);
    await service.renew(queue, message.id, message.popReceipt, 0);
    expect(await service.hasMessages(queue)).toBe(true);
  });

  test('a message is hidden for its lease, then comes again, and the first receipt is dead', async () => {
    const first = await inHand(1);
    expect(await service.receive(queue, 32, 10)).toEqual([]);
    await bench.pass(1500);
    const second = only(await service.receive(queue, 32, 10));
    expect(second).toMatchObject({ id: first.id, text: first.text, dequeueCount: 2 });
    expect(second.popReceipt).not.toBe(first.popReceipt);
    await failsAs(service.renew(queue, first.id, first.popReceipt, 10), 'lease-lost');
    await failsAs(service.remove(queue, first.id, first.popReceipt), 'lease-lost');
    await service.remove(queue, second.id, second.popReceipt);
  });

  test('renewing hides on, gives a new receipt and keeps the text; the former receipt is dead', async () => {
    const message = await inHand(1);
    const renewal = await service.renew(queue, message.id, message.popReceipt, 60);
    expect(renewal).not.toBe(message.popReceipt);
    await bench.pass(1500);
    expect(await service.receive(queue, 1, 10)).toEqual([]);
    await failsAs(service.renew(queue, message.id, message.popReceipt, 10), 'lease-lost');
    await service.renew(queue, message.id, renewal, 0);
    expect(only(await service.receive(queue, 1, 10))).toMatchObject({ text: 'text', dequeueCount: 2 });
  });

  test('a receipt whose time is over is good until somebody receives the message', async () => {
    const message = await inHand(1);
    await bench.pass(1500);
    const renewal = await service.renew(queue, message.id, message.popReceipt, 60);
    expect(await service.receive(queue, 1, 10)).toEqual([]);
    await service.remove(queue, message.id, renewal);
  });

  test('a removed message is gone, and its receipt is dead', async () => {
    const message = await inHand(1);
    await service.remove(queue, message.id, message.popReceipt);
    await failsAs(service.remove(queue, message.id, message.popReceipt), 'lease-lost');
    await failsAs(service.renew(queue, message.id, message.popReceipt, 10), 'lease-lost');
    await bench.pass(1500);
    expect(await service.receive(queue, 1, 10)).toEqual([]);
  });

  test('no more messages come than were asked for, the oldest first, each once', async () => {
    for (let at = 0; at < 40; at++) await service.put(queue, String(at), 3600);
    const batches = [await service.receive(queue, 5, 60), await service.receive(queue, 32, 60)];
    const texts = batches.flat().map(({ text }) => Number(text));
    expect(batches.map((batch) => batch.length)).toEqual([5, 32]);
    expect(texts).toEqual(texts.toSorted((a, b) => a - b));
    expect(new Set(texts).size).toBe(37);
  });

  test('a message without expiry, and one that expires, leased or not', async () => {
    await service.put(queue, 'for ever', -1);
    await service.put(queue, 'leased', 2);
    const [forEver, leased] = await service.receive(queue, 2, 2);
    await service.put(queue, 'not received', 1);
    expect((forEver?.expiresOn ?? 0) - bench.now()).toBeGreaterThan(365 * 86_400_000);
    await bench.pass(3000);
    await failsAs(service.renew(queue, leased!.id, leased!.popReceipt, 1), 'lease-lost');
    expect((await service.receive(queue, 32, 10)).map(({ text }) => text)).toEqual(['for ever']);
  });

  test('what the service never accepts is told as invalid', async () => {
    await failsAs(service.put(queue, 'x'.repeat(65_537), 60), 'invalid');
    await failsAs(service.receive(queue, 33, 10), 'invalid');
    await failsAs(service.receive(queue, 0, 10), 'invalid');
    await failsAs(service.receive(queue, 1, 604_801), 'invalid');
  });

  test('a call whose signal is aborted ends as unknown', async () => {
    await failsAs(service.receive(queue, 1, 10, AbortSignal.abort()), 'unknown');
    await failsAs(service.put(queue, 'text', 60, AbortSignal.abort()), 'unknown');
    expect(await service.receive(queue, 1, 10)).toEqual([]);
  });
});

/**
 * Where Azurite is known to answer otherwise than Azure, after Azure's documentation. The fake speaks both dialects; Azurite is held to the
 * one that is named after it, so that a new version of it that has changed is noticed.
 */
describe.each<[name: string, as: 'Azure' | 'Azurite', start: () => Promise<Bench>]>([
  ['the fake, as Azure', 'Azure', () => startFake()],
  ['the fake, as Azurite', 'Azurite', () => startFake(AZURITE)],
  ['Azurite', 'Azurite', startReal],
])('what differs: %s', (_, as, start) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await start();
    await bench.service.ensureQueue('acme-tasks');
  });
  afterAll(() => bench.stop());
  const taken = async (text: string, ttlSeconds: number) => {
    await bench.service.put('acme-tasks', text, ttlSeconds);
    const [message] = await bench.service.receive('acme-tasks', 1, 1);
    return message!;
  };

  test("a lease past the message's expiry is refused by Azure and taken by Azurite", async () => {
    const { id, popReceipt } = await taken('short', 5);
    const renewal = bench.service.renew('acme-tasks', id, popReceipt, 60);
    if (as === 'Azure') await expect(renewal).rejects.toMatchObject({ kind: 'invalid' });
    else await expect(renewal).resolves.toBeDefined();
  });

  test('characters that XML cannot carry are refused by Azure and taken by Azurite', async () => {
    const put = bench.service.put('acme-tasks', 'a\u0001b', 60);
    if (as === 'Azure') await expect(put).rejects.toMatchObject({ kind: 'invalid' });
    else await expect(put).resolves.toBeUndefined();
  });

  test('the messages of one answer have receipts of their own in Azure, and share one in Azurite', async () => {
    await bench.service.ensureQueue('batch-tasks');
    for (const text of ['a', 'b', 'c']) await bench.service.put('batch-tasks', text, 60);
    const receipts = (await bench.service.receive('batch-tasks', 32, 60)).map(({ popReceipt }) => popReceipt);
    expect(new Set(receipts).size).toBe(as === 'Azure' ? 3 : 1);
  });
});

describe('a receipt that is not the valid one', () => {
  test.each<[name: string, code: string, start: () => Promise<Bench>]>([
    ['is a mismatch (400) to one Azure', 'PopReceiptMismatch', () => startFake({ staleReceipt: 'PopReceiptMismatch' })],
    ['is no message (404) to another Azure', 'MessageNotFound', () => startFake({ staleReceipt: 'MessageNotFound' })],
    ['is a mismatch (400) to Azurite', 'PopReceiptMismatch', startReal],
  ])('%s, and a lost lease to us', async (_, code, start) => {
    const bench = await start();
    const { service } = bench;
    await service.ensureQueue('acme-tasks');
    await service.put('acme-tasks', 'text', 60);
    const [message] = await service.receive('acme-tasks', 1, 60);
    await service.renew('acme-tasks', message!.id, message!.popReceipt, 60);
    const stale = { kind: 'lease-lost', code };
    await expect(service.renew('acme-tasks', message!.id, message!.popReceipt, 60)).rejects.toMatchObject(stale);
    await expect(service.remove('acme-tasks', message!.id, message!.popReceipt)).rejects.toMatchObject(stale);
    await bench.stop();
  });
});

test('Azurite counts expired messages until somebody reads, so nothing may rest on the count', async () => {
  await using azurite = await startAzurite({ blob: false });
  const client = QueueServiceClient.fromConnectionString(azurite.connectionString).getQueueClient('acme-tasks');
  await client.create();
  await client.sendMessage('short', { messageTimeToLive: 1 });
  await delay(1500);
  expect((await client.getProperties()).approximateMessagesCount).toBe(1);
  expect((await client.receiveMessages()).receivedMessageItems).toEqual([]);
  expect((await client.getProperties()).approximateMessagesCount).toBe(0);
});

test('the ordinary SDK and the service see the same queue', async () => {
  await using azurite = await startAzurite({ blob: false });
  const access = storageAccess(azurite.connectionString, undefined);
  if (access.kind === 'invalid') throw new Error(access.problem);
  const sdk = QueueServiceClient.fromConnectionString(azurite.connectionString);
  await sdk.createQueue('acme-tasks');
  await sdk.getQueueClient('acme-tasks').sendMessage('from the SDK');
  const [message] = await createQueueService(access, systemClock).receive('acme-tasks', 1, 10);
  expect(message?.text).toBe('from the SDK');
});
