/** Queue names as people give them on the command line. */
import { poisonQueueOf } from '../contract/identity.ts';

const POISON_SUFFIX = poisonQueueOf('');

/** A task queue and its poison queue. */
export interface QueuePair {
  readonly task: string;
  readonly poison: string;
}

/** True for the name of a poison queue. */
export function isPoisonQueue(name: string): boolean {
  return name.endsWith(POISON_SUFFIX) && name !== POISON_SUFFIX;
}

/** Both names from either of them; undefined when the text is no name of a queue. */
export function queuePair(name: string): QueuePair | undefined {
  const task = isPoisonQueue(name) ? name.slice(0, -POISON_SUFFIX.length) : name;
  const poison = poisonQueueOf(task);
  return poison.length <= 63 && /^[a-z0-9](-?[a-z0-9])+$/.test(task) && task.length >= 3 ? { task, poison } : undefined;
}
