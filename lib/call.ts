/** A call to a server by its SDK. */
import type { Clock } from './clock.ts';
import type { ServiceError } from './errors.ts';

/**
 * Ends within `deadlineMs` or with `signal`.
 *
 * @throws ServiceError whatever the SDK threw, as `toError` reads it
 */
export async function callWithin<T>(
  clock: Clock,
  deadlineMs: number,
  signal: AbortSignal | undefined,
  work: (within: AbortSignal) => Promise<T>,
  toError: (error: unknown) => ServiceError,
): Promise<T> {
  const within = clock.deadline(deadlineMs, signal);
  try {
    return await work(within);
  } catch (error) {
    throw toError(error);
  }
}
