import { describe, expect, test } from 'vitest';
import { parseEnvelope } from '../contract/poison.ts';
import { webhookId, webhookIdBase } from '../contract/webhook.ts';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { ACCOUNT, WEBHOOK_URL } from '../testing/jobs.ts';
import { World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';
const HOSTILE = { task_id: 't-1', task_type: 7, webhook_url: WEBHOOK_URL };

/** A world with one message that can be no task, and an operator that delivers it when told. */
async function setUp(message: unknown = HOSTILE, yaml?: string) {
  const world = new World(yaml);
  world.queues.create(POISON);
  const id = world.queues.send(QUEUE, message);
  const life = world.rest();
  life.observe();
  await settled();
  const copies = () => world.queues.messages(POISON);
  return { world, life, id, copies, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** The effects, without the message being kept meanwhile. */
const steps = ({ effects }: World) => effects.filter((line) => !line.startsWith('renew'));
const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', 'refused');

test('I2: the poison copy comes first, then the webhook, and the message is deleted last: it is the only record', async () => {
  await using at = await setUp();
  await at.life.deliverNext();
  expect(at.world.effects).toEqual([`put ${POISON}`, 'webhook delivered', `remove ${QUEUE} ${at.id}`]);
  expect(at.life.passed).toEqual(['received', 'poisoned', 'webhook-sent', 'deleted']);
});

test('I14: the copy tells the reason and keeps the text as it was received', async () => {
  await using at = await setUp('{"task_id":"t-1", "task_type":7}');
  await at.life.deliverNext();
  expect(at.copies().map(({ text }) => parseEnvelope(text))).toEqual([
    {
      slipway: 1,
      id: at.id,
      queue: QUEUE,
      reason: 'Malformed: task_type must be a string, got a number',
      diagnosis: {
        category: 'Malformed',
        message: 'task_type must be a string, got a number',
        hint: expect.stringContaining('correct the producer'),
      },
      attempts: [],
      insertedOn: '2026-01-01T00:00:00.000Z',
      poisonedOn: '2026-01-01T00:00:00.000Z',
      encoding: 'plain',
      original: '{"task_id":"t-1", "task_type":7}',
    },
  ]);
});

test('I14: in format original the copy is the bare text', async () => {
  await using at = await setUp('garbage', 'poison: { format: original }\ntaskTypes: { echo: {} }');
  await at.life.deliverNext();
  expect(at.copies().map(({ text }) => text)).toEqual(['garbage']);
});

test('I8: the failure is reported with what can be read, under the id of the message', async () => {
  await using at = await setUp();
  await at.life.deliverNext();
  const [webhook] = at.world.webhooks;
  expect(webhook).toMatchObject({
    url: WEBHOOK_URL,
    id: webhookId(webhookIdBase({ account: ACCOUNT, queue: QUEUE, messageId: at.id }), 'failed'),
  });
  expect(JSON.parse(webhook?.body ?? '')).toEqual({
    task_id: 't-1',
    task_type: '',
    client_id: 'acme',
    status: 'failed',
    error: { code: 'Malformed', message: 'task_type must be a string, got a number', hint: expect.any(String) },
    started_at: null,
    finished_at: '2026-01-01T00:00:00.000Z',
    duration_ms: 0,
  });
});

test('nothing is reported to a URL that cannot be one', async () => {
  await using at = await setUp({ ...HOSTILE, webhook_url: 'javascript:alert(1)' });
  await at.life.deliverNext();
  expect([at.world.webhooks, at.copies().length]).toEqual([[], 1]);
});

describe('a webhook that is not taken', () => {
  test('is tried three times under one id, then given up, and the message deleted', async () => {
    await using at = await setUp();
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(10_000);
    await delivery;
    expect(at.world.effects.filter((line) => line === 'webhook retry')).toHaveLength(3);
    expect(new Set(at.world.webhooks.map(({ id }) => id)).size).toBe(1);
    expect(at.world.effects.at(-1)).toBe(`remove ${QUEUE} ${at.id}`);
  });

  test('for good is not tried again', async () => {
    await using at = await setUp();
    at.world.answer = () => ({ kind: 'refused', detail: '410' });
    await at.life.deliverNext();
    expect(at.world.webhooks).toHaveLength(1);
  });

  test('and slow keeps the message from coming again meanwhile', async () => {
    await using at = await setUp();
    at.world.answer = () => ({ kind: 'retry', detail: 'timeout' });
    const { sendWebhook } = at.life.tools;
    Object.assign(at.life.tools, {
      sendWebhook: async (...args: Parameters<typeof sendWebhook>) => {
        await at.world.clock.sleep(20_000, new AbortController().signal);
        return sendWebhook(...args);
      },
    });
    const delivery = at.life.deliverNext();
    for (let passed = 0; passed < 65; passed++) {
      await at.world.clock.advance(1000);
      expect(await at.world.queues.receive(QUEUE, 1, 60)).toEqual([]);
    }
    await at.world.clock.advance(20_000);
    await delivery;
    expect(at.world.effects.at(-1)).toBe(`remove ${QUEUE} ${at.id}`);
    expect(at.copies()).toHaveLength(1);
  });
});

describe('a step that fails', () => {
  test.each<ErrorKind>(['unavailable', 'throttled', 'unknown', 'forbidden'])(
    'I2: (%s) a poison copy that may not be stored keeps the message',
    async (kind) => {
      await using at = await setUp();
      let failing = true;
      at.world.queues.before = ({ operation }) => {
        if (operation === 'put' && failing) throw refused(kind);
      };
      const delivery = at.life.deliverNext();
      await at.world.clock.advance(30_000);
      expect(at.world.effects).toEqual([]);
      failing = false;
      await at.world.clock.advance(30_000);
      await delivery;
      expect(steps(at.world)).toEqual([`put ${POISON}`, 'webhook delivered', `remove ${QUEUE} ${at.id}`]);
    },
  );

  test('I3: is repeated alone: what is done is not done again', async () => {
    await using at = await setUp();
    let left = 5;
    at.world.queues.before = ({ operation }) => {
      if (operation === 'remove' && left-- > 0) throw refused('unavailable');
    };
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(60_000);
    await delivery;
    expect(steps(at.world)).toEqual([`put ${POISON}`, 'webhook delivered', `remove ${QUEUE} ${at.id}`]);
  });

  test('I7: a text that cannot be read comes again when its lease ends, and is poisoned then', async () => {
    await using at = await setUp('garbage');
    at.world.queues.before = ({ operation }) => {
      if (operation === 'put') throw refused('unavailable');
    };
    await expect(at.life.deliverNext()).rejects.toMatchObject({ kind: 'unavailable' });
    at.world.queues.before = () => undefined;
    expect(at.life.free).toBe(20);
    await at.world.clock.advance(60_000);
    await at.life.deliverNext();
    expect([at.copies().length, at.world.queues.messages(QUEUE)]).toEqual([1, []]);
  });
});

test('a queue that is gone needs no copy', async () => {
  await using at = await setUp();
  at.world.queues.drop(POISON);
  at.world.queues.before = ({ operation }) => {
    if (operation === 'put') at.world.queues.drop(QUEUE);
  };
  await at.life.deliverNext();
  expect(at.world.effects).toEqual(['webhook delivered']);
});

test('an Event about the operator tells the verdict, without the message: the same fault is one Event', async () => {
  await using at = await setUp();
  at.world.liveConfig.replace({ ...at.world.config, podName: 'operator-1' });
  at.world.answer = () => ({ kind: 'refused', detail: 'backend.example answered 410' });
  at.world.queues.send(QUEUE, HOSTILE);
  await at.life.deliverNext();
  await at.life.deliverNext();
  const about = { kind: 'Pod', name: 'operator-1' };
  expect(at.world.store.notices).toEqual([
    {
      reason: 'WebhookGivenUp',
      message: 'The webhook of a poisoned message in acme-tasks was not delivered: backend.example answered 410',
      type: 'Warning',
      about,
    },
    {
      reason: 'Malformed',
      message: expect.stringMatching(
        /^A message in acme-tasks was poisoned: task_type must be a string, got a number\. The/,
      ),
      type: 'Warning',
      about,
    },
  ]);
});
