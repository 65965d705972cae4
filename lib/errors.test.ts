import { describe, expect, test } from 'vitest';
import {
  assertNever,
  ERROR_KINDS,
  type ErrorKind,
  ifFound,
  isKind,
  kindOfStatus,
  messageOf,
  ServiceError,
} from './errors.ts';

describe('kindOfStatus', () => {
  const table: readonly (readonly [number | undefined, ErrorKind])[] = [
    [undefined, 'unknown'],
    [400, 'invalid'],
    [401, 'forbidden'],
    [403, 'forbidden'],
    [404, 'not-found'],
    [408, 'unavailable'],
    [409, 'conflict'],
    [412, 'conflict'],
    [413, 'invalid'],
    [422, 'invalid'],
    [429, 'throttled'],
    [500, 'unavailable'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [504, 'unavailable'],
  ];
  test.each(table)('%s is %s', (status, kind) => expect(kindOfStatus(status)).toBe(kind));
});

test('what is not there is undefined; any other error stays one', async () => {
  expect(await ifFound(Promise.resolve('here'))).toBe('here');
  for (const kind of ERROR_KINDS) {
    const asked = ifFound(Promise.reject(new ServiceError(kind, 'Code', 'message')));
    if (kind === 'not-found') expect(await asked).toBeUndefined();
    else await expect(asked).rejects.toMatchObject({ kind });
  }
  await expect(ifFound(Promise.reject(new Error('not-found')))).rejects.toThrow('not-found');
});

test('an error is of a kind only when it is a ServiceError of one of those named', () => {
  for (const kind of ERROR_KINDS) {
    const error = new ServiceError(kind, 'Code', 'message');
    expect(isKind(error, kind)).toBe(true);
    expect(isKind(error, ...ERROR_KINDS.filter((other) => other !== kind))).toBe(false);
  }
  expect(isKind({ kind: 'conflict' }, 'conflict')).toBe(false);
  expect(isKind(undefined, 'conflict')).toBe(false);
});

test('a ServiceError keeps its cause and the wait that the server asked for', () => {
  const cause = new Error('socket');
  const error = new ServiceError('throttled', '429', 'slow down', { cause, retryAfterMs: 5000 });
  expect(error).toMatchObject({ name: 'ServiceError', code: '429', cause, retryAfterMs: 5000 });
});

test('anything thrown has a message', () => {
  expect([new Error('e'), 'text', 7, undefined, null].map(messageOf)).toEqual(['e', 'text', '7', 'undefined', 'null']);
});

test('a case that cannot be is an error that shows the value', () => {
  const impossible: unknown = { kind: 'odd' };
  expect(() => assertNever(impossible as never)).toThrow('unexpected value {"kind":"odd"}');
});
