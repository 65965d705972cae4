import { type ErrorKind, kindOfStatus, messageOf, ServiceError } from '../lib/errors.ts';

/** Codes of the queue service that mean something else than their HTTP status. */
const KIND_OF_CODE: Readonly<Record<string, ErrorKind>> = {
  QueueNotFound: 'not-found',
  // Azure answers a stale receipt with one or the other; neither tells whether the message still exists.
  MessageNotFound: 'lease-lost',
  PopReceiptMismatch: 'lease-lost',
  InvalidPopReceipt: 'lease-lost',
  QueueBeingDeleted: 'unavailable',
  QueueDisabled: 'unavailable',
  ServerBusy: 'throttled',
  OperationTimedOut: 'unavailable',
  InternalError: 'unavailable',
};

/**
 * Anything that the SDK threw, as a ServiceError. The SDK's own message is useless ("Unexpected status code: 404") and its other fields hold
 * the request with its signature, so the text is made anew from code and status.
 *
 * @param what what was tried, such as "receive from acme-tasks"
 */
export function toServiceError(error: unknown, what: string): ServiceError {
  if (error instanceof ServiceError) return error;
  const status = numberField(error, 'statusCode');
  const code =
    stringField(error, 'code') ??
    (status === undefined ? (error instanceof Error ? error.name : 'Error') : String(status));
  const kind = KIND_OF_CODE[code] ?? kindOfStatus(status);
  const reason =
    status === undefined
      ? `no answer (${code}${error instanceof Error && error.name === 'AbortError' ? ', deadline or stop' : ''})`
      : `${code} (HTTP ${status})`;
  return new ServiceError(
    kind,
    code,
    `could not ${what}: ${status === undefined && code === 'Error' ? messageOf(error) : reason}`,
  );
}

function numberField(value: unknown, key: string): number | undefined {
  const field: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof field === 'number' ? field : undefined;
}

function stringField(value: unknown, key: string): string | undefined {
  const field: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof field === 'string' ? field : undefined;
}
