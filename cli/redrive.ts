/** Back into the task queue: put, then delete every copy. A crash between the two leaves both, never neither. */
import { isKind, messageOf } from '../lib/errors.ts';
import type { QueueService } from '../queue/service.ts';
import { BORROW_S, type Borrowed } from './borrow.ts';
import type { QueuePair } from './names.ts';
import type { PoisonedTask } from './poisoned.ts';

/** Seconds that a redriven message lives: what the service gives to a message whose producer asks for nothing. */
const TTL_S = 604_800;

/** What became of a task, told in a sentence where it failed. */
export type Redriven = { readonly ok: true; readonly deleted: number } | { readonly ok: false; readonly why: string };

/** Why a task must not be put back; undefined when nothing speaks against it. */
export function objection(task: PoisonedTask, { task: target }: QueuePair): string | undefined {
  const own = task.envelope?.queue;
  if (own !== undefined && own !== target)
    return `its envelope says that it came from ${own}, not from ${target}. It stays where it is`;
  if (task.contradictory) return 'its copies hold different originals. Look at them by hand';
  return undefined;
}

/**
 * Puts one task back. Never throws.
 *
 * The copies' leases are renewed first: whoever else redrives at the same time has them or loses them, so only one of the two puts.
 */
export async function redrive(
  service: QueueService,
  task: PoisonedTask<Borrowed>,
  { task: target, poison }: QueuePair,
): Promise<Redriven> {
  try {
    for (const { lease } of task.copies)
      if (!(await lease.renew(2 * BORROW_S)))
        return failed('somebody else is reading it, or has redriven it. Nothing was put');
  } catch (error) {
    return failed(`${messageOf(error)}. Nothing was put`);
  }
  try {
    await service.put(target, task.original, TTL_S);
  } catch (error) {
    return failed(putFault(error, target));
  }
  const left: string[] = [];
  for (const { lease } of task.copies) {
    try {
      if ((await lease.remove()) === 'unsure') left.push('the service does not know it under its receipt any more');
    } catch (error) {
      left.push(messageOf(error));
    }
  }
  if (left.length === 0) return { ok: true, deleted: task.copies.length };
  return failed(
    `it was put into ${target}, but ${left.length} of ${task.copies.length} copies in ${poison} could not be deleted (${left[0]}). Do not redrive it again: it would run twice`,
  );
}

function failed(why: string): Redriven {
  return { ok: false, why };
}

function putFault(error: unknown, target: string): string {
  const what = messageOf(error);
  if (isKind(error, 'not-found')) return `the queue ${target} does not exist. Create it first`;
  if (isKind(error, 'unknown', 'unavailable'))
    return `${what}. Whether it was put is not known; if it was, redriving it again runs it twice`;
  return `${what}. Nothing was put`;
}
