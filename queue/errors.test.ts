import { RestError } from '@azure/storage-queue';
import { describe, expect, test } from 'vitest';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { toServiceError } from './errors.ts';

/** An error as the SDK throws it, with the request and its signature hanging on it. */
function sdkError(code: string | undefined, statusCode: number | undefined): RestError {
  const request = { headers: { authorization: 'SharedKey acme:c2VjcmV0' }, url: 'https://acme/?sig=c2VjcmV0' };
  return Object.assign(
    new RestError('Unexpected status code', { ...(code && { code }), ...(statusCode && { statusCode }) }),
    {
      request,
    },
  );
}

describe('toServiceError', () => {
  const table: readonly (readonly [code: string | undefined, status: number | undefined, kind: ErrorKind])[] = [
    ['QueueNotFound', 404, 'not-found'],
    ['MessageNotFound', 404, 'lease-lost'],
    ['PopReceiptMismatch', 400, 'lease-lost'],
    ['QueueBeingDeleted', 409, 'unavailable'],
    ['QueueDisabled', 409, 'unavailable'],
    ['QueueAlreadyExists', 409, 'conflict'],
    ['ServerBusy', 503, 'throttled'],
    ['OperationTimedOut', 500, 'unavailable'],
    ['InternalError', 500, 'unavailable'],
    ['MessageTooLarge', 400, 'invalid'],
    ['RequestBodyTooLarge', 413, 'invalid'],
    ['AuthenticationFailed', 403, 'forbidden'],
    ['AuthorizationPermissionMismatch', 403, 'forbidden'],
    [undefined, 429, 'throttled'],
    [undefined, 502, 'unavailable'],
    ['ECONNRESET', undefined, 'unknown'],
    ['REQUEST_SEND_ERROR', undefined, 'unknown'],
  ];
  test.each(table)('%s with status %s is %s', (code, status, kind) => {
    const error = toServiceError(sdkError(code, status), 'receive from acme-tasks');
    expect(error).toMatchObject({ kind, code: code ?? String(status) });
    expect(error.message).toContain('could not receive from acme-tasks: ');
  });

  test('an aborted call has no answer, and says that it was the deadline or a stop', () => {
    const abort = Object.assign(new Error('The operation was aborted.'), { name: 'AbortError', code: 'ABORT_ERR' });
    expect(toServiceError(abort, 'delete from q')).toMatchObject({
      kind: 'unknown',
      message: 'could not delete from q: no answer (ABORT_ERR, deadline or stop)',
    });
  });

  test('I9: nothing of the request is kept, for it is signed', () => {
    const error = toServiceError(sdkError('ServerBusy', 503), 'put into q');
    expect(`${error.message}${error.stack}${JSON.stringify(error)}${String(error.cause)}`).not.toContain('c2VjcmV0');
  });

  test('a ServiceError stays what it is, and anything else thrown is without an answer', () => {
    const error = new ServiceError('conflict', 'c', 'm');
    expect(toServiceError(error, 'x')).toBe(error);
    for (const thrown of [undefined, null, 'text', 7, {}, new TypeError('bug')])
      expect(toServiceError(thrown, 'x')).toMatchObject({ kind: 'unknown' });
  });
});
