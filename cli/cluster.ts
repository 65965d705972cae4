/** The way to the cluster: that of kubectl. */
import { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '../lib/clock.ts';
import { messageOf, type ServiceError } from '../lib/errors.ts';
import { createKubernetesApi, type KubernetesApi } from '../operator/jobs/api.ts';

/** What the person says of the cluster. */
export interface ClusterOptions {
  /** One, or several after commas, the operator's own first. Default: the context's namespace, else `default`. */
  readonly namespace?: string | undefined;
  /** A context of the kubeconfig. Default: its current one. */
  readonly context?: string | undefined;
}

/** A namespace of a cluster, or several. */
export interface Cluster {
  readonly api: KubernetesApi;
  /** The operator's. */
  readonly namespace: string;
  /** Further ones, of which task types make their Jobs. */
  readonly others: readonly string[];
  /** The API server's URL. */
  readonly server: string;
}

/** Why there is no way; a sentence that says what to do. */
export interface NoCluster {
  readonly problem: string;
}

/** The address that client-node assumes where it finds neither a kubeconfig nor a service account. */
const NOTHING_FOUND = 'http://localhost:8080';

/** Reads the kubeconfig (KUBECONFIG, `~/.kube/config`) or, in a pod, its service account. Nothing is sent yet. */
export function connectCluster(options: ClusterOptions, clock: Clock, deadlineMs: number): Cluster | NoCluster {
  const config = new KubeConfig();
  try {
    config.loadFromDefault();
  } catch (error) {
    return {
      problem: `the kubeconfig cannot be read (${messageOf(error)}). Correct it, or name another by KUBECONFIG`,
    };
  }
  if (config.getCurrentCluster()?.server === NOTHING_FOUND && config.getCurrentUser()?.name === 'user')
    return {
      problem:
        'there is no kubeconfig at ~/.kube/config, and this is no pod with a service account. Name a kubeconfig by KUBECONFIG',
    };
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null)
      return { problem: `the kubeconfig has no context ${options.context}. ${contexts(config)}` };
    config.setCurrentContext(options.context);
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined || server === '')
    return { problem: `the kubeconfig names no cluster as its current one. ${contexts(config)}` };
  const inContext = config.getContextObject(config.getCurrentContext())?.namespace;
  const named = options.namespace ?? (inContext === undefined || inContext === '' ? 'default' : inContext);
  const [namespace = '', ...others] = named.split(',').map((name) => name.trim());
  const wrong = [namespace, ...others].find((name) => !NAMESPACE.test(name));
  if (wrong !== undefined)
    return { problem: `-n ${named}: "${wrong}" is no name of a namespace. Separate several by commas: -n slipway,ci` };
  return { api: createKubernetesApi(config, clock, deadlineMs), namespace, others, server };
}

const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** The namespaces in words: "namespace slipway", "namespaces slipway and ci". */
export function inWords({ namespace, others }: Pick<Cluster, 'namespace' | 'others'>): string {
  return others.length === 0
    ? `namespace ${namespace}`
    : `namespaces ${[namespace, ...others.slice(0, -1)].join(', ')} and ${others.at(-1)}`;
}

function contexts(config: KubeConfig): string {
  const names = config.getContexts().map(({ name }) => name);
  return names.length === 0
    ? 'It has none at all: name another kubeconfig by KUBECONFIG'
    : `Choose one by --context: ${names.join(', ')}`;
}

/** A failed request for a person: what happened, and what helps. */
export function explainFault(
  error: ServiceError,
  { server, namespace }: Pick<Cluster, 'server' | 'namespace'>,
): string {
  const { kind, code, message } = error;
  if (code === 'Unauthorized' || code === '401')
    return `the API server at ${server} does not accept the kubeconfig's credentials. Renew them (kubectl get jobs would fail in the same way)`;
  if (kind === 'forbidden') {
    const right = /cannot (\w+) resource "([\w./-]+)" in API group "([\w.]*)"/.exec(message);
    const what = right === null ? 'a right' : `the right to ${right[1]} ${right[2]}${right[3] ? `.${right[3]}` : ''}`;
    return `you lack ${what} in namespace ${namespace}: ${message}. docs/cli.md has a Role with all that these commands need; -n names another namespace`;
  }
  if (kind === 'unknown')
    return `${message}. Is the API server at ${server} reachable from here, and the right one? kubectl config get-contexts, --context`;
  return `${message}`;
}
