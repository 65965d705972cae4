/**
 * The one place that calls Azure Storage queues. Every call has a deadline and is tried once: the SDK's own repetition would hide up to 32
 * messages after a lost answer, and turn a lost success into "not found". Who calls decides whether to try again.
 */
import { type QueueClient, QueueServiceClient, type StoragePipelineOptions } from '@azure/storage-queue';
import { callWithin } from '../lib/call.ts';
import type { Clock } from '../lib/clock.ts';
import type { StorageAccess } from './access.ts';
import { toServiceError } from './errors.ts';
import { hasCharacterReferences, messageTexts } from './message-text.ts';

/** A message in hand. Times are milliseconds since the epoch. */
export interface ReceivedMessage {
  readonly id: string;
  readonly text: string;
  readonly popReceipt: string;
  readonly dequeueCount: number;
  readonly insertedOn: number;
  readonly expiresOn: number;
  /** Until when nobody else gets it, by this machine's clock: counted from before the call. */
  readonly leaseUntil: number;
}

/**
 * Queues of one storage account. Every method ends within the deadline or with `signal`, and throws a `ServiceError`: `not-found` (the queue),
 * `lease-lost` (message gone, or its receipt is no longer the valid one; the service does not tell which), `forbidden`, `throttled`,
 * `unavailable`, `unknown`, `invalid`.
 */
export interface QueueService {
  /** Takes up to `count` (1 to 32) messages and hides them for `leaseSeconds`. */
  receive(
    queue: string,
    count: number,
    leaseSeconds: number,
    signal?: AbortSignal,
  ): Promise<readonly ReceivedMessage[]>;
  /** Whether there is a message that could be received now; hides none, and raises no count of deliveries. */
  hasMessages(queue: string, signal?: AbortSignal): Promise<boolean>;
  /** Hides a message for `leaseSeconds` from now; 0 gives it back at once. Gives the new receipt; the former one is dead. */
  renew(queue: string, id: string, popReceipt: string, leaseSeconds: number, signal?: AbortSignal): Promise<string>;
  remove(queue: string, id: string, popReceipt: string, signal?: AbortSignal): Promise<void>;
  /** Puts a message. `ttlSeconds` -1: it never expires. */
  put(queue: string, text: string, ttlSeconds: number, signal?: AbortSignal): Promise<void>;
  exists(queue: string, signal?: AbortSignal): Promise<boolean>;
  /** The names of the account's queues, sorted. A SAS needs the right "list" on the service. */
  list(signal?: AbortSignal): Promise<readonly string[]>;
  /** Makes a queue if it is not there. */
  ensureQueue(queue: string, signal?: AbortSignal): Promise<void>;
}

/** The real service. */
export function createQueueService(access: StorageAccess, clock: Clock, deadlineMs = 30_000): QueueService {
  const options: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };
  const service =
    access.kind === 'connection-string'
      ? QueueServiceClient.fromConnectionString(access.secret.reveal(), options)
      : new QueueServiceClient(access.secret.reveal(), undefined, options);

  const ask = <T>(what: string, signal: AbortSignal | undefined, work: (abortSignal: AbortSignal) => Promise<T>) =>
    callWithin(clock, deadlineMs, signal, work, (error) => toServiceError(error, what));

  function call<T>(
    what: string,
    queue: string,
    signal: AbortSignal | undefined,
    work: (client: QueueClient, abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return ask(`${what} ${queue}`, signal, (abortSignal) => work(service.getQueueClient(queue), abortSignal));
  }

  return {
    receive: (queue, count, leaseSeconds, signal) =>
      call('receive from', queue, signal, async (client, abortSignal) => {
        const asked = clock.now();
        const answer = await client.receiveMessages({
          numberOfMessages: count,
          visibilityTimeout: leaseSeconds,
          abortSignal,
        });
        const raw = answer._response?.bodyAsText ?? '';
        const texts = hasCharacterReferences(raw) ? messageTexts(raw) : [];
        return answer.receivedMessageItems.map((item, at) => ({
          id: item.messageId,
          text: texts[at] ?? item.messageText,
          popReceipt: item.popReceipt,
          dequeueCount: item.dequeueCount,
          insertedOn: item.insertedOn.getTime(),
          expiresOn: item.expiresOn.getTime(),
          leaseUntil: asked + leaseSeconds * 1000,
        }));
      }),
    hasMessages: (queue, signal) =>
      call('look into', queue, signal, async (client, abortSignal) => {
        const { peekedMessageItems } = await client.peekMessages({ numberOfMessages: 1, abortSignal });
        return peekedMessageItems.length > 0;
      }),
    renew: (queue, id, popReceipt, leaseSeconds, signal) =>
      call('renew a lease in', queue, signal, async (client, abortSignal) => {
        const answer = await client.updateMessage(id, popReceipt, undefined, leaseSeconds, { abortSignal });
        return answer.popReceipt ?? popReceipt;
      }),
    remove: (queue, id, popReceipt, signal) =>
      call('delete from', queue, signal, async (client, abortSignal) => {
        await client.deleteMessage(id, popReceipt, { abortSignal });
      }),
    put: (queue, text, ttlSeconds, signal) =>
      call('put into', queue, signal, async (client, abortSignal) => {
        await client.sendMessage(text, { messageTimeToLive: ttlSeconds, abortSignal });
      }),
    exists: (queue, signal) =>
      call('look for', queue, signal, async (client, abortSignal) => client.exists({ abortSignal })),
    list: (signal) =>
      ask('list the queues', signal, async (abortSignal) => {
        const names: string[] = [];
        for await (const { name } of service.listQueues({ abortSignal })) names.push(name);
        return names.toSorted();
      }),
    ensureQueue: (queue, signal) =>
      call('create', queue, signal, async (client, abortSignal) => {
        await client.createIfNotExists({ abortSignal });
      }),
  };
}
