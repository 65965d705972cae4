import { writeFileSync } from 'node:fs';
import { formatReport, type RunnerReport } from '../contract/runner-abi.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/**
 * Writes the termination message in place: Kubernetes mounts the file, so that it cannot be replaced. A container without it (read-only,
 * missing) does its task all the same.
 */
export function writeTerminationLog(path: string, report: RunnerReport, log: Log): void {
  try {
    // Synchronous, so that nothing comes between emptying and filling it.
    writeFileSync(path, formatReport(report));
  } catch (error) {
    log.warn(
      { path, reason: messageOf(error) },
      'the termination message cannot be written; only the exit code tells the end',
    );
  }
}
