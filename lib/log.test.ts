import { expect, test } from 'vitest';
import { ServiceError } from './errors.ts';
import { createLog } from './log.ts';

function record(level: 'debug' | 'info' | 'silent') {
  const lines: string[] = [];
  const log = createLog(level, { app: 'slipway' }, { write: (line: string) => lines.push(line) });
  return { log, read: (): Record<string, unknown>[] => lines.map((line) => JSON.parse(line)) };
}

test('a line is one JSON object with level, time, message and the fields of its logger', () => {
  const { log, read } = record('info');
  log.child({ queue: 'acme-tasks' }).warn({ failures: 2 }, 'the queue does not answer');
  log.debug({}, 'too fine');
  expect(read()).toEqual([
    {
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      app: 'slipway',
      queue: 'acme-tasks',
      failures: 2,
      msg: 'the queue does not answer',
    },
  ]);
});

test('I9: an error is logged without the fields that SDKs hang on it', () => {
  const { log, read } = record('info');
  const request = { headers: { authorization: 'SharedKey account:c2VjcmV0' } };
  const sdk = Object.assign(new Error('Unexpected status code: 404'), { request, response: { body: 'c2VjcmV0' } });
  log.error({ err: sdk }, 'SDK');
  log.error({ err: new ServiceError('forbidden', 'AuthenticationFailed', 'refused', { cause: sdk }) }, 'ours');
  log.error({ err: 'a text' }, 'odd');
  const [first, second, third] = read();
  expect(JSON.stringify([first, second, third])).not.toContain('c2VjcmV0');
  expect(first?.['err']).toMatchObject({ name: 'Error', message: 'Unexpected status code: 404' });
  expect(second?.['err']).toEqual({ kind: 'forbidden', code: 'AuthenticationFailed', message: 'refused' });
  expect(third?.['err']).toEqual({ message: 'a text' });
});

test('a silent logger says nothing', () => {
  const { log, read } = record('silent');
  log.error({}, 'anything');
  expect(read()).toEqual([]);
});
