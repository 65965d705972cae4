/** Helm for generating: found, never fetched. */
import { execFile } from 'node:child_process';
import { access, constants, glob } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

/** What to do when helm is missing. */
export const HELM_REMEDY =
  'helm was not found. Put it on the PATH, or its path into HELM, or build it: testing/cluster/control-plane.sh build';

/** The path of helm: the one that HELM names, or else the one that the tests have built, or else one on the PATH; undefined without any. */
export async function findHelm(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  if (env['HELM']) return (await isExecutable(env['HELM'])) ? env['HELM'] : undefined;
  const cache = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'slipway');
  const built = (await Array.fromAsync(glob('k8s-*/helm', { cwd: cache }))).sort().map((path) => join(cache, path));
  const onPath = (env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'helm'));
  for (const candidate of [...built.reverse(), ...onPath]) {
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

/** The objects of the chart for some values, as `helm template` prints them. */
export async function helmTemplate(helm: string, chart: string, values: string, namespace: string): Promise<string> {
  const { stdout } = await promisify(execFile)(helm, ['template', 'slipway', chart, '-n', namespace, '-f', values]);
  return stdout;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
