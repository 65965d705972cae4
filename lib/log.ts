import { type DestinationStream, type LevelWithSilent, pino } from 'pino';
import { ServiceError } from './errors.ts';
import type { Log } from './log-interface.ts';

export type { Log } from './log-interface.ts';

/**
 * A logger. Errors under the key `err` are logged by kind, code, message and stack, never with the fields that SDKs hang on them (request
 * headers, response bodies).
 */
export function createLog(level: LevelWithSilent, fields: object, destination?: DestinationStream): Log {
  const options = {
    level,
    base: fields,
    serializers: { err: describe },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function describe(error: unknown): object {
  if (error instanceof ServiceError) return { kind: error.kind, code: error.code, message: error.message };
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack };
  return { message: String(error) };
}
