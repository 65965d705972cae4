/**
 * Runs `SCRIPT up`, waits until the process that started it lets go of it or dies, however it dies, and runs `SCRIPT down`. So what
 * a test started is stopped even when the test run is killed. Started by service.ts as a session of its own, with a message channel.
 *
 * Arguments: the script, and the name of a lock to hold meanwhile (empty for none). Its working directory is the service's own: removed
 * at the end, but kept with the log when `down` fails.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type Lock, lock } from '#/testing/lock.ts';
import type { Report } from '#/testing/service.ts';
import { attempt } from '#/testing/shell.ts';

const [script = '', lockName = ''] = process.argv.slice(2);
const HOUR = 3_600_000;
const tell = (report: Report) => process.connected && process.send?.(report);
const released = new Promise<void>((resolve) => process.once('disconnect', resolve));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => process.connected && process.disconnect?.());

/** The command line of the process that started this one, for those who find the lock taken. */
function starter(): string {
  const command = readFileSync(`/proc/${process.ppid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  return `pid ${process.ppid} (${command}) since ${new Date().toISOString()}`;
}

async function step(verb: 'up' | 'down'): Promise<string | undefined> {
  const { code, stdout, stderr } = await attempt(script, [verb], { timeoutMs: HOUR });
  process.stderr.write(stdout + stderr);
  return code === 0 ? undefined : `${script} ${verb}: exit ${code}\n${(stdout + stderr).slice(-4_000)}`;
}

let held: Lock | undefined;
try {
  if (lockName !== '') held = await lock(lockName, starter());
} catch (error) {
  tell({ failed: (error as Error).message });
  process.disconnect?.();
  process.exit(1);
}
void released.then(() => {
  if (held) held.holder = `stopping: pid ${process.pid}`;
});
const failed = await step('up');
tell(failed === undefined ? { up: true } : { failed });
await released;
const stuck = await step('down');
await held?.[Symbol.asyncDispose]();
if (stuck === undefined) await rm(process.cwd(), { recursive: true, force: true });
process.exitCode = stuck === undefined ? 0 : 1;
