import { join } from 'node:path';
import { type RunOptions, run } from '#/testing/shell.ts';

/** A cluster as its users see it. */
export interface Cluster {
  /** The administrator's kubeconfig file. */
  readonly kubeconfig: string;
  /** Runs kubectl and returns what it prints. */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Runs helm and returns what it prints. */
  helm(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Applies objects, each a manifest as a value. */
  apply(...objects: readonly object[]): Promise<void>;
  /** Reads one object or a list: `get('pod/a')`, `get('jobs', '-n', 'x')`. */
  get<T = unknown>(...args: readonly string[]): Promise<T>;
}

/**
 * Gives the commands for one cluster.
 *
 * @param kubeconfig its kubeconfig file
 * @param bin the directory of kubectl and helm; without it they come from PATH
 * @param state a directory for helm's own files
 */
export function cluster(kubeconfig: string, bin: string | undefined, state: string): Cluster {
  const command = (name: string) => (bin === undefined ? name : join(bin, name));
  const env = {
    KUBECONFIG: kubeconfig,
    HELM_CACHE_HOME: join(state, 'helm/cache'),
    HELM_CONFIG_HOME: join(state, 'helm/config'),
    HELM_DATA_HOME: join(state, 'helm/data'),
  };
  const tool =
    (name: string) =>
    (args: readonly string[], options: RunOptions = {}) =>
      run(command(name), args, { ...options, env: { ...env, ...options.env } });
  const kubectl = tool('kubectl');
  return {
    kubeconfig,
    kubectl,
    helm: tool('helm'),
    async apply(...objects) {
      await kubectl(['apply', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
      });
    },
    async get<T>(...args: readonly string[]) {
      return JSON.parse(await kubectl(['get', ...args, '-o', 'json'])) as T;
    },
  };
}
