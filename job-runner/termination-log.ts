import { writeFileSync } from 'node:fs';
import { formatReport, REPORT_TO_STDOUT, type RunnerReport, reportLine } from '../contract/runner-abi.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/** Writes the report of a task. On Azure Container Instances there is no such file, and the report is a line of stdout. */
export function writeTerminationLog(path: string, report: RunnerReport, log: Log): void {
  const text = formatReport(report);
  if (path === REPORT_TO_STDOUT) writeText(process.stdout.fd, reportLine(text), log);
  else writeText(path, text, log);
}

/**
 * Writes the termination message in place: Kubernetes mounts the file, so that it cannot be replaced. A container without it (read-only,
 * missing) does its work all the same.
 */
export function writeText(path: string | number, text: string, log: Log): void {
  try {
    // Synchronous, so that nothing comes between emptying and filling it.
    writeFileSync(path, text);
  } catch (error) {
    log.warn(
      { path, reason: messageOf(error) },
      'the termination message cannot be written; only the exit code tells the end',
    );
  }
}
