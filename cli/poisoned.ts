/** What stands in a poison queue, as tasks: copies with one original id are one. */
import { decodeMessage, rawTaskId, rawTaskType } from '../contract/message.ts';
import { type PoisonEnvelope, parseEnvelope } from '../contract/poison.ts';
import { iso } from '../lib/clock.ts';

/** A message of a poison queue. */
export interface Copy {
  /** The id of the poison message itself. */
  readonly messageId: string;
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly insertedOn: number;
}

/** A poisoned task with all its copies. */
export interface PoisonedTask<C extends Copy = Copy> {
  readonly poisonQueue: string;
  /** The original message's id; of a bare original, which does not tell it, the poison message's own. */
  readonly id: string;
  /** '' where the original does not tell it. */
  readonly taskId: string;
  readonly taskType: string;
  readonly poisonedOn: string;
  readonly original: string;
  /** Undefined for a bare original. */
  readonly envelope: PoisonEnvelope | undefined;
  readonly copies: readonly [C, ...C[]];
  /** The copies hold different originals, which no writer of ours leaves. */
  readonly contradictory: boolean;
}

/** Groups the messages of a poison queue by task; the longest poisoned comes first. */
export function groupCopies<C extends Copy>(poisonQueue: string, copies: readonly C[]): PoisonedTask<C>[] {
  const groups = new Map<string, PoisonedTask<C>>();
  for (const copy of copies) {
    const task = readCopy(poisonQueue, copy);
    const known = groups.get(task.id);
    groups.set(task.id, known === undefined ? task : merge(known, task));
  }
  return [...groups.values()].sort((a, b) => compare(a.poisonedOn, b.poisonedOn) || compare(a.id, b.id));
}

/** A task as `--json` lists it. */
export function summaryOf(task: PoisonedTask) {
  const { envelope } = task;
  return {
    queue: task.poisonQueue,
    id: task.id,
    taskId: task.taskId || null,
    taskType: task.taskType || null,
    poisonedOn: task.poisonedOn,
    insertedOn: envelope?.insertedOn ?? null,
    attempts: envelope?.attempts.length ?? null,
    category: envelope?.diagnosis.category ?? null,
    reason: envelope?.reason ?? null,
    copies: task.copies.length,
    bare: envelope === undefined,
  };
}

/** A task as `show --json` gives it: the envelope's fields, null in a bare original, and the original as received. */
export function detailsOf(task: PoisonedTask) {
  const { envelope } = task;
  return {
    ...summaryOf(task),
    attempts: envelope?.attempts ?? null,
    diagnosis: envelope?.diagnosis ?? null,
    encoding: envelope?.encoding ?? null,
    taskQueue: envelope?.queue ?? null,
    original: task.original,
  };
}

function readCopy<C extends Copy>(poisonQueue: string, copy: C): PoisonedTask<C> {
  const envelope = parseEnvelope(copy.text);
  const original = envelope?.original ?? copy.text;
  const decoded = decodeMessage(original, 'auto');
  const value = decoded.kind === 'decoded' ? decoded.value : undefined;
  return {
    poisonQueue,
    id: envelope?.id ?? copy.messageId,
    taskId: rawTaskId(value),
    taskType: rawTaskType(value),
    poisonedOn: envelope?.poisonedOn ?? iso(copy.insertedOn),
    original,
    envelope,
    copies: [copy],
    contradictory: false,
  };
}

/** The later copy speaks for both: it knows of as many attempts or more. */
function merge<C extends Copy>(a: PoisonedTask<C>, b: PoisonedTask<C>): PoisonedTask<C> {
  const shown = compare(a.poisonedOn, b.poisonedOn) > 0 ? a : b;
  return {
    ...shown,
    copies: [...a.copies, ...b.copies],
    contradictory:
      a.contradictory || b.contradictory || a.original !== b.original || a.envelope?.queue !== b.envelope?.queue,
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
