import type { Clock } from '../../lib/clock.ts';
import { ServiceError } from '../../lib/errors.ts';
import { type Blob, type BlobStore, BlobTooLarge, getBlobByUrl } from '../blob-store.ts';
import { PermanentError, TemporaryError } from '../errors.ts';
import type { DocumentSource } from './source.ts';

/** Codes of a SAS that is wrong or does not allow reading: it stands in the message, so no attempt mends it. */
const BAD_SAS: readonly string[] = [
  'AuthenticationFailed',
  'AuthorizationPermissionMismatch',
  'AuthorizationProtocolMismatch',
];

/**
 * Downloads a document.
 *
 * @throws PermanentError when it is missing, too large, or its SAS is no good; TemporaryError when storage is out of reach
 */
export async function fetchDocument(
  source: DocumentSource,
  store: BlobStore,
  maxBytes: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<Blob> {
  try {
    return source.kind === 'blob'
      ? await store.get(source.container, source.path, maxBytes, signal)
      : await getBlobByUrl(source.url, maxBytes, clock, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw verdict(error, source);
  }
}

function verdict(error: unknown, source: DocumentSource): unknown {
  const options = { cause: error };
  if (error instanceof BlobTooLarge) return new PermanentError(error.message, options);
  if (!(error instanceof ServiceError)) return error;
  const { kind, code, message } = error;
  if (source.kind === 'url' && BAD_SAS.includes(code)) {
    const what = 'which is expired, wrong or without the right to read';
    return new PermanentError(`cannot be read with the SAS of its URL, ${what} (${code})`, options);
  }
  switch (kind) {
    case 'not-found':
      return new PermanentError(`does not exist (${code})`, options);
    case 'invalid':
      return new PermanentError(`cannot be read: ${message}`, options);
    case 'throttled':
    case 'unavailable':
    case 'unknown':
      return new TemporaryError(`cannot be read now: ${message}`, options);
    default:
      return new Error(`cannot be read: ${message}`, options);
  }
}
