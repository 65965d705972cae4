/** What a pod template refers to, and reading it. Values are kept only as long as it takes to make a container group. */
import type { V1PodTemplateSpec } from '@kubernetes/client-node';
import { isKind, ServiceError } from '../../lib/errors.ts';
import type { KubernetesApi } from '../jobs/api.ts';
import type { Sources } from './environment.ts';

/** A place in a pod template that refers to a Secret or a ConfigMap. */
export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  /** Undefined: all there are. */
  readonly key: string | undefined;
  /** Such as `spec.containers[0].env[2]`. */
  readonly field: string;
}

/** All of a template's containers and volumes, in their order. Secrets for pulling images are not among them. */
export function referencesOf({ spec }: V1PodTemplateSpec): readonly Reference[] {
  const containers = [
    ...(spec?.containers ?? []).map((container, at) => [container, `spec.containers[${at}]`] as const),
    ...(spec?.initContainers ?? []).map((container, at) => [container, `spec.initContainers[${at}]`] as const),
  ];
  return [
    ...containers.flatMap(([{ env = [], envFrom = [] }, path]) => [
      ...env.flatMap(({ valueFrom }, at): Reference[] => {
        const ref = valueFrom?.secretKeyRef ?? valueFrom?.configMapKeyRef;
        if (ref === undefined) return [];
        const kind = valueFrom?.secretKeyRef === undefined ? 'ConfigMap' : 'Secret';
        return [{ kind, name: ref.name ?? '', key: ref.key, field: `${path}.env[${at}]` }];
      }),
      ...envFrom.map(({ secretRef, configMapRef }, at): Reference => {
        const kind = secretRef === undefined ? 'ConfigMap' : 'Secret';
        return { kind, name: (secretRef ?? configMapRef)?.name ?? '', key: undefined, field: `${path}.envFrom[${at}]` };
      }),
    ]),
    ...(spec?.volumes ?? []).flatMap(({ secret, configMap }, at): Reference[] => {
      const field = `spec.volumes[${at}]`;
      if (secret === undefined && configMap === undefined) return [];
      const [kind, name] =
        secret === undefined
          ? (['ConfigMap', configMap?.name ?? ''] as const)
          : (['Secret', secret.secretName ?? ''] as const);
      const items = secret?.items ?? configMap?.items;
      return items === undefined
        ? [{ kind, name, key: undefined, field }]
        : items.map(({ key }) => ({ kind, name, key, field }));
    }),
  ];
}

/** The code of an error that lies in the configuration of what is referred to. */
export const NO_REFERENCE = 'NoReference';

/** Reads Secrets (bytes in base64) and ConfigMaps (texts); undefined for one that is not there. Throws a `ServiceError`. */
export type ReadReference = (
  kind: Reference['kind'],
  name: string,
  signal: AbortSignal,
) => Promise<Readonly<Record<string, string>> | undefined>;

/** Reads them from a namespace, by name: nothing wider is asked of the API server. */
export function createReadReference(api: KubernetesApi, namespace: string): ReadReference {
  return async (kind, name, signal) => {
    const path = `/api/v1/namespaces/${namespace}/${kind === 'Secret' ? 'secrets' : 'configmaps'}/${name}`;
    try {
      const { data = {} } = (await api.request({ method: 'GET', path, signal })) as { data?: Record<string, string> };
      return data;
    } catch (error) {
      if (isKind(error, 'not-found')) return undefined;
      if (!isKind(error, 'forbidden')) throw error;
      throw new ServiceError(
        'forbidden',
        NO_REFERENCE,
        `the operator may not read the ${kind} ${name}: add it to azure.${kind === 'Secret' ? 'secrets' : 'configMaps'} in the chart's values`,
      );
    }
  };
}

/** Everything that a template refers to, read now. */
export async function readSources(
  template: V1PodTemplateSpec,
  read: ReadReference,
  signal: AbortSignal,
): Promise<Pick<Sources, 'secret' | 'configMap'>> {
  const pullSecrets = (template.spec?.imagePullSecrets ?? []).map(
    ({ name = '' }) => ({ kind: 'Secret', name }) as const,
  );
  const found = { Secret: new Map<string, Content>(), ConfigMap: new Map<string, Content>() };
  for (const { kind, name } of [...referencesOf(template), ...pullSecrets])
    if (!found[kind].has(name)) found[kind].set(name, await read(kind, name, signal));
  return { secret: (name) => found.Secret.get(name), configMap: (name) => found.ConfigMap.get(name) };
}

type Content = Readonly<Record<string, string>> | undefined;
