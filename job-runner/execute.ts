/** Runs one task to its end: its own, the timeout's, or that of the process. */
import { type Category, isCategory } from '../contract/diagnosis.ts';
import { EXIT } from '../contract/runner-abi.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';

/** How a task ended. */
export type Execution =
  /** `result` is a JSON value, undefined for none. */
  | { readonly kind: 'completed'; readonly result: unknown }
  | Failure
  /** Stopped from outside before it was done. */
  | { readonly kind: 'terminated' };

/** A failed attempt, with the exit code that says whether another one can help. */
export interface Failure {
  readonly kind: 'failed';
  readonly exit: number;
  readonly code: Category;
  /** One line for people, without secrets as far as the handler keeps them out. */
  readonly message: string;
  readonly error: unknown;
}

/** What may end a task before its time. */
export interface Limits {
  readonly timeoutMs: number;
  /** Aborts on SIGTERM. */
  readonly stopping: AbortSignal;
  /** Settles with an error that nobody caught. */
  readonly crashed: Promise<unknown>;
  readonly clock: Clock;
}

/** How long a task that was told to stop may take to tidy up; one that does not listen is left behind then. */
export const TIDY_MS = 3000;

/**
 * Runs a task. Never throws, and never waits for a task that does not end: whoever calls must end the process.
 *
 * @param run the task; its signal aborts at the timeout and when the process is to stop
 */
export async function execute(run: (signal: AbortSignal) => Promise<unknown>, limits: Limits): Promise<Execution> {
  const { clock, stopping, timeoutMs, crashed } = limits;
  const ending = new AbortController();
  using raced = new DisposableStack();
  const over = raced.adopt(new AbortController(), (controller) => controller.abort());

  const ended = settle(run, ending.signal);
  // A sleep, not a deadline signal: its timer keeps the process alive while a task waits for something that never comes.
  const late = clock.sleep(timeoutMs, over.signal).then(() => failure(new TimedOut(timeoutMs)));
  const stopped = aborted(stopping).then((): Execution => ({ kind: 'terminated' }));
  const execution = await Promise.race([ended, late, stopped, crashed.then(failure)]);

  ending.abort(new Error(execution.kind === 'terminated' ? 'the process is to stop' : 'the task has ended'));
  await Promise.race([ended, clock.sleep(TIDY_MS, over.signal)]);
  return execution;
}

/** What an error says about its attempt. By its name: a handler of one's own may bring its own copy of the classes. */
export function failure(error: unknown): Failure {
  const message = messageOf(error);
  const name = error instanceof Error ? error.name : '';
  if (name === 'PermanentError') return { kind: 'failed', exit: EXIT.badData, code: codeOf(error), message, error };
  if (error instanceof TimedOut) return { kind: 'failed', exit: EXIT.failed, code: 'TaskTimedOut', message, error };
  const exit =
    name === 'ConfigurationError' ? EXIT.badConfig : name === 'TemporaryError' ? EXIT.temporary : EXIT.failed;
  return { kind: 'failed', exit, code: 'TaskFailed', message, error };
}

function codeOf(error: unknown): Category {
  const code = (error as { readonly code?: unknown }).code;
  return typeof code === 'string' && isCategory(code) ? code : 'TaskFailed';
}

class TimedOut extends Error {
  override readonly name = 'TimedOut';

  constructor(timeoutMs: number) {
    super(`the task ran longer than ${timeoutMs / 1000} s`);
  }
}

async function settle(run: (signal: AbortSignal) => Promise<unknown>, signal: AbortSignal): Promise<Execution> {
  try {
    return { kind: 'completed', result: toJson(await run(signal)) };
  } catch (error) {
    return failure(error);
  }
}

/** The value as a receiver will see it. */
function toJson(result: unknown): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(result);
  } catch (cause) {
    throw new Error(`the handler's result cannot be written as JSON: ${messageOf(cause)}`, { cause });
  }
  return text === undefined ? undefined : JSON.parse(text);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener('abort', () => done(), { once: true });
  });
}
