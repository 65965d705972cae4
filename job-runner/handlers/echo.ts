import { z } from 'zod';
import { defineHandler, parsePayload } from './handler.ts';

const optionsSchema = z.looseObject({
  /** Throws an error with this text: a failed attempt. */
  fail: z.string().optional(),
  /** Waits so long first, at most an hour; ends early when the task is stopped. */
  sleepMs: z.number().min(0).max(3_600_000).optional(),
});

/**
 * Returns its payload: to see that the way is open. An object may ask for a pause (`sleepMs`) and for a failure (`fail`).
 */
export const echo = defineHandler({
  type: 'echo',
  payload: z.unknown(),
  run: async ({ payload }, { clock, log, signal }) => {
    log.info({}, 'echo');
    const asked = typeof payload === 'object' && payload !== null && !Array.isArray(payload);
    const options = asked ? parsePayload(optionsSchema, payload) : {};
    if (options.sleepMs !== undefined) await clock.sleep(options.sleepMs, signal);
    signal.throwIfAborted();
    if (options.fail !== undefined) throw new Error(options.fail);
    return payload;
  },
});
