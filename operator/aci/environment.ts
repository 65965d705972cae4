/** The environment of a container, with every reference resolved. Pure. */
import type { V1Container } from '@kubernetes/client-node';
import type { EnvironmentVariable } from './container-group.ts';
import { expand, type Text } from './expand.ts';

/** What references of a pod template point to. */
export interface Sources {
  /** The keys of a Secret with their bytes in base64; undefined when there is none of that name. */
  readonly secret: (name: string) => Readonly<Record<string, string>> | undefined;
  /** The keys of a ConfigMap with their texts; undefined when there is none of that name. */
  readonly configMap: (name: string) => Readonly<Record<string, string>> | undefined;
  /** The field of the pod that there would be, such as `metadata.annotations['a']`; undefined for one that is not known. */
  readonly field: (path: string) => string | undefined;
}

/** A reference that leads nowhere. */
export interface Missing {
  /** Such as `spec.containers[0].env[2]`. */
  readonly field: string;
  /** What is not there, and what to do. */
  readonly reason: string;
}

/** Whether ACI takes it as the name of an environment variable. */
export function isName(text: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9_]{0,61}[A-Za-z0-9])?$/.test(text);
}

/** Fields whose texts come from a message: not shown to whoever may read groups. */
const OF_MESSAGE = 'metadata.annotations[';

/**
 * Kubernetes' rules: what `envFrom` brings comes first, later names win, and a value may refer to those before it.
 *
 * @param path the container's, for what is missing
 */
export function environmentOf(
  { env = [], envFrom = [] }: Pick<V1Container, 'env' | 'envFrom'>,
  path: string,
  sources: Sources,
): { readonly variables: ReadonlyMap<string, Text>; readonly missing: readonly Missing[] } {
  const variables = new Map<string, Text>();
  const missing: Missing[] = [];
  for (const [at, { prefix = '', secretRef, configMapRef }] of envFrom.entries()) {
    const name = secretRef?.name ?? configMapRef?.name ?? '';
    const kind = secretRef === undefined ? 'ConfigMap' : 'Secret';
    const keys = secretRef === undefined ? sources.configMap(name) : sources.secret(name);
    if (keys === undefined) {
      if ((secretRef ?? configMapRef)?.optional !== true)
        missing.push({
          field: `${path}.envFrom[${at}]`,
          reason: `there is no ${kind} ${name}. Make it, or correct the name`,
        });
      continue;
    }
    // As Kubernetes does it with keys that cannot be names: ConfigMaps often hold files too.
    for (const [key, value] of Object.entries(keys).filter(([one]) => isName(`${prefix}${one}`)))
      variables.set(
        `${prefix}${key}`,
        secretRef === undefined ? { text: value, secret: false } : { text: decoded(value), secret: true },
      );
  }
  for (const [at, { name, value, valueFrom }] of env.entries()) {
    const field = `${path}.env[${at}]`;
    if (valueFrom === undefined) {
      variables.set(name, expand(value ?? '', variables));
      continue;
    }
    const { fieldRef, secretKeyRef, configMapKeyRef } = valueFrom;
    if (fieldRef !== undefined) {
      const text = sources.field(fieldRef.fieldPath);
      if (text === undefined) missing.push({ field, reason: `${fieldRef.fieldPath} is not known` });
      else variables.set(name, { text, secret: fieldRef.fieldPath.startsWith(OF_MESSAGE) });
      continue;
    }
    const ref = secretKeyRef ?? configMapKeyRef;
    const [kind, all] =
      secretKeyRef === undefined
        ? ['ConfigMap', sources.configMap(ref?.name ?? '')]
        : ['Secret', sources.secret(ref?.name ?? '')];
    const found = all?.[ref?.key ?? ''];
    if (found !== undefined)
      variables.set(
        name,
        secretKeyRef === undefined ? { text: found, secret: false } : { text: decoded(found), secret: true },
      );
    else if (ref?.optional !== true)
      missing.push({
        field,
        reason:
          all === undefined
            ? `there is no ${kind} ${ref?.name}. Make it, or correct the name`
            : `the ${kind} ${ref?.name} has no key ${ref?.key}. Add it, or correct the key`,
      });
  }
  return { variables, missing };
}

/** As ACI takes it. */
export function toAci(variables: ReadonlyMap<string, Text>): readonly EnvironmentVariable[] {
  return [...variables].map(([name, { text, secret }]) =>
    secret ? { name, secureValue: text } : { name, value: text },
  );
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
