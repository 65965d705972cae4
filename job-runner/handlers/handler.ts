/** What a handler is: a function (task, context) → result, behind a check of its payload. */
import type { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log-interface.ts';
import { PermanentError } from '../errors.ts';
import type { RunnerSettings } from '../settings.ts';

/** A task with a payload that fits its handler. */
export interface HandlerTask<Payload> {
  readonly taskId: string;
  readonly clientId: string;
  readonly payload: Payload;
}

/** What a handler works with. */
export interface HandlerContext {
  /** Aborts when the time is up or the container is told to stop. Tidy up and return or throw: the process exits soon after. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: RunnerSettings;
  /** Adds to a number of the task's report, such as tokens or rows. */
  count(metric: string, value: number): void;
}

/** A handler as the runner calls it. */
export interface Handler {
  readonly type: string;
  /**
   * Does the task. The result is any JSON value; undefined for none.
   *
   * @throws PermanentError, ConfigurationError, TemporaryError; any other error is a failed attempt
   */
  run(task: HandlerTask<unknown>, context: HandlerContext): Promise<unknown>;
}

/**
 * Makes a handler.
 *
 * @param definition.payload what the payload must look like; one that does not is a permanent failure that names the fields
 *
 * @example
 * export const greet = defineHandler({
 *   type: 'greet',
 *   payload: z.object({ name: z.string() }),
 *   run: async ({ payload }) => ({ greeting: `Hello, ${payload.name}` }),
 * });
 */
export function defineHandler<Payload>(definition: {
  readonly type: string;
  readonly payload: z.ZodType<Payload>;
  readonly run: (task: HandlerTask<Payload>, context: HandlerContext) => Promise<unknown>;
}): Handler {
  return {
    type: definition.type,
    run: async (task, context) =>
      definition.run({ ...task, payload: parsePayload(definition.payload, task.payload) }, context),
  };
}

/**
 * Checks a payload.
 *
 * @throws PermanentError `Malformed` that names every field that does not fit; values are not shown
 */
export function parsePayload<Payload>(schema: z.ZodType<Payload>, payload: unknown): Payload {
  const parsed = schema.safeParse(payload);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${['payload', ...path].map(String).join('.')}: ${message}`,
  );
  throw new PermanentError(problems.join('; '), { code: 'Malformed' });
}
