/** What `helm install` of our chart puts around the operator, for an operator that runs outside the cluster under the chart's own rights. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import type { Cluster } from '#/testing/kubernetes.ts';

/** The chart's directory. */
export const CHART = fileURLToPath(new URL('../charts/slipway', import.meta.url));

/**
 * Installs the chart without its pod and gives a kubeconfig with the token of its service account: the Role of the chart and nothing more.
 *
 * @param directory where the kubeconfig is put
 * @param config further settings of the operator: some need further rights
 * @returns the kubeconfig's path
 */
export async function installRights(
  cluster: Cluster,
  namespace: string,
  directory: string,
  config: object = {},
): Promise<string> {
  const values = {
    image: { repository: 'example.test/operator' },
    replicas: 0,
    storage: { existingSecret: 'storage' },
    config: { queues: [{ name: 'any-tasks' }], runner: { image: 'example.test/runner:1' }, ...config },
  };
  const file = join(directory, `${namespace}-values.yaml`);
  await writeFile(file, stringify(values));
  await cluster.helm(['install', 'slipway', CHART, '--namespace', namespace, '--create-namespace', '-f', file]);
  const token = (await cluster.kubectl(['-n', namespace, 'create', 'token', 'slipway', '--duration', '2h'])).trim();
  const admin: unknown = parse(
    await cluster.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'yaml']),
  );
  const { clusters } = admin as { clusters: { name: string }[] };
  const kubeconfig = join(directory, `${namespace}.kubeconfig`);
  const name = clusters[0]?.name ?? '';
  await writeFile(
    kubeconfig,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters,
      users: [{ name: 'slipway', user: { token } }],
      contexts: [{ name: 'slipway', context: { cluster: name, user: 'slipway', namespace } }],
      'current-context': 'slipway',
    }),
  );
  return kubeconfig;
}
