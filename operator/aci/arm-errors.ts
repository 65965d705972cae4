/** What Azure Resource Manager and the container service answer, as a ServiceError. */
import { type ErrorKind, kindOfStatus, messageOf, ServiceError } from '../../lib/errors.ts';

/**
 * Codes that mean something else than their HTTP status. Nothing that depends on quota, capacity or a registry is final: the same group is
 * taken when there is room.
 */
const KIND_OF_CODE: Readonly<Record<string, ErrorKind>> = {
  ContainerGroupQuotaReached: 'throttled',
  TooManyRequests: 'throttled',
  SubscriptionRequestsThrottled: 'throttled',
  // The operation before has not ended; or the region has no room now.
  ContainerGroupTransitioning: 'conflict',
  ServiceUnavailable: 'unavailable',
  RegistryErrorResponse: 'unavailable',
  ContainerLogNotAvailable: 'unavailable',
  InternalServerError: 'unknown',
  // Nothing is known of its groups then: not that there are none.
  SubscriptionNotFound: 'forbidden',
};
/** The code under which a region's limit is told; some answers have its text under another code. */
const QUOTA_REACHED = 'ContainerGroupQuotaReached';
const LONGEST_MESSAGE = 500;

/**
 * Anything that the SDK threw. The service's own message is kept: it names the quota, or the field; requests and their secrets are not in it.
 *
 * @param what what was tried, such as "create the container group acme-echo-abc"
 */
export function toArmError(error: unknown, what: string): ServiceError {
  if (error instanceof ServiceError) return error;
  const status = field(error, 'statusCode');
  const said = field(error, 'message');
  const message = typeof said === 'string' ? said : messageOf(error);
  const isQuota = typeof status === 'number' && /quota '[^']*' exceeded|exceeded quota/i.test(message);
  const own = field(error, 'code');
  const code = isQuota ? QUOTA_REACHED : typeof own === 'string' ? own : String(status ?? nameOf(error));
  if (typeof status !== 'number')
    return new ServiceError(
      'unknown',
      code,
      `could not ${what}: no answer (${code}): ${message.slice(0, LONGEST_MESSAGE)}`,
    );
  return new ServiceError(
    // A server that broke down may have done it.
    KIND_OF_CODE[code] ?? (status === 500 ? 'unknown' : kindOfStatus(status)),
    code,
    `could not ${what}: ${code} (HTTP ${status}): ${message.slice(0, LONGEST_MESSAGE)}`,
    { retryAfterMs: retryAfter(error) },
  );
}

function retryAfter(error: unknown): number | undefined {
  const headers = field(field(error, 'response'), 'headers');
  const get = field(headers, 'get');
  const seconds = typeof get === 'function' ? Number(Reflect.apply(get, headers, ['retry-after'])) : Number.NaN;
  return seconds > 0 ? seconds * 1000 : undefined;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'Error';
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}
