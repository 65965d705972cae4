import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { type PoisonEnvelope, parseEnvelope } from '../contract/poison.ts';
import { ServiceError } from '../lib/errors.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { bury } from './poison.ts';

const envelope: PoisonEnvelope = {
  slipway: 1,
  id: 'm-1',
  queue: 'acme-tasks',
  reason: 'Malformed: task_id is missing',
  diagnosis: diagnose('Malformed', 'task_id is missing'),
  attempts: [],
  insertedOn: null,
  poisonedOn: '2026-01-01T00:00:00.000Z',
  encoding: 'base64',
  original: 'e30=',
};

function setUp(...queues: readonly string[]) {
  const effects: string[] = [];
  const service = new FakeQueues(new VirtualClock(), effects);
  service.create(...queues);
  return { service, effects, texts: () => service.messages('acme-tasks-poison').map(({ text }) => text) };
}

describe('bury', () => {
  test('I14: puts a copy that holds the original as received and never expires', async () => {
    const { service, texts } = setUp('acme-tasks', 'acme-tasks-poison');
    expect(await bury(service, envelope, 'envelope')).toBe(true);
    expect(texts().map(parseEnvelope)).toEqual([envelope]);
    expect(service.messages('acme-tasks-poison')[0]?.expiresOn).toBe(Date.UTC(9999, 11, 31));
  });

  test('I14: in format original the copy is the bare text', async () => {
    const { service, texts } = setUp('acme-tasks', 'acme-tasks-poison');
    await bury(service, envelope, 'original');
    expect(texts()).toEqual(['e30=']);
  });

  test('makes the poison queue when it is first needed', async () => {
    const { service, texts, effects } = setUp('acme-tasks');
    expect(await bury(service, envelope, 'envelope')).toBe(true);
    expect(texts()).toHaveLength(1);
    expect(effects).toEqual(['create acme-tasks-poison', 'put acme-tasks-poison']);
  });

  test('makes none for a queue that is gone', async () => {
    const { service, effects } = setUp();
    expect(await bury(service, envelope, 'envelope')).toBe(false);
    expect(effects).toEqual([]);
  });

  test('I2: says nothing was stored when there was no answer', async () => {
    const { service } = setUp('acme-tasks', 'acme-tasks-poison');
    service.after = () => {
      throw new ServiceError('unknown', 'ECONNRESET', 'reset');
    };
    await expect(bury(service, envelope, 'envelope')).rejects.toMatchObject({ kind: 'unknown' });
  });
});
