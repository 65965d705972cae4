import { describe, expect, test } from 'vitest';
import { HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION, LABEL, STATE } from '../../contract/identity.ts';
import { parseEnvelope } from '../../contract/poison.ts';
import { webhookId, webhookIdBase } from '../../contract/webhook.ts';
import { type ErrorKind, ServiceError } from '../../lib/errors.ts';
import { ACCOUNT, WEBHOOK_URL } from '../../testing/jobs.ts';
import { type Plan, report, task, World } from '../../testing/rig.ts';
import { settled } from '../../testing/virtual-clock.ts';
import { recordedOutcome } from '../jobs/outcome.ts';
import { webhookState } from './webhook-state.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';
const FAILS: Plan = {
  ends: [{ exitCode: 65, message: report('failed', 'none', { error: { code: 'C', message: 'bad data' } }) }],
};

/** A world whose only task has ended, and an operator that looks at its Job when told. */
async function setUp(
  plan: Plan = {},
  { webhook = false, yaml = undefined as string | undefined, raw = undefined as string | undefined } = {},
) {
  const world = new World(yaml);
  world.queues.create(POISON);
  const message = task('t-1', plan, webhook ? { webhook_url: WEBHOOK_URL } : {});
  const id = world.queues.send(QUEUE, raw ?? message);
  const life = world.rest();
  life.observe();
  await settled();
  await life.deliverNext();
  const { name } = await world.theJob();
  await world.clock.advance(plan.runMs ?? 1000);
  world.newEffects();
  const copies = () => world.queues.messages(POISON).map(({ text }) => parseEnvelope(text));
  return { world, life, id, name, copies, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', 'refused');
const kept = (name: string, seconds: number, more = '') => `patch ${name}: settled${more}, ttl ${seconds}`;

describe('the order of effects', () => {
  test('I2: a failed task: outcome, poison copy, its note, the delete, the webhook, and only then the time to live', async () => {
    await using at = await setUp(FAILS, { webhook: true });
    await at.life.reconcile();
    expect(at.world.effects).toEqual([
      `patch ${at.name}: outcome`,
      `put ${POISON}`,
      `patch ${at.name}: poisoned`,
      `remove ${QUEUE} ${at.id}`,
      'webhook delivered',
      kept(at.name, 86_400, ', webhook-state'),
    ]);
    expect(at.life.passed.slice(2)).toEqual(['recorded', 'poisoned', 'deleted', 'webhook-sent', 'settled']);
  });

  test('a task whose runner has reported: the delete, and one write', async () => {
    await using at = await setUp(
      { ends: [{ exitCode: 0, message: report('completed', 'delivered') }] },
      { webhook: true },
    );
    await at.life.reconcile();
    expect(at.world.effects).toEqual([`remove ${QUEUE} ${at.id}`, kept(at.name, 3600)]);
  });

  test('a completed task whose webhook is owed by the runner', async () => {
    await using at = await setUp(
      { ends: [{ exitCode: 0, message: report('completed', 'owed', { result: 7 }) }] },
      { webhook: true },
    );
    await at.life.reconcile();
    expect(at.world.effects).toEqual([
      `patch ${at.name}: outcome`,
      `remove ${QUEUE} ${at.id}`,
      'webhook delivered',
      kept(at.name, 3600, ', webhook-state'),
    ]);
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).toMatchObject({ status: 'completed', result: 7 });
  });

  test('nothing is left to do afterwards', async () => {
    await using at = await setUp(FAILS, { webhook: true });
    await at.life.reconcile();
    at.world.newEffects();
    expect(await at.life.reconcile()).toBeUndefined();
    await at.life.reconcile();
    expect(at.world.effects).toEqual([]);
  });
});

describe('I4: the time to live', () => {
  test('comes with the settling, in one write bound to the version that was decided on', async () => {
    await using at = await setUp();
    expect((await at.world.theJob()).ttlSeconds).toBeUndefined();
    await at.life.reconcile();
    expect(await at.world.theJob()).toMatchObject({ ttlSeconds: 3600, settled: true });
    expect((await at.world.theJob()).labels[LABEL.state]).toBe(STATE.settled);
  });

  test('is not there while anything is owed, whatever is written meanwhile', async () => {
    await using at = await setUp(FAILS, { webhook: true });
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.life.reconcile();
    expect((await at.world.theJob()).ttlSeconds).toBeUndefined();
    await at.world.clock.advance(5000);
    await at.life.reconcile();
    expect((await at.world.theJob()).ttlSeconds).toBeUndefined();
  });

  test('counts from the Job’s finish, so what has passed since is added', async () => {
    await using at = await setUp(FAILS);
    await at.world.clock.advance(500_000);
    await at.life.reconcile();
    expect((await at.world.theJob()).ttlSeconds).toBe(86_400 + 500);
    await using configured = await setUp({}, { yaml: 'ttl: { completedSeconds: 0 }\ntaskTypes: { echo: {} }' });
    await configured.life.reconcile();
    expect(configured.world.effects.at(-1)).toBe(kept(configured.name, 0));
  });

  test('keeps the record as long as the message might come back, where that is not known', async () => {
    await using at = await setUp();
    await at.world.clock.advance(60_000);
    const [theirs] = await at.world.queues.receive(QUEUE, 1, 604_800);
    expect(theirs).toBeDefined();
    await at.life.reconcile();
    const week = 604_800 - 61;
    expect(at.world.effects).toEqual([`patch ${at.name}: lease-lost`, kept(at.name, 60 + week)]);
  });

  test('is not longer than any message can stay hidden', async () => {
    await using at = await setUp();
    await at.world.store.patch(at.name, { annotations: { [ANNOTATION.expiresOn]: '9999-12-31T00:00:00.000Z' } });
    await at.world.clock.advance(60_000);
    await at.world.queues.receive(QUEUE, 1, 60);
    await settled();
    at.world.newEffects();
    await at.life.reconcile();
    expect(at.world.effects).toEqual([`patch ${at.name}: lease-lost`, kept(at.name, 60 + 604_800)]);
  });
});

describe('the poison copy', () => {
  test('I14: tells reason and attempts, and keeps the message as it was received', async () => {
    const raw = Buffer.from(JSON.stringify(task('t-1', { ends: [1] }))).toString('base64');
    await using at = await setUp({ ends: [1] }, { raw });
    await at.world.clock.advance(60_000);
    await at.life.reconcile();
    expect(at.copies()).toMatchObject([
      {
        id: at.id,
        reason: 'TaskFailed: the container ended with exit code 1',
        attempts: [{ exitCode: 1 }, { exitCode: 1 }, { exitCode: 1 }],
        encoding: 'base64',
        original: raw,
      },
    ]);
  });

  test('is not made twice: it is looked for before', async () => {
    await using at = await setUp(FAILS);
    at.world.queues.before = ({ operation }) => {
      if (operation === 'remove') throw refused('unavailable');
    };
    for (let times = 0; times < 3; times++)
      await expect(at.life.reconcile()).rejects.toMatchObject({ kind: 'unavailable' });
    at.world.queues.before = () => undefined;
    await at.life.reconcile();
    expect(at.copies()).toHaveLength(1);
  });

  test('is not needed for a queue that is gone', async () => {
    await using at = await setUp(FAILS);
    at.world.queues.drop(POISON);
    at.world.queues.drop(QUEUE);
    await at.life.reconcile();
    expect(at.world.effects).toEqual([
      `patch ${at.name}: outcome`,
      `patch ${at.name}: poisoned`,
      kept(at.name, 86_400),
    ]);
  });
});

describe('I2: a step without an answer stops the ones after it', () => {
  const kinds: readonly ErrorKind[] = ['unavailable', 'unknown', 'throttled', 'forbidden'];

  test.each(kinds)('%s on the poison copy: the message stays', async (kind) => {
    await using at = await setUp(FAILS, { webhook: true });
    at.world.queues.before = ({ operation }) => {
      if (operation === 'put') throw refused(kind);
    };
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind });
    expect(at.world.effects).toEqual([`patch ${at.name}: outcome`]);
    expect(at.world.queues.messages(QUEUE)).toHaveLength(1);
  });

  test.each(kinds)('%s on the delete: the Job stays open, without a time to live', async (kind) => {
    await using at = await setUp(FAILS, { webhook: true });
    at.world.queues.before = ({ operation }) => {
      if (operation === 'remove') throw refused(kind);
    };
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind });
    expect(await at.world.theJob()).toMatchObject({ settled: false, ttlSeconds: undefined });
    expect(at.world.webhooks).toEqual([]);
  });

  test.each(kinds)('%s on recording the outcome: nothing is done without it', async (kind) => {
    await using at = await setUp(FAILS, { webhook: true });
    at.world.before = ({ method }) => {
      if (method === 'patch') throw refused(kind);
    };
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind });
    expect(at.world.effects).toEqual([]);
  });

  test('a Job that is gone before its copy was made is not forgotten silently', async () => {
    await using at = await setUp(FAILS);
    at.world.before = ({ method }) => {
      if (method === 'get') at.world.store.remove(at.name);
    };
    await expect(at.life.reconcile()).rejects.toThrow('is gone before its message was poisoned');
    expect(at.copies()).toEqual([]);
    expect(at.world.queues.messages(QUEUE)).toHaveLength(1);
  });

  test('a Job that is gone before its webhook was sent: no report of a task without a name', async () => {
    await using at = await setUp(FAILS, { webhook: true });
    let reads = 0;
    at.world.before = ({ method }) => {
      if (method === 'get' && ++reads === 2) at.world.store.remove(at.name);
    };
    await expect(at.life.reconcile()).rejects.toThrow('is gone before its webhook was sent');
    expect(at.world.webhooks).toEqual([]);
  });
});

describe('I3: two operators', () => {
  test('of which one has closed the Job: the other finds it closed, and closes nothing', async () => {
    await using at = await setUp({ ends: [{ exitCode: 0, message: report('completed', 'delivered') }] });
    const other = at.world.rest();
    other.observe();
    await settled();
    at.life.view.observe = () => undefined;
    await other.reconcile();
    at.world.newEffects();
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind: 'conflict' });
    expect(at.world.effects).toEqual([]);
  });

  test('a version that was not decided on is not closed', async () => {
    await using at = await setUp();
    at.world.before = async ({ method }) => {
      if (method === 'patch') await at.world.store.patch(at.name, { annotations: { 'slipway.dev/other': 'x' } });
    };
    await expect(at.life.reconcile()).rejects.toMatchObject({ kind: 'conflict' });
    at.world.before = () => undefined;
    await settled();
    await at.life.reconcile();
    expect((await at.world.theJob()).settled).toBe(true);
  });
});

describe('I8: a webhook that is owed', () => {
  const owed = { webhook: true };

  test('stands on the Job, which stays open, takes no slot, and is looked at when the next try is due', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.life.reconcile();
    const job = await at.world.theJob();
    expect(job).toMatchObject({ settled: false, ttlSeconds: undefined });
    expect(webhookState(job)).toEqual({
      kind: 'owed',
      tries: 1,
      nextAt: at.world.clock.now() + 5000,
      detail: '503',
      removal: 'deleted',
    });
    expect(at.life.free).toBe(20);
    expect(await at.life.reconcile()).toBe(5000);
    expect(at.world.queues.messages(QUEUE)).toEqual([]);
  });

  test('is tried on the schedule under one id, and the Job is closed when it is delivered', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.life.reconcile();
    await at.world.clock.advance(5000);
    await at.life.reconcile();
    at.world.answer = () => ({ kind: 'delivered', status: 204 });
    await at.world.clock.advance(300_000);
    at.world.newEffects();
    await at.life.reconcile();
    expect(at.world.effects).toEqual(['webhook delivered', expect.stringMatching(/settled, webhook-state, ttl \d+$/)]);
    expect(webhookState(await at.world.theJob())).toEqual({ kind: 'delivered', tries: 3 });
    const ref = { account: ACCOUNT, queue: QUEUE, messageId: at.id };
    expect(new Set(at.world.webhooks.map(({ id }) => id))).toEqual(new Set([webhookId(webhookIdBase(ref), 'failed')]));
  });

  test('waits as long as the receiver asks', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '429', retryAfterMs: 3_600_000 });
    await at.life.reconcile();
    expect(await at.life.reconcile()).toBe(3_600_000);
  });

  test('is given up visibly when the receiver says so for good', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'refused', detail: '410' });
    await at.life.reconcile();
    const job = await at.world.theJob();
    expect([job.settled, webhookState(job)]).toEqual([true, { kind: 'given-up', tries: 1, detail: '410' }]);
    expect(at.world.store.notices).toMatchObject([
      { reason: 'TaskFailed', message: expect.stringContaining(HINTS.TaskFailed) },
      { reason: 'WebhookGivenUp', about: { name: at.name } },
    ]);
  });

  test('of a result that is too large to be sent says where it lies', async () => {
    const resultUrl = 'https://account.blob.example/results/acme/t-1.report.json';
    const ends = [{ exitCode: 0, message: report('completed', 'owed', { resultUrl, truncated: true }) }];
    await using at = await setUp({ ends }, owed);
    await at.life.reconcile();
    const body = JSON.parse(at.world.webhooks[0]?.body ?? '');
    expect([body.status, body.result, body.result_url]).toEqual(['completed', undefined, resultUrl]);
  });

  test('is given up visibly, without another try, when too many are owed', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.life.reconcile();
    const job = await at.world.theJob();
    Object.assign(at.life.tools.owedWebhooks, { surplus: () => 'more than 500 webhooks are owed to b' });
    await at.life.reconcile();
    expect(at.world.webhooks).toHaveLength(1);
    const detail = 'more than 500 webhooks are owed to b; last: 503';
    expect(webhookState(await at.world.theJob())).toEqual({ kind: 'given-up', tries: 1, detail });
    expect((await at.world.theJob()).settled).toBe(true);
    expect(at.world.store.notices.at(-1)).toMatchObject({ reason: 'WebhookGivenUp', about: { uid: job.uid } });
  });

  test('is given up after ten tries', async () => {
    await using at = await setUp(FAILS, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    for (let again: number | undefined = 0; again !== undefined; again = await at.life.reconcile())
      await at.world.clock.advance(again);
    expect(at.world.webhooks).toHaveLength(10);
    expect(webhookState(await at.world.theJob())).toMatchObject({ kind: 'given-up', tries: 10 });
    expect(at.world.clock.monotonic() / 3_600_000).toBeCloseTo(75.58, 1);
  });

  test('outlives the pods, which hold the result: it is sent from the record', async () => {
    const ends = [{ exitCode: 0, message: report('completed', 'owed', { result: { pages: 3 } }) }];
    await using at = await setUp({ ends }, owed);
    at.world.answer = () => ({ kind: 'retry', detail: '503' });
    await at.life.reconcile();
    for (const pod of at.life.view.pods(at.name)) at.life.view.observe({ kind: 'pod-gone', pod });
    at.world.answer = () => ({ kind: 'delivered', status: 200 });
    await at.world.clock.advance(5000);
    await at.life.reconcile();
    const bodies = at.world.webhooks.map(({ body }) => body);
    expect(bodies[1]).toBe(bodies[0]);
    expect(JSON.parse(bodies[1] ?? '')).toMatchObject({ task_id: 't-1', result: { pages: 3 }, duration_ms: 1000 });
  });

  test('in format result is the result alone, and a failure the whole body', async () => {
    const yaml = 'webhook: { format: result }\ntaskTypes: { echo: {} }';
    const ends = [{ exitCode: 0, message: report('completed', 'owed', { result: { pages: 3 } }) }];
    await using done = await setUp({ ends }, { ...owed, yaml });
    await done.life.reconcile();
    expect(done.world.webhooks[0]?.body).toBe('{"pages":3}');
    await using failed = await setUp(FAILS, { ...owed, yaml });
    await failed.life.reconcile();
    expect(JSON.parse(failed.world.webhooks[0]?.body ?? '')).toMatchObject({
      status: 'failed',
      error: { code: 'TaskFailed', message: 'bad data' },
    });
  });
});

describe('a result that lies in Blob', () => {
  const ends = [
    { exitCode: 0, message: report('completed', 'owed', { resultUrl: 'https://acme/r.json', truncated: true }) },
  ];

  test('is sent as if the runner had sent it', async () => {
    await using at = await setUp({ ends }, { webhook: true });
    Object.assign(at.life.tools, { readResult: async () => ({ kind: 'found', value: { pages: 300 } }) });
    await at.life.reconcile();
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).toMatchObject({ result: { pages: 300 } });
  });

  test('I8: and cannot be read now leaves the webhook owed', async () => {
    await using at = await setUp({ ends }, { webhook: true });
    Object.assign(at.life.tools, { readResult: async () => ({ kind: 'later', detail: '503' }) });
    await at.life.reconcile();
    expect(at.world.webhooks).toEqual([]);
    expect(webhookState(await at.world.theJob())).toMatchObject({ kind: 'owed', detail: '503' });
  });

  test('and is gone does not keep the webhook back', async () => {
    await using at = await setUp({ ends }, { webhook: true });
    await at.life.reconcile();
    expect(JSON.parse(at.world.webhooks[0]?.body ?? '')).not.toHaveProperty('result');
  });
});

test('I3: the outcome is on record before the first effect, for pods go when they please', async () => {
  await using at = await setUp(FAILS, { webhook: true });
  at.world.queues.before = ({ operation }) => {
    if (operation === 'put') throw refused('unavailable');
  };
  await expect(at.life.reconcile()).rejects.toBeDefined();
  for (const pod of at.life.view.pods(at.name)) at.life.view.observe({ kind: 'pod-gone', pod });
  at.world.queues.before = () => undefined;
  await at.life.reconcile();
  expect(at.copies()).toMatchObject([{ reason: 'TaskFailed: bad data', attempts: [{ exitCode: 65 }] }]);
  expect(recordedOutcome(await at.world.theJob())?.diagnosis.message).toBe('bad data');
});
