/** The log of a chaos run: every line with its time since the start, in a file and before the reader. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#/lib/clock.ts';

/** Takes a line. */
export type Tell = (line: string) => void;

/** A log in the file `run.log` of a directory. */
export function runLog(directory: string, show: Tell): Tell {
  const started = systemClock.monotonic();
  return (line) => {
    const stamped = `${((systemClock.monotonic() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`;
    appendFileSync(join(directory, 'run.log'), `${stamped}\n`);
    show(stamped);
  };
}
