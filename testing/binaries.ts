import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from '#/testing/cache.ts';
import { lock } from '#/testing/lock.ts';
import { run } from '#/testing/shell.ts';

/** The script that builds, starts and stops the control plane. */
export const controlPlaneScript = fileURLToPath(new URL('./cluster/control-plane.sh', import.meta.url));

/** The directory of all binaries; its name and the stamps in it carry their versions. */
export const binDirectory = join(cacheDirectory, 'k8s-v1.35.8');

const HOUR = 3_600_000;

/**
 * Builds what is missing of the binaries for a control plane (`build`), for a node besides (`node`), for checking workflows (`lint`), for
 * judging network policies (`policy`) or of the registry alone, and shows its progress.
 */
export async function ensureBinaries(set: 'build' | 'node' | 'lint' | 'policy' | 'registry'): Promise<void> {
  const env = { BIN: binDirectory };
  const missing = async () => (await run(controlPlaneScript, ['missing', set], { env })).trim().split('\n').join(', ');
  if ((await missing()) === '') return;
  await using _building = await lock('build of Kubernetes', `pid ${process.pid}`, HOUR);
  const names = await missing();
  if (names === '') return;
  process.stderr.write(`building ${names} with Go into ${binDirectory}: minutes, once\n`);
  await run(controlPlaneScript, [set], { env, timeoutMs: HOUR, progress: true });
}
