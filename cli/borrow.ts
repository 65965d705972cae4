/** Reading a whole queue without taking anything from it: every message is received for a short while and given back. */
import type { Clock } from '../lib/clock.ts';
import { isKind } from '../lib/errors.ts';
import { Lease } from '../queue/lease.ts';
import type { QueueService } from '../queue/service.ts';
import type { Copy } from './poisoned.ts';

/** Seconds for which nobody else sees a message that is being read, should this process die. */
export const BORROW_S = 30;
const BATCH = 32;
const AT_ONCE = 16;

/** A message in hand. */
export interface Borrowed extends Copy {
  readonly lease: Lease;
}

/** What was received. Whoever disposes of it gives back every message that still exists. */
export interface Borrowing extends AsyncDisposable {
  readonly messages: readonly Borrowed[];
  /** It was stopped before the queue's end. */
  readonly stopped: boolean;
}

/**
 * Receives all visible messages of a queue.
 *
 * @param stopping ends the reading between two batches; a call that is under way is not cut off, since its answer holds receipts
 * @param warn is told of messages that could not be given back
 * @throws ServiceError, after giving back what was received
 */
export async function borrowAll(
  service: QueueService,
  clock: Clock,
  queue: string,
  stopping: AbortSignal,
  warn: (sentence: string) => void,
): Promise<Borrowing> {
  const held = new Map<string, Borrowed>();
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    const failed = await giveBack([...held.values()]);
    if (failed > 0)
      warn(
        `${failed} of the messages of ${queue} could not be given back. They are visible again within ${BORROW_S} seconds.`,
      );
  });
  while (!stopping.aborted) {
    const batch = await service.receive(queue, BATCH, BORROW_S);
    // Messages come a second time when reading outlasts their leases: then all of the queue has been seen.
    const before = held.size;
    for (const message of batch) {
      const state = { popReceipt: message.popReceipt, until: message.leaseUntil };
      const known = held.get(message.id);
      if (known === undefined)
        held.set(message.id, {
          messageId: message.id,
          text: message.text,
          insertedOn: message.insertedOn,
          lease: new Lease(service, clock, { queue, id: message.id, expiresOn: message.expiresOn }, state),
        });
      else known.lease.adopt(state);
    }
    if (held.size === before) break;
  }
  const kept = stack.move();
  return {
    messages: [...held.values()],
    stopped: stopping.aborted,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Makes messages visible again; returns how many could not be. One that is gone, or that another reader has, is none of ours. */
async function giveBack(messages: readonly Borrowed[]): Promise<number> {
  const left = messages.filter(({ lease }) => lease.condition === 'held');
  let failed = 0;
  const worker = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) {
      try {
        await one.lease.release(0);
      } catch (error) {
        if (!isKind(error, 'not-found', 'lease-lost')) failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed;
}
