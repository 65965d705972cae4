/**
 * Azure Resource Manager, and who the operator is there. Loaded only where tasks run on Azure Container Instances: the SDKs are large.
 */
import { ContainerInstanceManagementClient } from '@azure/arm-containerinstance';
import { DefaultAzureCredential } from '@azure/identity';
import { TASK_CONTAINER } from '../../contract/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import type { AciControllerParts } from './controller.ts';
import { createContainerGroups } from './groups.ts';

/**
 * The groups of each resource group.
 *
 * The credential is that of the environment: a workload identity (AKS, or any cluster that is federated), a service principal
 * (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET), or the managed identity of the node.
 *
 * @param endpoint undefined: Azure's public cloud. Over plain HTTP, which the configuration allows for private addresses alone, no token is given
 */
export function createGroupsIn(endpoint: string | undefined, clock: Clock): AciControllerParts['groupsIn'] {
  const isPlain = endpoint?.startsWith('http:') === true;
  const credential = isPlain ? { getToken: async () => null } : new DefaultAzureCredential();
  const clients = new Map<string, ContainerInstanceManagementClient>();
  const clientOf = (subscriptionId: string) => {
    const known = clients.get(subscriptionId);
    if (known !== undefined) return known;
    const client = new ContainerInstanceManagementClient(credential, subscriptionId, {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(isPlain ? { allowInsecureConnection: true } : {}),
      // Who calls decides whether to call again, within the limits.
      retryOptions: { maxRetries: 0 },
    });
    if (isPlain) client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
    clients.set(subscriptionId, client);
    return client;
  };
  return (place) => {
    const [, subscriptionId = '', resourceGroup = ''] =
      /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)$/.exec(place) ?? [];
    return createContainerGroups(clientOf(subscriptionId), resourceGroup, TASK_CONTAINER, clock);
  };
}
