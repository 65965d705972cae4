/** Azure, where tasks run on Azure Container Instances: who the operator is there, and whether it is let in. Nothing is changed. */

import { TAG } from '../../contract/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import { isKind, messageOf, type ServiceError } from '../../lib/errors.ts';
import type { ContainerGroups } from '../../operator/aci/groups.ts';
import type { FileConfig } from '../../operator/config-schema.ts';
import { ask } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import { type Deployment, OPERATOR_SELECTOR } from '../installation.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';
import { askable } from './may.ts';
import { examineKey } from './secrets.ts';

type Aci = NonNullable<FileConfig['aci']>;

/** What a service principal is known by. */
const PRINCIPAL = ['AZURE_TENANT_ID', 'AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET'];

/** Who the operator is in Azure: the Secret of a service principal with its keys, or a token that each pod has been given. */
export async function examineAzureIdentity(
  cluster: Cluster,
  user: string | undefined,
  { name, azure }: Pick<Deployment, 'name' | 'azure'>,
): Promise<readonly Finding[]> {
  const { namespace } = cluster;
  if (azure.secret !== undefined) {
    const { secret } = azure;
    const keys = PRINCIPAL.map((key) => examineKey(cluster, user, 'Azure Secret', { name: secret, key }, `"$${key}"`));
    const findings = (await Promise.all(keys)).map(({ finding }) => finding);
    const wrong = findings.find(({ state }) => state !== 'OK');
    return [wrong ?? ok('Azure Secret', `Secret ${secret} has ${PRINCIPAL.join(', ')}`)];
  }
  if (!azure.workloadIdentity)
    return [ok('Azure identity', 'that of the node: neither azure.clientId nor azure.existingSecret is set')];
  const check = 'Azure identity';
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = await ask(cluster.api.request({ method: 'GET', path, query: { labelSelector: OPERATOR_SELECTOR } }));
  if (!pods.ok) return [askable(check, pods.error, namespace, user, { group: '', resource: 'pods', verbs: ['list'] })];
  const { items = [] } = pods.value as { items?: readonly RawPod[] };
  if (items.length === 0) return [unknown(check, 'a workload identity; the operator has no pod that shows its token')];
  const has = (pod: RawPod) =>
    pod.spec?.containers?.some(({ env }) => env?.some((one) => one.name === 'AZURE_FEDERATED_TOKEN_FILE')) === true;
  if (items.every(has)) return [ok(check, 'a workload identity, whose token the pods have been given')];
  return [
    problem(
      check,
      'a workload identity, and a pod of the operator has not been given its token: the webhook of Azure Workload Identity does not run, or did not when the pod was made. On AKS: az aks update --enable-oidc-issuer --enable-workload-identity. Then make the pods anew',
      kubectl(namespace, 'rollout', 'restart', `deployment/${name}`),
    ),
  ];
}

interface RawPod {
  readonly spec?: { readonly containers?: readonly { readonly env?: readonly { readonly name?: string }[] }[] };
}

/**
 * Whether Azure lets in who asks. Making, stopping and deleting a group are not tried.
 *
 * @param isOperator whether this is the operator's own pod, or should be taken for it; else its refusals say nothing of the operator
 */
export async function examineAzure(
  { subscriptionId, resourceGroup, location, limits }: Aci,
  groups: ContainerGroups,
  { clock, namespace, isOperator }: { readonly clock: Clock; readonly namespace: string; readonly isOperator: boolean },
): Promise<Finding> {
  const check = 'Azure';
  const inPod = kubectl(namespace, 'exec', 'deploy/slipway', '--', 'node', '/app/cli/slipway.mjs', 'doctor', '--self');
  const asked = await ask(groups.list(clock.deadline(ASK_WITHIN_MS)));
  if (asked.ok) {
    const own = asked.value.filter(({ tags }) => tags[TAG.namespace] === namespace).length;
    const detail = `resource group ${resourceGroup}: ${asked.value.length} container groups, ${own} of them of tasks of ${namespace}; aci.limits.groups is ${limits.groups}. Making and deleting one is not tried`;
    return isOperator
      ? ok(check, detail)
      : { ...ok(check, `${detail}. Asked as who you are in Azure, not as the operator`), command: inPod };
  }
  const said = reasonOf(asked.error);
  if (isKind(asked.error, 'not-found')) {
    const create = `az group create --subscription ${subscriptionId} -n ${resourceGroup} -l ${location}`;
    return problem(check, `there is no resource group ${resourceGroup}: ${said}`, create);
  }
  if (!isOperator) return unknown(check, `asked as who you are in Azure, not as the operator: ${said}`, inPod);
  if (!isKind(asked.error, 'forbidden')) return problem(check, said);
  const scope = `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}`;
  const assign = `az role assignment create --role "Slipway tasks" --scope ${scope} --assignee "$AZURE_CLIENT_ID"`;
  return problem(check, `${said}. The role is made as docs/azure.md says`, assign);
}

const ASK_WITHIN_MS = 30_000;

/** The SDK says of each way to a credential what became of it, in lines. */
function reasonOf(error: ServiceError): string {
  return messageOf(error).replaceAll(/\s+/g, ' ').trim();
}
