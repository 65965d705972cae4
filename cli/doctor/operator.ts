/** The operator's Deployment: whether there is one, whether it is ready, and of which version. */
import { ask, refusalOf } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import { type Deployment, findOperators, OPERATOR_SELECTOR } from '../installation.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';
import { askable } from './may.ts';

/** What was found of the operator. */
export interface Operator {
  readonly findings: readonly Finding[];
  readonly deployment: Deployment | undefined;
}

/**
 * Looks for the operator.
 *
 * @param version of this command line
 */
export async function examineOperator(cluster: Cluster, user: string | undefined, version: string): Promise<Operator> {
  const { namespace } = cluster;
  const found = await findOperators(cluster);
  if (!found.ok) {
    const right = { group: 'apps', resource: 'deployments', verbs: ['list'] };
    return { findings: [askable('operator', found.error, namespace, user, right)], deployment: undefined };
  }
  const [deployment, ...others] = found.value;
  if (deployment === undefined) {
    const detail = `there is no Deployment of Slipway in the namespace ${namespace}. Name its namespace by -n, or install it`;
    const command = `helm install slipway charts/slipway -n ${namespace} -f values.yaml`;
    return { findings: [problem('operator', detail, command)], deployment: undefined };
  }
  return {
    findings: [
      ...others.map(({ name }) =>
        problem(
          'operator',
          `there is a second Deployment of Slipway, ${name}: two releases in a namespace take each other's leases. Remove one`,
          kubectl(namespace, 'scale', `deployment/${name}`, '--replicas=0'),
        ),
      ),
      await readiness(cluster, deployment),
      versionFinding(deployment, namespace, version),
    ],
    deployment,
  };
}

async function readiness(cluster: Cluster, deployment: Deployment): Promise<Finding> {
  const { namespace } = cluster;
  const { name, replicas, readyReplicas, failure } = deployment;
  if (replicas === 0)
    return problem(
      'operator',
      `Deployment ${name} has no replicas: no message is received`,
      kubectl(namespace, 'scale', `deployment/${name}`, '--replicas=1'),
    );
  if (readyReplicas >= replicas) return ok('operator', `Deployment ${name}: ${readyReplicas} of ${replicas} ready`);
  const why = failure ?? (await reasonOfPods(cluster));
  return problem(
    'operator',
    `Deployment ${name}: ${readyReplicas} of ${replicas} ready${why === undefined ? '' : `. ${why}`}`,
    why === undefined
      ? kubectl(namespace, 'logs', `deployment/${name}`, '--tail=20')
      : kubectl(namespace, 'describe', 'pods', '-l', OPERATOR_SELECTOR),
  );
}

interface RawPod {
  status?: {
    conditions?: { type?: string; status?: string; message?: string }[];
    containerStatuses?: {
      state?: { waiting?: { reason?: string; message?: string } };
      lastState?: { terminated?: { exitCode?: number; message?: string } };
    }[];
  };
}

/** Why a pod of the operator is not ready, in Kubernetes' or the operator's own words; undefined when nothing says. */
async function reasonOfPods({ api, namespace }: Cluster): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = await ask(api.request({ method: 'GET', path, query: { labelSelector: OPERATOR_SELECTOR } }));
  if (!pods.ok) return `Its pods cannot be read: ${refusalOf(pods.error)}`;
  for (const { status } of (pods.value as { items?: RawPod[] }).items ?? []) {
    const container = status?.containerStatuses?.[0];
    const words = container?.lastState?.terminated?.message?.trim();
    if (words !== undefined && words !== '')
      return `Its last pod ended with: ${words.slice(0, 600).replaceAll(/\s+/g, ' ')}`;
    const waiting = container?.state?.waiting;
    if (waiting?.reason !== undefined)
      return `Its pod waits: ${waiting.reason}${waiting.message ? `, ${waiting.message}` : ''}`;
    const unscheduled = status?.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
    if (unscheduled?.message !== undefined) return `Its pod waits for a node: ${unscheduled.message}`;
  }
  return undefined;
}

/** The tag of an image; undefined for one by digest alone, or without any. */
export function tagOf(image: string): string | undefined {
  const [name = ''] = image.slice(image.lastIndexOf('/') + 1).split('@');
  return name.split(':')[1];
}

function versionFinding({ image, name }: Deployment, namespace: string, version: string): Finding {
  const tag = tagOf(image);
  const found = /^v?(\d+\.\d+\.\d+\S*)$/.exec(tag ?? '')?.[1];
  if (found === version) return ok('version', `the operator's image and this command line are ${version}`);
  if (found === undefined)
    return unknown(
      'version',
      `the operator's image ${image} does not tell its version by its tag; this command line is ${version}`,
      kubectl(namespace, 'logs', `deployment/${name}`, '--tail=20'),
    );
  return problem(
    'version',
    `the operator's image is ${found}, this command line ${version}: what one writes the other may not know. Take this command line from version ${found}, or upgrade the operator`,
    `helm upgrade slipway charts/slipway -n ${namespace} --reuse-values --set image.tag=${version}`,
  );
}
