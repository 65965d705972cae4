/** A producer's and a reader's view of storage queues, with the ordinary SDK. */
import { QueueServiceClient } from '@azure/storage-queue';
import { type PoisonEnvelope, parseEnvelope } from '#/contract/poison.ts';

/** Queues of one account. */
export interface TestQueues {
  readonly service: QueueServiceClient;
  /** Makes queues. */
  create(...names: readonly string[]): Promise<void>;
  /** Puts messages as an unchanged producer does: text, or a value as plain JSON. */
  put(queue: string, ...messages: readonly unknown[]): Promise<void>;
  /** Messages in the queue, invisible ones included. 0 for a queue that is not there. */
  count(queue: string): Promise<number>;
  /** The texts in a queue, which they leave for a few seconds. None for a queue that is not there. */
  texts(queue: string): Promise<readonly string[]>;
  /** The envelopes in the poison queue of a queue. */
  poison(queue: string): Promise<readonly PoisonEnvelope[]>;
}

/** Queues of the account of a connection string. */
export function testQueues(connectionString: string): TestQueues {
  const service = QueueServiceClient.fromConnectionString(connectionString);
  const missing = (error: unknown) => error instanceof Error && Reflect.get(error, 'code') === 'QueueNotFound';
  async function texts(queue: string): Promise<readonly string[]> {
    const client = service.getQueueClient(queue);
    const found: string[] = [];
    try {
      for (;;) {
        const { receivedMessageItems } = await client.receiveMessages({ numberOfMessages: 32, visibilityTimeout: 5 });
        found.push(...receivedMessageItems.map((item) => item.messageText));
        if (receivedMessageItems.length === 0) return found;
      }
    } catch (error) {
      if (!missing(error)) throw error;
      return found;
    }
  }

  return {
    service,
    async create(...names) {
      for (const name of names) await service.getQueueClient(name).createIfNotExists();
    },
    async put(queue, ...messages) {
      const client = service.getQueueClient(queue);
      for (const message of messages)
        await client.sendMessage(typeof message === 'string' ? message : JSON.stringify(message));
    },
    async count(queue) {
      try {
        return (await service.getQueueClient(queue).getProperties()).approximateMessagesCount ?? Number.NaN;
      } catch (error) {
        if (missing(error)) return 0;
        throw error;
      }
    },
    texts,
    async poison(queue) {
      return (await texts(`${queue}-poison`)).map((text) => {
        const envelope = parseEnvelope(text);
        if (envelope === undefined) throw new Error(`not an envelope: ${text.slice(0, 200)}`);
        return envelope;
      });
    },
  };
}
