/** Where commands write, and how they end. */
import type { Clock } from '../lib/clock.ts';

/** Exit code after Ctrl-C: 128 + SIGINT. */
export const INTERRUPTED = 130;

/** Exit code for a command line that is not understood. */
export const USAGE = 2;

/** Where a command writes, and what it knows of its terminal. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
  readonly colour: boolean;
  /** The terminal's width; undefined when the output is no terminal. */
  readonly columns: number | undefined;
  readonly clock: Clock;
  /** Aborts when the person wants it to end. */
  readonly stopping: AbortSignal;
}

/** What every help says last. */
export const EXIT_CODES = `Exit codes: 0 done, 1 something failed, 2 wrong usage, 78 wrong configuration, ${INTERRUPTED} stopped by Ctrl-C.`;

/** A moment in ISO 8601 without its fraction. */
export function seconds(time: string): string {
  return time.replace(/\.\d+Z$/, 'Z');
}
