/** An installation as its objects in the cluster tell of it: the operator's Deployment, and the configuration that it mounts. */
import { LABEL } from '../contract/identity.ts';
import { type Answer, ask } from './ask.ts';
import type { Cluster } from './cluster.ts';

/** A key of a Secret. */
export interface SecretKey {
  readonly name: string;
  readonly key: string;
}

/** The operator's Deployment, as far as it is read. */
export interface Deployment {
  readonly name: string;
  readonly replicas: number;
  readonly readyReplicas: number;
  readonly image: string;
  readonly serviceAccount: string;
  /** The ConfigMap with the configuration file; undefined for a Deployment that mounts none. */
  readonly configMap: string | undefined;
  /** The value of the variable that is set, by its name, and where it comes from. */
  readonly storage: { readonly variable: string; readonly from: SecretKey } | undefined;
  readonly webhookSecret: SecretKey | undefined;
  /** Who it is in Azure: by a Secret of which it takes all keys, or by a token that a webhook of Azure's gives to its pods. */
  readonly azure: { readonly secret: string | undefined; readonly workloadIdentity: boolean };
  /** Why it has no pods, in the controller's words. */
  readonly failure: string | undefined;
}

/** What the operator's pods and their Deployment are selected by. */
export const OPERATOR_SELECTOR = `${LABEL.name}=slipway,${LABEL.component}=operator`;

/** The file's key in the ConfigMap. */
const CONFIG_KEY = 'config.yaml';

interface RawEnv {
  name?: string;
  valueFrom?: { secretKeyRef?: { name?: string; key?: string } };
}
interface RawDeployment {
  metadata?: { name?: string };
  spec?: {
    replicas?: number;
    template?: {
      metadata?: { labels?: Readonly<Record<string, string>> };
      spec?: {
        serviceAccountName?: string;
        containers?: { name?: string; image?: string; env?: RawEnv[]; envFrom?: { secretRef?: { name?: string } }[] }[];
        volumes?: { configMap?: { name?: string } }[];
      };
    };
  };
  status?: { readyReplicas?: number; conditions?: { type?: string; status?: string; message?: string }[] };
}

/** The Deployments of operators in the namespace; more than one is a mistake of whoever installed them. */
export function findOperators({ api, namespace }: Cluster): Promise<Answer<readonly Deployment[]>> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  return ask(
    api
      .request({ method: 'GET', path, query: { labelSelector: OPERATOR_SELECTOR } })
      .then((list) => ((list as { items?: RawDeployment[] }).items ?? []).map(deploymentOf)),
  );
}

/** The text of an installation's configuration file; undefined when its ConfigMap has none. */
export function readConfiguration({ api, namespace }: Cluster, configMap: string): Promise<Answer<string | undefined>> {
  const path = `/api/v1/namespaces/${namespace}/configmaps/${configMap}`;
  return ask(
    api
      .request({ method: 'GET', path })
      .then((map) => (map as { data?: Readonly<Record<string, string>> }).data?.[CONFIG_KEY]),
  );
}

function deploymentOf({ metadata, spec, status }: RawDeployment): Deployment {
  const pod = spec?.template?.spec;
  const container = pod?.containers?.find(({ name }) => name === 'operator') ?? pod?.containers?.[0];
  const env = container?.env ?? [];
  const from = (variable: string): SecretKey | undefined => {
    const ref = env.find(({ name }) => name === variable)?.valueFrom?.secretKeyRef;
    return ref?.name === undefined || ref.key === undefined ? undefined : { name: ref.name, key: ref.key };
  };
  const storage = ['AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_SAS_URL']
    .map((variable) => ({ variable, from: from(variable) }))
    .find((one): one is { variable: string; from: SecretKey } => one.from !== undefined);
  return {
    name: metadata?.name ?? '',
    replicas: spec?.replicas ?? 1,
    readyReplicas: status?.readyReplicas ?? 0,
    image: container?.image ?? '',
    serviceAccount: pod?.serviceAccountName ?? 'default',
    configMap: pod?.volumes?.find(({ configMap }) => configMap?.name !== undefined)?.configMap?.name,
    storage,
    webhookSecret: from('SLIPWAY_WEBHOOK_SECRET'),
    azure: {
      secret: container?.envFrom?.find(({ secretRef }) => secretRef?.name !== undefined)?.secretRef?.name,
      workloadIdentity: spec?.template?.metadata?.labels?.['azure.workload.identity/use'] === 'true',
    },
    failure: status?.conditions?.find(({ type, status: is }) => type === 'ReplicaFailure' && is === 'True')?.message,
  };
}
