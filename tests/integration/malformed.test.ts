/** Messages that are no tasks, through a real queue: each ends in the poison queue with a reason that names the field; the loop goes on. */
import { expect, test } from 'vitest';
import { parseEnvelope } from '#/contract/poison.ts';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { parseConfig } from '#/operator/config.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { runOperator } from '#/operator/operator.ts';
import { createQueueService } from '#/queue/service.ts';
import { startAzurite } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { testQueues } from '#/testing/queues.ts';
import { startWebhookSink } from '#/testing/webhook-sink.ts';

const task = (more: object) => JSON.stringify({ task_id: 't', task_type: 'echo', ...more });
const base64 = (bytes: string | Uint8Array) => Buffer.from(bytes).toString('base64');
const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

const TABLE: readonly [what: string, raw: string, reason: RegExp][] = [
  ['no JSON', 'hello', /^Malformed: message is neither JSON/],
  ['JSON cut off', '{"task_id":"t","task_type":"echo"', /^Malformed: message is neither JSON/],
  ['base64 of bytes that are no UTF-8', base64(Uint8Array.of(0xff, 0xfe, 0x41)), /^Malformed: message /],
  ['base64 of something else', base64('hello'), /^Malformed: message is base64, but what it holds is not JSON/],
  ['base64 twice', base64(base64(task({}))), /^Malformed: message is base64, but what it holds is not JSON/],
  [
    'base64 in the URL alphabet',
    base64('{"task_id":"???>>>","task_type":"echo"}').replaceAll('/', '_').replaceAll('+', '-'),
    /^Malformed: (message|task)/,
  ],
  ['null', 'null', /^Malformed: message must be a JSON object, got null/],
  ['a number', '7', /^Malformed: message must be a JSON object, got a number/],
  ['a text', '"task"', /^Malformed: message must be a JSON object, got a string/],
  ['an array of tasks', `[${task({})}]`, /^Malformed: message must be a JSON object, got an array/],
  ['no task_id', '{"task_type":"echo"}', /^Malformed: task_id is missing/],
  ['task_id null', task({ task_id: null }), /^Malformed: task_id must be a string, got null/],
  ['task_id a number', task({ task_id: 7 }), /^Malformed: task_id must be a string, got a number/],
  ['task_id empty', task({ task_id: '' }), /^Malformed: task_id must not be empty/],
  ['task_id too long', task({ task_id: 'x'.repeat(257) }), /^Malformed: task_id must have at most 256 characters/],
  ['task_id with a NUL', task({ task_id: 'a\0b' }), /^Malformed: task_id must not contain control characters/],
  [
    'task_id with half a character',
    '{"task_id":"\\ud800","task_type":"echo"}',
    /^Malformed: task_id must be well-formed Unicode/,
  ],
  ['no task_type', '{"task_id":"t"}', /^Malformed: task_type is missing/],
  ['task_type an object', task({ task_type: {} }), /^Malformed: task_type must be a string, got an object/],
  ['task_type unknown', task({ task_type: 'nobody' }), /^UnknownTaskType: task_type "nobody" is not configured/],
  ['task_type __proto__', '{"task_id":"t","task_type":"__proto__"}', /^UnknownTaskType: task_type/],
  ['task_type constructor', task({ task_type: 'constructor' }), /^UnknownTaskType: task_type/],
  ['task_type with $()', task({ task_type: '$(rm -rf /)' }), /^UnknownTaskType: task_type/],
  [
    'webhook_url relative',
    task({ webhook_url: '/hook' }),
    /^Malformed: webhook_url must be an absolute http or https URL/,
  ],
  ['webhook_url of another kind', task({ webhook_url: 'javascript:alert(1)' }), /^Malformed: webhook_url/],
  [
    'webhook_url a number',
    task({ webhook_url: 1 }),
    /^Malformed: webhook_url must be an absolute http or https URL, got a number/,
  ],
  ['task_id twice', '{"task_id":"a","task_type":"echo","task_id":"b"}', /^Malformed: task_id stands twice/],
  [
    'task_id twice, once in disguise',
    '{"task_id":"a","task_type":"echo","t\\u0061sk_id":"b"}',
    /^Malformed: task_id stands twice/,
  ],
  [
    'nested deeply',
    `{"task_id":"t","task_type":"echo","payload":${deep(20_000)}}`,
    /^Malformed: message is nested 20001 levels deep/,
  ],
  ['several faults', '{"task_type":7}', /^Malformed: task_id is missing; task_type must be a string, got a number/],
];

/** An envelope around these does not fit into a message: the bare original is kept. */
const LARGE = ['x'.repeat(65_536), `{"task_type":"echo","payload":"${'y'.repeat(65_450)}"}`];

test('I7 I14: every malformed message is poisoned with its reason and its text, and the next task still runs', async () => {
  await using azurite = await startAzurite({ blob: false });
  await using sink = await startWebhookSink();
  const queues = testQueues(azurite.connectionString);
  await queues.create('acme-tasks');
  await queues.put('acme-tasks', ...TABLE.map(([, raw]) => raw), ...LARGE);
  await queues.put('acme-tasks', { task_id: 9, task_type: 'echo', webhook_url: `${sink.url}/told` });
  await queues.put('acme-tasks', { task_id: 'good', task_type: 'echo', webhook_url: `${sink.url}/good` });

  const clock = systemClock;
  await using store = createLocalStore({ clock, images: { 'runner:1': { command: [process.execPath, '-e', ''] } } });
  const config = parseConfig(
    JSON.stringify({
      queues: [{ name: 'acme-tasks' }],
      runner: { image: 'runner:1' },
      taskTypes: { echo: {} },
      webhook: { allow: ['127.0.0.1'] },
    }),
    { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString, SLIPWAY_NAMESPACE: 'local', SLIPWAY_HTTP_PORT: '0' },
  );
  const stopping = new AbortController();
  const running = runOperator(
    { config, store, queues: createQueueService(config.storage, clock), clock, log: createLog('silent', {}) },
    stopping.signal,
  );
  await eventually(async () => expect(await queues.count('acme-tasks')).toBe(0), 60_000);
  const [told] = await sink.waitFor('/told');
  const [good] = await sink.waitFor('/good');
  stopping.abort();
  await running;

  expect(JSON.parse(good?.body ?? '')).toMatchObject({ task_id: 'good', status: 'completed' });
  expect(JSON.parse(told?.body ?? '')).toMatchObject({
    status: 'failed',
    error: { code: 'Malformed', message: 'task_id must be a string, got a number' },
  });
  const texts = await queues.texts('acme-tasks-poison');
  expect(texts).toHaveLength(TABLE.length + LARGE.length + 1);
  const envelopes = texts.flatMap((text) => parseEnvelope(text) ?? []);
  for (const [what, raw, reason] of TABLE) {
    const envelope = envelopes.find(({ original }) => original === raw);
    expect(envelope?.reason, what).toMatch(reason);
  }
  for (const raw of LARGE) expect(texts.includes(raw)).toBe(true);
});
