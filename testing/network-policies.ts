/** What NetworkPolicies allow, by cyclonus: it goes by the rules, and stands in for the network plugin that would enforce them. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binDirectory, ensureBinaries } from '#/testing/binaries.ts';
import { run } from '#/testing/shell.ts';

/** A pod, by what policies select it by, or an address outside of the cluster. */
export interface Peer {
  readonly ip: string;
  readonly pod?: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
}

/** One connection, begun by `from`. */
export interface Connection {
  readonly from: Peer;
  readonly to: Peer;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
}

/** Whether each connection is allowed by the policies, in their order. A namespace has the one label that Kubernetes gives it. */
export async function areAllowed(
  policies: readonly object[],
  connections: readonly Connection[],
): Promise<readonly boolean[]> {
  await ensureBinaries('policy');
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-policies-'));
  const policyPath = join(directory.path, 'policies.json');
  const trafficPath = join(directory.path, 'traffic.json');
  await writeFile(
    policyPath,
    JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicyList', items: policies }),
  );
  await writeFile(trafficPath, JSON.stringify(connections.map(trafficOf)));
  const said = await run(join(binDirectory, 'cyclonus'), [
    ...['analyze', '--mode', 'query-traffic', '--simplify-policies=false'],
    ...['--policy-path', policyPath, '--traffic-path', trafficPath],
  ]);
  const answers = [...said.matchAll(/^\W*IS ALLOWED\?\W+(TRUE|FALSE)\b/gm)].map(([, answer]) => answer === 'TRUE');
  if (answers.length !== connections.length)
    throw new Error(`cyclonus gave ${answers.length} answers to ${connections.length} questions:\n${said}`);
  return answers;
}

function trafficOf({ from, to, port, protocol }: Connection): object {
  return { Source: peerOf(from), Destination: peerOf(to), ResolvedPort: port, Protocol: protocol };
}

function peerOf({ ip, pod }: Peer): object {
  if (pod === undefined) return { IP: ip };
  const { namespace, labels } = pod;
  const NamespaceLabels = { 'kubernetes.io/metadata.name': namespace };
  return { IP: ip, Internal: { Namespace: namespace, NamespaceLabels, PodLabels: labels } };
}
