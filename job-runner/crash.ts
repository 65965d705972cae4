import type { Log } from '../lib/log.ts';

/**
 * Catches errors that nobody else catches: in a library's event or in a promise that nobody waits for. Node would print such an error with
 * all its fields, request headers included, and end without a report.
 *
 * @returns settles with the first such error; each is logged
 */
export function listenForCrashes(log: Log): Promise<unknown> {
  return new Promise((crashed) => {
    process.on('uncaughtException', (error: unknown) => {
      log.error({ err: error }, 'an error that nobody caught');
      crashed(error);
    });
  });
}
