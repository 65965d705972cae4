/** What a fieldRef stands for where there is no pod: a function of the Job and its template. */
import type { V1PodTemplateSpec } from '@kubernetes/client-node';

/** The object that there would be. */
export interface Named {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
}

/** The field's text; undefined for a field that is not known. A label or annotation that is not there is '', as in Kubernetes. */
export function fieldOf({ metadata }: V1PodTemplateSpec, named: Named, path: string): string | undefined {
  const [, kind, key = ''] = /^metadata\.(annotations|labels)\['([^']+)'\]$/.exec(path) ?? [];
  if (kind === 'annotations') return metadata?.annotations?.[key] ?? '';
  if (kind === 'labels') return metadata?.labels?.[key] ?? '';
  if (path === 'metadata.name') return named.name;
  if (path === 'metadata.namespace') return named.namespace;
  return path === 'metadata.uid' ? named.uid : undefined;
}
