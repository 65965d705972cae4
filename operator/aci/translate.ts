/**
 * A pod template as a container group. Pure; golden-tested. What is left out on purpose: tolerations and priorities (there are no nodes),
 * image pull policies (each group pulls), ports (nothing connects to a task), security contexts (the image's own user runs; each group is
 * a virtual machine of its own), and the pod's time limits, which the controller keeps.
 */
import type { V1Container, V1PodSpec, V1PodTemplateSpec, V1Volume } from '@kubernetes/client-node';
import { z } from 'zod';
import { tryParseJson } from '../../lib/json.ts';
import { mapValues } from '../../lib/map-values.ts';
import type {
  Container,
  ContainerGroup,
  InitContainer,
  RegistryCredential,
  Volume,
  VolumeMount,
} from './container-group.ts';
import { environmentOf, type Missing, type Sources, toAci } from './environment.ts';
import { expand } from './expand.ts';
import { groupSize } from './size.ts';
import { volumeName } from './volumes.ts';

/** Where groups are made, and what all of them have. */
export interface Place {
  readonly location: string;
  /** Resource ids of user-assigned identities that the task may use. */
  readonly identities: readonly string[];
  /** Registries whose images an identity pulls: server and the identity's resource id. */
  readonly registries: readonly { readonly server: string; readonly identity: string }[];
  readonly subnetId?: string | undefined;
  readonly zone?: string | undefined;
  readonly priority?: 'Regular' | 'Spot' | undefined;
  readonly logAnalytics?: { readonly workspaceId: string; readonly workspaceKey: string } | undefined;
}

/** The group, or what the template refers to and is not there. */
export type Translation =
  | { readonly kind: 'group'; readonly group: ContainerGroup }
  | { readonly kind: 'incomplete'; readonly missing: readonly Missing[] };

/**
 * Translates a template that has no obstacles (see obstacles.ts).
 *
 * @param tags of the group: at most 50, each value at most 256 characters
 */
export function translate(
  { spec }: V1PodTemplateSpec,
  place: Place,
  tags: Readonly<Record<string, string>>,
  sources: Sources,
): Translation {
  const missing: Missing[] = [];
  const pod: V1PodSpec = spec ?? { containers: [] };
  const mounts = new Set((pod.volumes ?? []).map(({ name }) => name));
  const plain = (container: V1Container, path: string) => {
    const { properties, missing: more } = containerOf(container, path, sources, mounts);
    missing.push(...more);
    return properties;
  };
  const containers = pod.containers.map(
    (container, at): Container => ({
      name: container.name,
      properties: {
        ...plain(container, `spec.containers[${at}]`),
        resources: { requests: requestsOf(container) },
      },
    }),
  );
  const initContainers = (pod.initContainers ?? []).map(
    (container, at): InitContainer => ({
      name: container.name,
      properties: plain(container, `spec.initContainers[${at}]`),
    }),
  );
  const volumes = (pod.volumes ?? []).flatMap((volume, at) => {
    const made = volumeOf(volume, `spec.volumes[${at}]`, sources);
    missing.push(...made.missing);
    return made.volume === undefined ? [] : [made.volume];
  });
  const credentials = credentialsOf(pod, place, sources);
  missing.push(...credentials.missing);
  const [task] = containers;
  if (task === undefined) missing.push({ field: 'spec.containers', reason: 'has no container' });
  if (task === undefined || missing.length > 0) return { kind: 'incomplete', missing };
  const identities = [...new Set([...place.identities, ...place.registries.map(({ identity }) => identity)])];
  return {
    kind: 'group',
    group: {
      location: place.location,
      tags,
      ...(place.zone === undefined ? {} : { zones: [place.zone] }),
      ...(identities.length === 0
        ? {}
        : {
            identity: {
              type: 'UserAssigned',
              userAssignedIdentities: Object.fromEntries(identities.map((id) => [id, {}])),
            },
          }),
      properties: {
        osType: 'Linux',
        restartPolicy: 'Never',
        sku: 'Standard',
        ...(place.priority === undefined ? {} : { priority: place.priority }),
        containers: [task],
        ...(initContainers.length === 0 ? {} : { initContainers }),
        ...(volumes.length === 0 ? {} : { volumes }),
        ...(credentials.all.length === 0 ? {} : { imageRegistryCredentials: credentials.all }),
        ...(place.subnetId === undefined ? {} : { subnetIds: [{ id: place.subnetId }] }),
        ...(place.logAnalytics === undefined ? {} : { diagnostics: { logAnalytics: place.logAnalytics } }),
      },
    },
  };
}

function containerOf(
  container: V1Container,
  path: string,
  sources: Sources,
  mountable: ReadonlySet<string>,
): { readonly properties: InitContainer['properties']; readonly missing: readonly Missing[] } {
  const { image = '', command, args = [], volumeMounts = [] } = container;
  const { variables, missing } = environmentOf(container, path, sources);
  const expanded = command && [...command, ...args].map((part) => expand(part, variables));
  const told = (expanded ?? []).some(({ secret }) => secret);
  return {
    properties: {
      image,
      ...(expanded === undefined ? {} : { command: expanded.map(({ text }) => text) }),
      environmentVariables: toAci(variables),
      volumeMounts: volumeMounts
        .filter(({ name }) => mountable.has(name))
        .map(
          ({ name, mountPath, readOnly }): VolumeMount => ({
            name: volumeName(name),
            mountPath,
            ...(readOnly === true ? { readOnly } : {}),
          }),
        ),
    },
    missing: told
      ? [
          ...missing,
          {
            field: `${path}.command`,
            reason:
              'has $(NAME) of a secret or of the message, and ACI shows commands to whoever may read groups. Read the environment variable in the program',
          },
        ]
      : missing,
  };
}

function requestsOf({ resources }: V1Container): Container['properties']['resources']['requests'] {
  const { cpu, memoryInGB } = groupSize(resources);
  return { cpu, memoryInGB };
}

function volumeOf(
  { name, secret, configMap }: V1Volume,
  path: string,
  sources: Sources,
): { readonly volume: Volume | undefined; readonly missing: readonly Missing[] } {
  if (secret === undefined && configMap === undefined)
    return { volume: { name: volumeName(name), emptyDir: {} }, missing: [] };
  const [kind, of] = secret === undefined ? ['ConfigMap', configMap?.name ?? ''] : ['Secret', secret.secretName ?? ''];
  const { items, optional } = (secret ?? configMap) as NonNullable<V1Volume['secret']>;
  const texts = secret === undefined ? sources.configMap(of) : undefined;
  const keys = secret === undefined ? texts && mapValues(texts, encoded) : sources.secret(of);
  if (keys === undefined)
    return optional === true
      ? { volume: { name: volumeName(name), emptyDir: {} }, missing: [] }
      : {
          volume: undefined,
          missing: [{ field: path, reason: `there is no ${kind} ${of}. Make it, or correct the name` }],
        };
  const chosen = items ?? Object.keys(keys).map((key) => ({ key, path: key }));
  const missing = chosen
    .filter(({ key }) => keys[key] === undefined && optional !== true)
    .map(({ key }) => ({ field: path, reason: `the ${kind} ${of} has no key ${key}. Add it, or correct the key` }));
  const files = chosen.flatMap(({ key, path: file }) => {
    const bytes = keys[key];
    return bytes === undefined ? [] : [[file, bytes] as const];
  });
  return { volume: { name: volumeName(name), secret: Object.fromEntries(files) }, missing };
}

const dockerConfigSchema = z.object({
  auths: z.record(
    z.string(),
    z.object({ username: z.string().optional(), password: z.string().optional(), auth: z.string().optional() }),
  ),
});

/** By identity where one is named for the registry; else as the pull secrets say. */
function credentialsOf(
  { imagePullSecrets = [] }: V1PodSpec,
  { registries }: Place,
  { secret }: Sources,
): { readonly all: readonly RegistryCredential[]; readonly missing: readonly Missing[] } {
  const missing: Missing[] = [];
  const all = new Map<string, RegistryCredential>(registries.map((registry) => [registry.server, registry]));
  for (const [at, { name = '' }] of imagePullSecrets.entries()) {
    const field = `spec.imagePullSecrets[${at}]`;
    const text = secret(name)?.['.dockerconfigjson'];
    const parsed = dockerConfigSchema.safeParse(tryParseJson(Buffer.from(text ?? '', 'base64').toString('utf8')));
    if (!parsed.success) {
      missing.push({
        field,
        reason: `there is no Secret ${name} of the type kubernetes.io/dockerconfigjson. Make it (kubectl create secret docker-registry), or correct the name`,
      });
      continue;
    }
    for (const [url, { username, password, auth }] of Object.entries(parsed.data.auths)) {
      const server = serverOf(url);
      const [user, ...rest] = Buffer.from(auth ?? '', 'base64')
        .toString('utf8')
        .split(':');
      const credential = { server, username: username ?? user ?? '', password: password ?? rest.join(':') };
      if (!all.has(server)) all.set(server, credential);
    }
  }
  return { all: [...all.values()], missing };
}

/** Docker's own registry stands in such files under an address that no image names. */
function serverOf(url: string): string {
  const server = url.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return server === 'index.docker.io' ? 'docker.io' : server;
}

function encoded(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
