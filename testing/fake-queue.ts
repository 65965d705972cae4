/**
 * Storage queues in memory, on a clock that tests move. Held to Azurite by tests/integration/queue-service.test.ts. Where Azurite is laxer
 * than Azure (a lease past the message's expiry, characters that XML refuses), it does as Azure does.
 */
import type { Clock } from '#/lib/clock.ts';
import { type ErrorKind, ServiceError } from '#/lib/errors.ts';
import type { QueueService } from '#/queue/service.ts';

/** A call to the service. */
export interface QueueCall {
  readonly operation: keyof QueueService;
  /** '' for the list of queues. */
  readonly queue: string;
  /** The message's id, where the call is about one. */
  readonly id?: string;
}

/** A message as it stands in a queue. Times are milliseconds since the epoch. */
export interface StoredMessage {
  readonly id: string;
  readonly text: string;
  readonly popReceipt: string;
  readonly dequeueCount: number;
  readonly insertedOn: number;
  readonly expiresOn: number;
  readonly visibleOn: number;
}

/** Where Azure answers in one of two ways, or Azurite in another: whoever calls must bear both. */
export interface QueueDialect {
  /** What a receipt that is not the valid one is told. */
  staleReceipt: 'MessageNotFound' | 'PopReceiptMismatch';
  /** Whether a lease may be renewed past the message's expiry: Azure refuses it, Azurite does not. */
  renewPastExpiry: 'refused' | 'accepted';
  /** Whether the messages of one answer have receipts of their own, as in Azure, or share one, as in Azurite. */
  receipts: 'per message' | 'per answer';
  /** Whether characters that XML cannot carry are refused, as in Azure, or stored, as in Azurite. */
  illegalCharacters: 'refused' | 'accepted';
}

/** Azure's ways, as far as they are known. */
const AZURE: QueueDialect = {
  staleReceipt: 'PopReceiptMismatch',
  renewPastExpiry: 'refused',
  receipts: 'per message',
  illegalCharacters: 'refused',
};
/** Azurite's. */
export const AZURITE: Partial<QueueDialect> = {
  renewPastExpiry: 'accepted',
  receipts: 'per answer',
  illegalCharacters: 'accepted',
};

/** A message that was received, changed or removed, as it stood before a removal and after anything else. */
export interface QueueChange {
  readonly operation: 'send' | 'receive' | 'renew' | 'remove';
  readonly queue: string;
  readonly message: StoredMessage;
}

const WEEK_S = 604_800;
const MAX_BYTES = 65_536;
const NEVER = Date.UTC(9999, 11, 31);

export class FakeQueues implements QueueService {
  readonly #clock: Clock;
  readonly #effects: string[];
  readonly #queues = new Map<string, Map<string, StoredMessage>>();
  #ids = 0;
  #receipts = 0;
  /** Called before each call takes effect; what it throws is the answer. */
  before: (call: QueueCall) => void | Promise<void> = () => undefined;
  /** Called after each call has taken effect; what it throws is the answer, although the effect stays. */
  after: (call: QueueCall) => void | Promise<void> = () => undefined;
  /** Told of each change at the moment at which it happens. */
  onChange: (change: QueueChange) => void = () => undefined;
  readonly dialect: QueueDialect;

  /** @param effects gets a line for each change, such as "remove acme-tasks ID" */
  constructor(clock: Clock, effects: string[] = [], dialect: Partial<QueueDialect> = {}) {
    this.#clock = clock;
    this.dialect = { ...AZURE, ...dialect };
    this.#effects = effects;
  }

  /** Makes queues. */
  create(...names: readonly string[]): void {
    for (const name of names) if (!this.#queues.has(name)) this.#queues.set(name, new Map());
  }

  /** Deletes a queue with all its messages. */
  drop(name: string): void {
    this.#queues.delete(name);
  }

  /** Puts a message as a producer does; returns its id. */
  send(queue: string, message: unknown, ttlSeconds = WEEK_S): string {
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    return this.#insert(queue, this.#queue(queue), text, ttlSeconds).id;
  }

  /** Everything in the queue that has not expired, invisible messages included; empty for a queue that is not there. */
  messages(queue: string): readonly StoredMessage[] {
    const now = this.#clock.now();
    return [...(this.#queues.get(queue)?.values() ?? [])].filter((message) => message.expiresOn > now);
  }

  async receive(queue: string, count: number, leaseSeconds: number, signal?: AbortSignal) {
    return this.#call({ operation: 'receive', queue }, signal, () => {
      const messages = this.#queue(queue);
      if (count < 1 || count > 32 || leaseSeconds < 1 || leaseSeconds > WEEK_S)
        throw refusal('invalid', 'OutOfRangeQueryParameterValue', 400);
      const now = this.#clock.now();
      const visible = this.messages(queue)
        .filter((message) => message.visibleOn <= now)
        .sort((a, b) => a.visibleOn - b.visibleOn)
        .slice(0, count);
      const shared = this.#receipt();
      return visible.map((message) => {
        const taken = {
          ...message,
          dequeueCount: message.dequeueCount + 1,
          popReceipt: this.dialect.receipts === 'per answer' ? shared : this.#receipt(),
          visibleOn: now + leaseSeconds * 1000,
        };
        messages.set(message.id, taken);
        this.onChange({ operation: 'receive', queue, message: taken });
        const { visibleOn: leaseUntil, ...rest } = taken;
        return { ...rest, leaseUntil };
      });
    });
  }

  async hasMessages(queue: string, signal?: AbortSignal) {
    return this.#call({ operation: 'hasMessages', queue }, signal, () => {
      this.#queue(queue);
      const now = this.#clock.now();
      return this.messages(queue).some((message) => message.visibleOn <= now);
    });
  }

  async renew(queue: string, id: string, popReceipt: string, leaseSeconds: number, signal?: AbortSignal) {
    return this.#call({ operation: 'renew', queue, id }, signal, () => {
      const message = this.#held(queue, id, popReceipt);
      const visibleOn = this.#clock.now() + leaseSeconds * 1000;
      const tooLong = visibleOn > message.expiresOn && this.dialect.renewPastExpiry === 'refused';
      if (leaseSeconds < 0 || leaseSeconds > WEEK_S || tooLong)
        throw refusal('invalid', 'OutOfRangeQueryParameterValue', 400);
      const renewed = { ...message, popReceipt: this.#receipt(), visibleOn };
      this.#queue(queue).set(id, renewed);
      this.onChange({ operation: 'renew', queue, message: renewed });
      this.#effects.push(leaseSeconds === 0 ? `release ${queue} ${id}` : `renew ${queue} ${id} ${leaseSeconds}`);
      return renewed.popReceipt;
    });
  }

  async remove(queue: string, id: string, popReceipt: string, signal?: AbortSignal) {
    return this.#call({ operation: 'remove', queue, id }, signal, () => {
      const message = this.#held(queue, id, popReceipt);
      this.#queue(queue).delete(id);
      this.#effects.push(`remove ${queue} ${id}`);
      this.onChange({ operation: 'remove', queue, message });
    });
  }

  async put(queue: string, text: string, ttlSeconds: number, signal?: AbortSignal) {
    return this.#call({ operation: 'put', queue }, signal, () => {
      const messages = this.#queue(queue);
      if (Buffer.byteLength(text) > MAX_BYTES) throw refusal('invalid', 'RequestBodyTooLarge', 413);
      if (
        this.dialect.illegalCharacters === 'refused' &&
        !/^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u.test(text)
      )
        throw refusal('invalid', 'InvalidXmlDocument', 400);
      this.#insert(queue, messages, text, ttlSeconds);
      this.#effects.push(`put ${queue}`);
    });
  }

  async exists(queue: string, signal?: AbortSignal) {
    return this.#call({ operation: 'exists', queue }, signal, () => this.#queues.has(queue));
  }

  async list(signal?: AbortSignal) {
    return this.#call({ operation: 'list', queue: '' }, signal, () => [...this.#queues.keys()].toSorted());
  }

  async ensureQueue(queue: string, signal?: AbortSignal) {
    return this.#call({ operation: 'ensureQueue', queue }, signal, () => {
      if (!this.#queues.has(queue)) this.#effects.push(`create ${queue}`);
      this.create(queue);
    });
  }

  async #call<T>(call: QueueCall, signal: AbortSignal | undefined, work: () => T): Promise<T> {
    if (signal?.aborted) throw new ServiceError('unknown', 'AbortError', `could not ${call.operation}: stopped`);
    await this.before(call);
    const answer = work();
    await this.after(call);
    return answer;
  }

  #queue(name: string): Map<string, StoredMessage> {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw refusal('not-found', 'QueueNotFound', 404);
    return queue;
  }

  #held(queue: string, id: string, popReceipt: string): StoredMessage {
    this.#queue(queue);
    const message = this.messages(queue).find((one) => one.id === id);
    if (message === undefined) throw refusal('lease-lost', 'MessageNotFound', 404);
    if (message.popReceipt !== popReceipt) {
      const code = this.dialect.staleReceipt;
      throw refusal('lease-lost', code, code === 'MessageNotFound' ? 404 : 400);
    }
    return message;
  }

  #insert(queue: string, messages: Map<string, StoredMessage>, text: string, ttlSeconds: number): StoredMessage {
    const now = this.#clock.now();
    const message: StoredMessage = {
      id: `00000000-0000-4000-8000-${String(++this.#ids).padStart(12, '0')}`,
      text,
      popReceipt: this.#receipt(),
      dequeueCount: 0,
      insertedOn: now,
      expiresOn: ttlSeconds === -1 ? NEVER : now + ttlSeconds * 1000,
      visibleOn: now,
    };
    messages.set(message.id, message);
    this.onChange({ operation: 'send', queue, message });
    return message;
  }

  #receipt(): string {
    return `receipt-${++this.#receipts}`;
  }
}

function refusal(kind: ErrorKind, code: string, status: number): ServiceError {
  return new ServiceError(kind, code, `${code} (HTTP ${status})`);
}
