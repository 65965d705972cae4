import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { systemClock } from '../../lib/clock.ts';
import { createLog } from '../../lib/log.ts';
import { readConfig } from '../config.ts';
import { defineHandler, type HandlerContext } from './handler.ts';
import { HANDLER_TYPES, loadHandler } from './registry.ts';

const reading = readConfig({ TASK_DATA: '{}' });
const context = (signal = new AbortController().signal): HandlerContext => ({
  signal,
  clock: systemClock,
  log: createLog('silent', {}),
  count: () => undefined,
  settings: reading.kind === 'valid' ? reading.config.settings : expect.unreachable(),
});
const run = async (type: string, payload: unknown, signal?: AbortSignal) =>
  (await loadHandler(type))?.run({ taskId: 't', clientId: 'c', payload }, context(signal));

describe('defineHandler', () => {
  const greet = defineHandler({
    type: 'greet',
    payload: z.object({ name: z.string(), at: z.object({ hour: z.number() }).default({ hour: 9 }) }),
    run: async ({ payload, taskId }) => `${taskId}: hello, ${payload.name}, at ${payload.at.hour}`,
  });

  test('gives the handler a payload that fits', async () => {
    expect(await greet.run({ taskId: 't', clientId: 'c', payload: { name: 'Ines' } }, context())).toBe(
      't: hello, Ines, at 9',
    );
  });

  test('refuses one that does not, naming every field and showing no value', async () => {
    const refused = greet.run({ taskId: 't', clientId: 'c', payload: { name: 7, at: { hour: 'hunter2' } } }, context());
    await expect(refused).rejects.toMatchObject({ name: 'PermanentError', code: 'Malformed' });
    await expect(refused).rejects.toThrow(/^payload\.name: .*; payload\.at\.hour: /);
    await expect(refused).rejects.not.toThrow(/hunter2/);
  });
});

describe('the registry', () => {
  test('loads every handler under its own name', async () => {
    for (const type of HANDLER_TYPES) expect((await loadHandler(type))?.type).toBe(type);
  });
  test.each(['', 'unknown', 'constructor', '__proto__', 'toString'])('knows no "%s"', async (type) => {
    expect(await loadHandler(type)).toBeUndefined();
  });
});

describe('echo', () => {
  test.each([[null], [7], ['text'], [[1, { fail: 'no' }]], [{ a: { fail: 'no' } }], [undefined]])(
    'returns %j',
    async (payload) => {
      expect(await run('echo', payload)).toEqual(payload);
    },
  );
  test('fails when it is asked to', async () => {
    await expect(run('echo', { fail: 'on purpose' })).rejects.toThrow(/^on purpose$/);
  });
  test('pauses, and stops when it is told to', async () => {
    const from = performance.now();
    expect(await run('echo', { sleepMs: 30 })).toEqual({ sleepMs: 30 });
    expect(performance.now() - from).toBeGreaterThanOrEqual(25);
    await expect(run('echo', { sleepMs: 60_000 }, AbortSignal.timeout(20))).rejects.toThrow('aborted');
  });
  test('names the option that is wrong', async () => {
    await expect(run('echo', { sleepMs: 'long' })).rejects.toThrow(/^payload\.sleepMs: /);
  });
});

describe('document-processing', () => {
  test('needs a storage account', async () => {
    await expect(run('document-processing', { container: 'docs', path: 'a.pdf' })).rejects.toMatchObject({
      name: 'ConfigurationError',
      message: expect.stringContaining('AZURE_STORAGE_CONNECTION_STRING is not set'),
    });
  });
});
