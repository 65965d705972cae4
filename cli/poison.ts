/** What `slipway poison list|show|redrive` do. Each returns its exit code. */
import { scanJson } from '../contract/json-scan.ts';
import { type DecodedMessage, decodeMessage } from '../contract/message.ts';
import { EXIT } from '../contract/runner-abi.ts';
import { isKind, ServiceError } from '../lib/errors.ts';
import type { QueueService } from '../queue/service.ts';
import { BORROW_S, type Borrowed, borrowAll } from './borrow.ts';
import { isPoisonQueue, type QueuePair } from './names.ts';
import { INTERRUPTED, type Output, seconds } from './output.ts';
import { paint } from './paint.ts';
import { detailsOf, groupCopies, type PoisonedTask, summaryOf } from './poisoned.ts';
import { objection, redrive } from './redrive.ts';
import { printable, printableLines, table } from './text.ts';

/** Lists the tasks of a poison queue, or of all of the account. */
export async function listPoison(
  service: QueueService,
  output: Output,
  queue: QueuePair | undefined,
  json: boolean,
): Promise<number> {
  const tasks: PoisonedTask[] = [];
  let code: number = EXIT.done;
  if (queue === undefined) {
    const all = await poisonQueues(service, output);
    if (all === undefined) return EXIT.failed;
    for (const poison of all) {
      try {
        tasks.push(...(await read(service, output, poison)));
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        if (error.kind === 'not-found') continue; // deleted since it was listed
        output.err(`slipway: ${error.message}. Its tasks are missing here\n`);
        code = EXIT.failed;
      }
    }
  } else {
    const found = await readOne(service, output, queue);
    if (found === undefined) return EXIT.failed;
    tasks.push(...found);
  }
  if (output.stopping.aborted) return interrupted(output);
  if (json) output.out(`${JSON.stringify(tasks.map(summaryOf), null, 2)}\n`);
  else if (tasks.length > 0) writeTable(output, tasks);
  else if (code === EXIT.done) output.out(`Nothing is poisoned${queue === undefined ? '' : ` in ${queue.task}`}.\n`);
  return code;
}

/** Shows one task. */
export async function showPoison(
  service: QueueService,
  output: Output,
  queue: QueuePair,
  id: string,
  form: 'text' | 'json' | 'raw',
): Promise<number> {
  const tasks = await readOne(service, output, queue);
  if (tasks === undefined) return EXIT.failed;
  if (output.stopping.aborted) return interrupted(output);
  const task = tasks.find((one) => one.id === id);
  if (task === undefined) {
    output.err(`slipway: ${notFound(id, queue)}\n`);
    return EXIT.failed;
  }
  if (form === 'raw') output.out(task.original);
  else if (form === 'json') output.out(`${JSON.stringify(detailsOf(task), null, 2)}\n`);
  else output.out(`${describe(task, output.colour).join('\n')}\n`);
  return EXIT.done;
}

/** Puts tasks back into their queue. */
export async function redrivePoison(
  service: QueueService,
  output: Output,
  queue: QueuePair,
  chosen: readonly string[] | 'all',
  dryRun: boolean,
): Promise<number> {
  if (!(await service.exists(queue.task))) {
    output.err(`slipway: there is no queue ${queue.task} to put anything into. Create it first, or correct its name\n`);
    return EXIT.failed;
  }
  let done = 0;
  let failed = 0;
  let left = 0;
  try {
    await using borrowed = await borrowAll(service, output.clock, queue.poison, output.stopping, warner(output));
    if (borrowed.stopped) return interrupted(output);
    const tasks = new Map(groupCopies(queue.poison, borrowed.messages).map((task) => [task.id, task]));
    for (const id of chosen === 'all' ? tasks.keys() : chosen) {
      const task = tasks.get(id);
      if (output.stopping.aborted) left++;
      else if (task === undefined) {
        failed++;
        output.err(`failed      ${printable(id)}: ${notFound(id, queue)}\n`);
      } else if (await redriveOne(service, output, queue, task, dryRun)) done++;
      else failed++;
    }
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    for (const id of chosen === 'all' ? [] : chosen) {
      failed++;
      output.err(`failed      ${printable(id)}: there is no queue ${queue.poison}\n`);
    }
  }
  const parts = [`${done} ${dryRun ? 'would be redriven' : 'redriven'}`, `${failed} failed`];
  if (left > 0) parts.push(`${left} left as they were, because it was stopped`);
  output.out(`${parts.join(', ')}.\n`);
  if (left > 0) return INTERRUPTED;
  return failed > 0 ? EXIT.failed : EXIT.done;
}

async function redriveOne(
  service: QueueService,
  output: Output,
  queue: QueuePair,
  task: PoisonedTask<Borrowed>,
  dryRun: boolean,
): Promise<boolean> {
  const name = printable(task.taskId === '' ? task.id : `${task.id} (task ${task.taskId})`);
  const copies = (count: number) => (count === 1 ? '1 copy' : `${count} copies`);
  const against = objection(task, queue);
  if (against !== undefined) {
    output.err(`failed      ${name}: ${against}\n`);
    return false;
  }
  if (dryRun) {
    output.out(`would go    ${name} → ${queue.task}, ${copies(task.copies.length)} to delete\n`);
    return true;
  }
  const result = await redrive(service, task, queue);
  if (result.ok) output.out(`redriven    ${name} → ${queue.task}, ${copies(result.deleted)} deleted\n`);
  else output.err(`failed      ${name}: ${result.why}\n`);
  return result.ok;
}

async function poisonQueues(service: QueueService, output: Output): Promise<readonly string[] | undefined> {
  try {
    return (await service.list()).filter(isPoisonQueue);
  } catch (error) {
    if (!isKind(error, 'forbidden')) throw error;
    output.err(
      `slipway: ${error.message}. A SAS needs the right "list" on the service for that. Name a queue instead: slipway poison list QUEUE\n`,
    );
    return undefined;
  }
}

function interrupted(output: Output): number {
  output.err('slipway: stopped. What was read was given back, nothing was changed\n');
  return INTERRUPTED;
}

/** The tasks of one queue; says so and gives undefined where neither it nor its task queue exists. */
async function readOne(
  service: QueueService,
  output: Output,
  { task, poison }: QueuePair,
): Promise<readonly PoisonedTask[] | undefined> {
  try {
    return await read(service, output, poison);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    if (await service.exists(task)) return [];
    output.err(`slipway: the account has neither ${task} nor ${poison}. Correct the name\n`);
    return undefined;
  }
}

/** Reads a queue and gives all of it back. */
async function read(service: QueueService, output: Output, poison: string): Promise<readonly PoisonedTask[]> {
  await using borrowed = await borrowAll(service, output.clock, poison, output.stopping, warner(output));
  return groupCopies(poison, borrowed.messages);
}

function warner(output: Output): (sentence: string) => void {
  return (sentence) => output.err(`slipway: ${sentence}\n`);
}

function notFound(id: string, { poison }: QueuePair): string {
  return `${poison} has no task ${printable(id)}, or somebody else is reading it: then it is visible again within ${BORROW_S} seconds`;
}

function writeTable(output: Output, tasks: readonly PoisonedTask[]): void {
  const duplicates = tasks.some(({ copies }) => copies.length > 1);
  const head = ['QUEUE', 'ID', 'TASK', 'POISONED', 'ATTEMPTS', ...(duplicates ? ['COPIES'] : []), 'REASON'];
  const rows = tasks.map((task) => [
    task.poisonQueue,
    task.id,
    task.taskId || '-',
    seconds(task.poisonedOn),
    String(task.envelope?.attempts.length ?? '-'),
    ...(duplicates ? [String(task.copies.length)] : []),
    task.envelope?.reason ?? BARE,
  ]);
  const [first = '', ...lines] = table(head, rows, output.columns);
  output.out(`${[paint(output.colour, 'bold', first), ...lines].join('\n')}\n`);
}

const BARE = 'not told: the copy is the original message alone';

/** A task for reading. */
function describe(task: PoisonedTask, colour: boolean): string[] {
  const { envelope } = task;
  const facts: (readonly [name: string, value: string])[] = [
    ['Queue', task.poisonQueue],
    ['Id', task.id],
    ['Task', task.taskId || '-'],
    ['Type', task.taskType || '-'],
    ['Reason', envelope?.reason ?? BARE],
    ...(envelope === undefined ? [] : [['Hint', envelope.diagnosis.hint] as const]),
    ['Put', envelope?.insertedOn ?? '-'],
    ['Poisoned', task.poisonedOn],
    ...(task.copies.length > 1 ? [['Copies', String(task.copies.length)] as const] : []),
  ];
  const lines = facts.map(([name, value]) => {
    const text = printable(value);
    return `${paint(colour, 'bold', `${name}:`.padEnd(10))} ${name === 'Reason' ? paint(colour, 'red', text) : text}`;
  });
  if (envelope !== undefined && envelope.attempts.length > 0) {
    const rows = envelope.attempts.map((attempt, at) => [
      String(at + 1),
      attempt.finishedAt ?? '-',
      String(attempt.exitCode ?? '-'),
      attempt.reason,
    ]);
    lines.push('', ...table(['ATTEMPT', 'FINISHED', 'EXIT', 'REASON'], rows));
  }
  const decoded = decodeMessage(task.original, 'auto');
  const how =
    decoded.kind === 'decoded' ? (decoded.encoding === 'base64' ? ' (JSON, from base64)' : ' (JSON)') : ' (no JSON)';
  const text = decoded.kind === 'decoded' ? indented(decoded) : task.original;
  lines.push('', `${paint(colour, 'bold', 'Original')}${how}:`, printableLines(text));
  return lines;
}

/** Deeper than this the indentation alone would fill the screen, and at some depth the memory. */
const MAX_INDENTED = 100;

function indented({ text, value }: DecodedMessage): string {
  return scanJson(text).depth > MAX_INDENTED ? text : JSON.stringify(value, null, 2);
}
