/** What can be learned about queues without touching a message: no receipt is taken, nothing is made. */
import { QueueServiceClient, type StoragePipelineOptions } from '@azure/storage-queue';
import { callWithin } from '../lib/call.ts';
import type { Clock } from '../lib/clock.ts';
import type { StorageAccess } from './access.ts';
import { toServiceError } from './errors.ts';

/** A server's clock beside ours, both in milliseconds since the epoch; ours in the middle of the call. */
export interface Sighting {
  readonly theirs: number;
  readonly ours: number;
}

/** Looks at one storage account. Every method ends within the deadline; all but `time` throw a `ServiceError`. */
export interface QueueInspector {
  /** The names of the account's queues. A SAS needs the right "list" on the service. */
  list(): Promise<readonly string[]>;
  /** About how many messages a queue holds, hidden ones included. A SAS needs the right "read" on it. */
  count(queue: string): Promise<number>;
  /** Looks at a queue's first message, which stays as it is. A SAS needs the right "read" on messages. */
  peek(queue: string): Promise<void>;
  /** The service's clock, which stands on refusals too; undefined without an answer. */
  time(): Promise<Sighting | undefined>;
}

/** An inspector of the real service. Each call is tried once. */
export function createQueueInspector(access: StorageAccess, clock: Clock, deadlineMs = 15_000): QueueInspector {
  const options: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };
  const service =
    access.kind === 'connection-string'
      ? QueueServiceClient.fromConnectionString(access.secret.reveal(), options)
      : new QueueServiceClient(access.secret.reveal(), undefined, options);

  const ask = <T>(what: string, work: (abortSignal: AbortSignal) => Promise<T>) =>
    callWithin(clock, deadlineMs, undefined, work, (error) => toServiceError(error, what));

  return {
    list: () =>
      ask('list the queues', async (abortSignal) => {
        const names: string[] = [];
        for await (const { name } of service.listQueues({ abortSignal })) names.push(name);
        return names.toSorted();
      }),
    count: (queue) =>
      ask(`look at ${queue}`, async (abortSignal) => {
        const { approximateMessagesCount } = await service.getQueueClient(queue).getProperties({ abortSignal });
        return approximateMessagesCount ?? 0;
      }),
    peek: (queue) =>
      ask(`peek into ${queue}`, async (abortSignal) => {
        await service.getQueueClient(queue).peekMessages({ numberOfMessages: 1, abortSignal });
      }),
    time: async () => {
      const before = clock.now();
      const date = await dateOf(service, clock.deadline(deadlineMs));
      const theirs = Date.parse(date ?? '');
      return Number.isNaN(theirs) ? undefined : { theirs, ours: (before + clock.now()) / 2 };
    },
  };
}

/** The header `Date` of any answer. */
async function dateOf(service: QueueServiceClient, abortSignal: AbortSignal): Promise<string | undefined> {
  try {
    const { value } = await service.listQueues({ abortSignal }).byPage({ maxPageSize: 1 }).next();
    return value?._response.headers.get('date');
  } catch (error) {
    return headerOf(error, 'date');
  }
}

function headerOf(error: unknown, name: string): string | undefined {
  const response: unknown = field(error, 'response');
  const headers: unknown = field(response, 'headers');
  if (typeof headers !== 'object' || headers === null || !('get' in headers) || typeof headers.get !== 'function')
    return undefined;
  const value: unknown = headers.get(name);
  return typeof value === 'string' ? value : undefined;
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}
