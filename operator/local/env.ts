/** A container's environment, made from its spec as the kubelet makes it. Pure. */
import type { Container, LocalPod } from './objects.ts';

/** Secrets or ConfigMaps by name, each with its keys. */
type Sources = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What the environment may refer to. */
export interface EnvSources {
  readonly secrets?: Sources;
  readonly configMaps?: Sources;
}

/** A reference leads nowhere: the container stays `CreateContainerConfigError` with this message. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError';
}

/**
 * The container's variables. Plain values may refer to variables before them, and to those from `envFrom`, by `$(NAME)`; values that come
 * by reference are taken as they are.
 *
 * @throws ContainerConfigError for a Secret, ConfigMap or key that is not there and not optional
 */
export function environmentOf(container: Container, pod: LocalPod, sources: EnvSources): Record<string, string> {
  const env = new Map<string, string>();
  for (const { prefix, secretRef, configMapRef } of container.envFrom) {
    for (const [ref, kind] of [
      [configMapRef, 'configmap'],
      [secretRef, 'secret'],
    ] as const) {
      if (ref === undefined) continue;
      for (const [key, value] of Object.entries(find(kind, ref, sources) ?? {})) env.set(prefix + key, value);
    }
  }
  for (const { name, value, valueFrom } of container.env) {
    const found = valueFrom === undefined ? expand(value, env) : referred(valueFrom, pod, sources);
    if (found !== undefined) env.set(name, found);
  }
  return Object.fromEntries(env);
}

/** Replaces `$(NAME)` by the variable's value and `$$` by `$`; a reference to an unknown name stays as it is. */
export function expand(text: string, env: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (reference, name: string | undefined) =>
    name === undefined ? '$' : (env.get(name) ?? reference),
  );
}

type ValueFrom = NonNullable<Container['env'][number]['valueFrom']>;

/** The value; undefined for an optional one that is not there. */
function referred(valueFrom: ValueFrom, pod: LocalPod, sources: EnvSources): string | undefined {
  const { fieldRef, secretKeyRef, configMapKeyRef } = valueFrom;
  if (fieldRef !== undefined) return field(pod, fieldRef.fieldPath);
  if (secretKeyRef !== undefined) return keyOf('secret', secretKeyRef, pod, sources);
  if (configMapKeyRef !== undefined) return keyOf('configmap', configMapKeyRef, pod, sources);
  throw new ContainerConfigError(
    'the local store knows no other valueFrom than fieldRef, secretKeyRef, configMapKeyRef',
  );
}

function field({ metadata }: LocalPod, path: string): string {
  const [, map, key = ''] = /^metadata\.(annotations|labels)\['([^']*)'\]$/.exec(path) ?? [];
  if (map === 'annotations') return metadata.annotations[key] ?? '';
  if (map === 'labels') return metadata.labels[key] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace;
    case 'metadata.uid':
      return metadata.uid;
    default:
      throw new ContainerConfigError(`field path "${path}" is not known to the local store`);
  }
}

interface Ref {
  readonly name: string;
  readonly optional: boolean;
}

function keyOf(
  kind: 'secret' | 'configmap',
  ref: Ref & { readonly key: string },
  pod: LocalPod,
  sources: EnvSources,
): string | undefined {
  const entries = find(kind, ref, sources);
  const value = entries?.[ref.key];
  if (value !== undefined || ref.optional) return value;
  const what = kind === 'secret' ? 'Secret' : 'ConfigMap';
  throw new ContainerConfigError(`couldn't find key ${ref.key} in ${what} ${pod.metadata.namespace}/${ref.name}`);
}

function find(
  kind: 'secret' | 'configmap',
  { name, optional }: Ref,
  { secrets = {}, configMaps = {} }: EnvSources,
): Readonly<Record<string, string>> | undefined {
  const found = (kind === 'secret' ? secrets : configMaps)[name];
  if (found === undefined && !optional) throw new ContainerConfigError(`${kind} "${name}" not found`);
  return found;
}
