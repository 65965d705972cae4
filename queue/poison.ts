/** Putting a message into its poison queue. */
import { poisonQueueOf } from '../contract/identity.ts';
import { formatEnvelope, type PoisonEnvelope } from '../contract/poison.ts';
import { isKind } from '../lib/errors.ts';
import type { QueueService } from './service.ts';

/** `envelope`: with reason and diagnosis; `original`: the bare text, as Azure Functions does. */
export type PoisonFormat = 'envelope' | 'original';

/** Poison messages never expire. */
const NEVER = -1;

/**
 * Puts a copy into `{queue}-poison`, which is made when it is not there, unless the source queue is gone too: what nobody reads any more
 * needs no copy.
 *
 * @returns false when the source queue is gone
 * @throws ServiceError when the copy may not have been stored; repeating it is harmless, the copies have one id
 */
export async function bury(
  service: QueueService,
  envelope: PoisonEnvelope,
  format: PoisonFormat,
  signal?: AbortSignal,
): Promise<boolean> {
  const poison = poisonQueueOf(envelope.queue);
  const text = format === 'original' ? envelope.original : formatEnvelope(envelope);
  try {
    await service.put(poison, text, NEVER, signal);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    if (!(await service.exists(envelope.queue, signal))) return false;
    await service.ensureQueue(poison, signal);
    await service.put(poison, text, NEVER, signal);
  }
  return true;
}
