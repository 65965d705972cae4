/** Results that did not fit into a termination message: the runner put them into Blob, and the operator sends the same body from there. */
import { MAX_RESULT_BYTES } from '../../contract/webhook.ts';
import type { Clock } from '../../lib/clock.ts';
import { kindOfStatus, ServiceError } from '../../lib/errors.ts';
import type { StorageAccess } from '../../queue/access.ts';

/** Reads a stored result. */
export type ReadResult = (url: string, signal: AbortSignal) => Promise<StoredResult>;

/** A result as a JSON value, or why there is none to be had; `later` when another try may bring it. */
export type StoredResult =
  | { readonly kind: 'found'; readonly value: unknown }
  | { readonly kind: 'missing'; readonly detail: string }
  | { readonly kind: 'later'; readonly detail: string };

const DEADLINE_MS = 30_000;

/** Reads from the storage account of the queues. With a SAS for the queue service there is no way into Blob. */
export function createReadResult(access: StorageAccess, clock: Clock): ReadResult {
  return async (url, signal) => {
    if (access.kind !== 'connection-string') {
      return {
        kind: 'missing',
        detail: 'the operator reaches the storage account by a queue SAS and cannot read Blob',
      };
    }
    // Loaded when first needed: most installations never do.
    const { BlobServiceClient } = await import('@azure/storage-blob');
    const service = BlobServiceClient.fromConnectionString(access.secret.reveal(), { retryOptions: { maxTries: 1 } });
    const place = blobOf(url, service.url);
    if (place === undefined) return { kind: 'missing', detail: 'the result lies in another storage account' };
    try {
      const abortSignal = clock.deadline(DEADLINE_MS, signal);
      const blob = service.getContainerClient(place.container).getBlobClient(place.path);
      const { contentLength = 0 } = await blob.getProperties({ abortSignal });
      if (contentLength > MAX_RESULT_BYTES)
        return {
          kind: 'missing',
          detail: `the result has ${contentLength} bytes; at most ${MAX_RESULT_BYTES} are sent`,
        };
      const bytes = await blob.downloadToBuffer(0, undefined, { abortSignal });
      return { kind: 'found', value: JSON.parse(bytes.toString('utf8')) };
    } catch (error) {
      const failure = toError(error);
      return { kind: failure.kind === 'not-found' ? 'missing' : 'later', detail: failure.message };
    }
  };
}

/** Container and path of a blob's URL, if it lies in the account. */
function blobOf(url: string, serviceUrl: string): { container: string; path: string } | undefined {
  const base = serviceUrl.endsWith('/') ? serviceUrl : `${serviceUrl}/`;
  const bare = url.split('?')[0] ?? '';
  if (!bare.startsWith(base)) return undefined;
  const [container = '', ...path] = bare.slice(base.length).split('/').map(decodeURIComponent);
  return path.length === 0 ? undefined : { container, path: path.join('/') };
}

function toError(error: unknown): ServiceError {
  const status: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'statusCode') : undefined;
  const kind = kindOfStatus(typeof status === 'number' ? status : undefined);
  return new ServiceError(
    kind,
    String(status ?? 'Error'),
    `the result could not be read from Blob (${status ?? 'no answer'})`,
    { cause: error },
  );
}
