/**
 * What can go wrong with a call to a server, decided once at the SDK's border. Nobody else looks at status codes.
 *
 * - `not-found`, `conflict`: the server's state is another than assumed
 * - `lease-lost`: the message belongs to somebody else now, or is gone
 * - `invalid`: the server will never accept this request (400, 413, 422)
 * - `forbidden`: 401 or 403; never permanent: quota, policy, lost rights and a terminating namespace look alike
 * - `throttled`, `unavailable`: try again later; the request was not, or perhaps not, carried out
 * - `unknown`: no answer came (deadline, reset): the request may have been carried out
 */
export const ERROR_KINDS = [
  'not-found',
  'conflict',
  'lease-lost',
  'invalid',
  'forbidden',
  'throttled',
  'unavailable',
  'unknown',
] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

/** A failed call to a server. The message is safe to log: it never holds a request or response body. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly kind: ErrorKind;
  /** The server's own code or reason, such as `QueueNotFound`; the HTTP status or the socket's code when there is none. */
  readonly code: string;
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: ErrorKind,
    code: string,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | undefined } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** True for a ServiceError of one of the kinds. */
export function isKind(error: unknown, ...kinds: readonly ErrorKind[]): error is ServiceError {
  return error instanceof ServiceError && kinds.includes(error.kind);
}

/** What was asked for, or undefined when the server has no such thing. */
export async function ifFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isKind(error, 'not-found')) return undefined;
    throw error;
  }
}

/** The kind of an HTTP answer that the server gave no clearer code for. */
export function kindOfStatus(status: number | undefined): ErrorKind {
  if (status === undefined) return 'unknown';
  if (status === 404) return 'not-found';
  if (status === 409 || status === 412) return 'conflict';
  if (status === 401 || status === 403) return 'forbidden';
  if (status === 429) return 'throttled';
  if (status === 408 || status >= 500) return 'unavailable';
  return 'invalid';
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** For the tail of a switch: a case that the type checker proves impossible. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
