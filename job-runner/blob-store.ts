/** Azure Blob Storage, as far as tasks need it. The only file that calls the SDK; load it only when it is needed, it is slow to load. */
import type { Readable } from 'node:stream';
import {
  BlobClient,
  type BlobDownloadResponseParsed,
  BlobServiceClient,
  RestError,
  type StoragePipelineOptions,
} from '@azure/storage-blob';
import type { Clock } from '../lib/clock.ts';
import { ifFound, isKind, kindOfStatus, messageOf, ServiceError } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';
import { ConfigurationError } from './errors.ts';

/** A blob's content. */
export interface Blob {
  readonly bytes: Buffer;
  /** As stored with the blob; undefined when nothing is. */
  readonly contentType: string | undefined;
}

/** A blob is larger than it may be. */
export class BlobTooLarge extends Error {
  override readonly name = 'BlobTooLarge';
}

/** A storage account. Every call has a deadline; failures are ServiceErrors, whose messages hold no URL and no credentials. */
export interface BlobStore {
  /** Where blobs of this account are, without a path and without credentials. */
  readonly host: string;
  /** @throws ServiceError, BlobTooLarge */
  get(container: string, path: string, maxBytes: number, signal: AbortSignal): Promise<Blob>;
  /**
   * Reads a text; undefined when there is no blob of that name, or no such container.
   *
   * @throws ServiceError, BlobTooLarge
   */
  getText(container: string, path: string, maxBytes: number, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Writes what a stream gives, over whatever is there; the container must be there.
   *
   * @returns the blob's URL, without credentials
   * @throws ServiceError
   */
  putStream(container: string, path: string, stream: Readable, signal: AbortSignal): Promise<string>;
  /** Removes a blob; one that is not there is no error. @throws ServiceError */
  remove(container: string, path: string, signal: AbortSignal): Promise<void>;
  /**
   * Writes a JSON text, over whatever is there; makes the container when it is missing.
   *
   * @returns the blob's URL, without credentials
   * @throws ServiceError
   */
  put(container: string, path: string, json: string, signal: AbortSignal): Promise<string>;
}

const GET_MS = 300_000;
const PUT_MS = 60_000;
const BUFFER_BYTES = 4 * 1024 * 1024;

const OPTIONS: StoragePipelineOptions & { redirectOptions: object } = {
  retryOptions: { maxTries: 4, tryTimeoutInMs: 30_000, retryDelayInMs: 500, maxRetryDelayInMs: 8000 },
  // A redirect would lead away from the host that was judged.
  redirectOptions: { maxRetries: 0 },
};

/**
 * Opens the account of a connection string.
 *
 * @throws ConfigurationError when it does not lead to Blob Storage, such as one with a queue endpoint alone
 */
export function openBlobStore(connectionString: Secret, clock: Clock): BlobStore {
  const service = connect(connectionString);
  return {
    host: new URL(service.url).host,
    get: (container, path, maxBytes, signal) =>
      download(service.getContainerClient(container).getBlobClient(path), maxBytes, clock, signal),
    getText: async (container, path, maxBytes, signal) => {
      const client = service.getContainerClient(container).getBlobClient(path);
      return (await ifFound(download(client, maxBytes, clock, signal)))?.bytes.toString('utf8');
    },
    putStream: async (container, path, stream, signal) => {
      const blob = service.getContainerClient(container).getBlockBlobClient(path);
      const options = { abortSignal: signal, blobHTTPHeaders: { blobContentType: 'application/octet-stream' } };
      await blob.uploadStream(stream, BUFFER_BYTES, 2, options).catch((error) => Promise.reject(classify(error)));
      return withoutCredentials(blob.url);
    },
    remove: async (container, path, signal) => {
      const abortSignal = clock.deadline(PUT_MS, signal);
      const removed = service.getContainerClient(container).getBlobClient(path).deleteIfExists({ abortSignal });
      await ifFound(removed.catch((error) => Promise.reject(classify(error))));
    },
    put: (container, path, json, signal) => upload(service, container, path, json, clock.deadline(PUT_MS, signal)),
  };
}

function connect(connectionString: Secret): BlobServiceClient {
  try {
    return BlobServiceClient.fromConnectionString(connectionString.reveal(), OPTIONS);
  } catch (cause) {
    // The SDK's messages name the part that is wrong, not its value.
    throw new ConfigurationError(
      `AZURE_STORAGE_CONNECTION_STRING (value not shown) does not lead to Blob Storage: ${messageOf(cause)}. Copy it whole from the storage account`,
      { cause },
    );
  }
}

/**
 * Reads a blob by its URL, with the SAS that stands in it, or as anybody when there is none.
 *
 * @throws ServiceError, BlobTooLarge
 */
export function getBlobByUrl(url: URL, maxBytes: number, clock: Clock, signal: AbortSignal): Promise<Blob> {
  return download(new BlobClient(url.href, undefined, OPTIONS), maxBytes, clock, signal);
}

async function download(client: BlobClient, maxBytes: number, clock: Clock, signal: AbortSignal): Promise<Blob> {
  const abortSignal = clock.deadline(GET_MS, signal);
  try {
    const response = await client.download(0, undefined, { abortSignal, maxRetryRequests: 3 });
    return { bytes: await readBody(response, maxBytes), contentType: response.contentType };
  } catch (error) {
    throw classify(error);
  }
}

async function readBody(response: BlobDownloadResponseParsed, maxBytes: number): Promise<Buffer> {
  const body = response.readableStreamBody;
  if (body === undefined) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop by an error destroys the stream, and with it the connection.
  for await (const chunk of body) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size = Math.max(size + bytes.length, response.contentLength ?? 0);
    if (size > maxBytes) throw new BlobTooLarge(`is ${mib(size)} MiB; at most ${mib(maxBytes)} MiB are accepted`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

async function upload(
  service: BlobServiceClient,
  container: string,
  path: string,
  json: string,
  abortSignal: AbortSignal,
): Promise<string> {
  const containerClient = service.getContainerClient(container);
  const blob = containerClient.getBlockBlobClient(path);
  const options = { abortSignal, blobHTTPHeaders: { blobContentType: 'application/json' } };
  const write = () =>
    blob.upload(json, Buffer.byteLength(json), options).catch((error) => Promise.reject(classify(error)));
  try {
    await write();
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    await containerClient.createIfNotExists({ abortSignal }).catch((failed) => Promise.reject(classify(failed)));
    await write();
  }
  return withoutCredentials(blob.url);
}

function withoutCredentials(text: string): string {
  const url = new URL(text);
  url.search = '';
  return url.href;
}

// The SDK's messages hold URLs and response bodies; only status and code are kept.
function classify(error: unknown): Error {
  if (error instanceof BlobTooLarge || error instanceof ServiceError) return error;
  if (error instanceof RestError) {
    const { statusCode, code = String(statusCode ?? '') } = error;
    return new ServiceError(
      kindOfStatus(statusCode),
      code,
      `Azure Blob Storage answered ${statusCode ?? 'nothing'} ${code}`,
    );
  }
  const name = error instanceof Error ? error.name : 'Error';
  const late = name === 'AbortError' || name === 'TimeoutError';
  return new ServiceError('unknown', name, late ? 'Azure Blob Storage did not answer in time' : messageOf(error));
}

function mib(bytes: number): string {
  return (bytes / (1024 * 1024)).toFixed(1);
}
