/**
 * What of a pod template Azure Container Instances cannot do. Found when the configuration is read, so that a type that could never run
 * is paused before any message is taken, and nothing that somebody asked for is left out in silence. Pure.
 */
import type { V1Container, V1PodSpec, V1PodTemplateSpec, V1Volume } from '@kubernetes/client-node';
import { TASK_CONTAINER } from '../../contract/identity.ts';
import { isName } from './environment.ts';
import { groupSize, MOST_CPU, MOST_DISK_GB, MOST_MEMORY_GB } from './size.ts';
import { volumeName } from './volumes.ts';

/** Something that ACI cannot do. */
export interface Obstacle {
  /** Its path in the pod template, such as `spec.volumes[0].hostPath`. */
  readonly field: string;
  /** Why, and what to do instead. */
  readonly reason: string;
}

/** The service's own limits (resource and quota limits, 2025-11). */
const MOST_VOLUMES = 20;
const MOST_INIT_CONTAINERS = 59;
const CONTAINER_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Paths of the fieldRefs that have a value without a pod. */
const FIELDS = /^metadata\.(name|namespace|uid|(annotations|labels)\['[^']+'\])$/;

/** All obstacles, in the order of the template. */
export function obstaclesOf({ spec }: V1PodTemplateSpec): readonly Obstacle[] {
  if (spec === undefined) return [{ field: 'spec', reason: 'is missing' }];
  const task = spec.containers.find(({ name }) => name === TASK_CONTAINER);
  return [
    ...ofPod(spec),
    ...spec.containers.flatMap((container, at) => [
      ...(container.name === TASK_CONTAINER
        ? []
        : [
            obstacle(
              `spec.containers[${at}]`,
              `"${container.name}" would run beside the task, and the group would not end with it. Make it an init container, or part of the task's image`,
            ),
          ]),
      ...ofContainer(container, `spec.containers[${at}]`),
    ]),
    ...(spec.initContainers ?? []).flatMap((container, at) => {
      const path = `spec.initContainers[${at}]`;
      const sidecar = container.restartPolicy === undefined ? [] : [obstacle(`${path}.restartPolicy`, SIDECAR)];
      return [...sidecar, ...ofContainer(container, path)];
    }),
    ...(spec.volumes ?? []).flatMap((volume, at) => ofVolume(volume, `spec.volumes[${at}]`)),
    ...(task === undefined ? [] : ofSize(task, `spec.containers[${spec.containers.indexOf(task)}].resources`)),
    ...ofCounts(spec),
  ];
}

const SIDECAR = 'makes it a sidecar, which ACI has not. Make it an init container that ends, or part of the task image';

function obstacle(field: string, reason: string): Obstacle {
  return { field, reason };
}

/** Fields of the pod that must not be set, with what to do instead. */
const POD: { readonly [field in keyof V1PodSpec]?: string } = {
  affinity: 'ACI has no nodes. Remove it for this type',
  nodeSelector: 'ACI has no nodes. Remove it for this type',
  nodeName: 'ACI has no nodes. Remove it for this type',
  topologySpreadConstraints: 'ACI has no nodes. Remove it for this type',
  runtimeClassName: 'ACI has no runtime classes: each group has a virtual machine of its own. Remove it for this type',
  serviceAccountName:
    'a task on ACI has no Kubernetes identity. Remove it for this type, and give the group an Azure identity (aci.identities)',
  hostNetwork: 'a group has no host. Remove it, or run this type on Kubernetes',
  hostPID: 'a group has no host. Remove it, or run this type on Kubernetes',
  hostIPC: 'a group has no host. Remove it, or run this type on Kubernetes',
  hostAliases: 'ACI cannot add to /etc/hosts. Use names that DNS knows',
  shareProcessNamespace: 'containers of a group have process namespaces of their own. Remove it',
  dnsConfig: 'is not translated. Remove it, or run this type on Kubernetes',
  resourceClaims: 'ACI has no dynamic resources. Run this type on Kubernetes',
};

function ofPod(spec: V1PodSpec): readonly Obstacle[] {
  const found = Object.entries(POD).flatMap(([field, reason]) =>
    isSet(spec[field as keyof V1PodSpec]) ? [obstacle(`spec.${field}`, reason)] : [],
  );
  if (spec.automountServiceAccountToken === true)
    found.push(
      obstacle(
        'spec.automountServiceAccountToken',
        'there is no service account token on ACI. Set it to false, and give the group an Azure identity (aci.identities)',
      ),
    );
  return found;
}

/** Fields of a container that must not be set. */
const CONTAINER: { readonly [field in keyof V1Container]?: string } = {
  livenessProbe: 'a task is ended by its time limit alone. Remove it',
  readinessProbe: 'nothing connects to a task. Remove it',
  startupProbe: 'a task is ended by its time limit alone. Remove it',
  lifecycle: 'ACI has no hooks. Do it in the command',
  volumeDevices: 'ACI has no block devices. Use an emptyDir of at most 50 GB',
  stdin: 'nobody writes to a task. Remove it',
  tty: 'a task has no terminal. Remove it',
  workingDir: 'ACI starts in the directory of the image. Set WORKDIR there, or change directory in the command',
};

function ofContainer(container: V1Container, path: string): readonly Obstacle[] {
  const { name, args, command, env = [], envFrom = [], securityContext, volumeMounts = [], resources } = container;
  const found = Object.entries(CONTAINER).flatMap(([field, reason]) =>
    isSet(container[field as keyof V1Container]) ? [obstacle(`${path}.${field}`, reason)] : [],
  );
  const say = (field: string, reason: string) => found.push(obstacle(`${path}.${field}`, reason));
  if (!CONTAINER_NAME.test(name)) say('name', `"${name}" must be at most 63 lower-case letters, digits and hyphens`);
  if (args !== undefined && command === undefined)
    say(
      'args',
      "ACI's command replaces the image's entry point and arguments together. Set command too, with the image's entry point",
    );
  if (securityContext?.privileged === true) say('securityContext.privileged', 'ACI has no privileged containers');
  if ((securityContext?.capabilities?.add ?? []).length > 0)
    say('securityContext.capabilities.add', 'ACI adds no capabilities. Remove it, or run this type on Kubernetes');
  for (const [at, one] of env.entries()) {
    const field = one.valueFrom?.fieldRef?.fieldPath;
    if (!isName(one.name))
      say(`env[${at}].name`, `"${one.name}" must be at most 63 letters, digits and underscores, none at either end`);
    if (one.valueFrom?.resourceFieldRef !== undefined)
      say(`env[${at}].valueFrom.resourceFieldRef`, 'is not known on ACI. Write the value itself');
    if (field !== undefined && !FIELDS.test(field))
      say(
        `env[${at}].valueFrom.fieldRef`,
        `${field} is not known before the group is made. Use metadata.name, .namespace, .uid, .labels['…'] or .annotations['…']`,
      );
  }
  for (const [at, { prefix }] of envFrom.entries())
    if (prefix?.startsWith('_')) say(`envFrom[${at}].prefix`, `"${prefix}": no name may begin with an underscore`);
  for (const [at, mount] of volumeMounts.entries()) {
    if (isSet(mount.subPath) || isSet(mount.subPathExpr))
      say(
        `volumeMounts[${at}].subPath`,
        'ACI mounts whole volumes. Mount it elsewhere, or name the items of the Secret',
      );
    if (mount.mountPath.includes(':')) say(`volumeMounts[${at}].mountPath`, `"${mount.mountPath}" must have no colon`);
  }
  for (const resource of Object.keys({ ...resources?.requests, ...resources?.limits }))
    if (!['cpu', 'memory', 'ephemeral-storage'].includes(resource))
      say('resources', `${resource} is not to be had on ACI. Run this type on Kubernetes`);
  return found;
}

/** What to do in place of a kind of volume. */
const VOLUMES: { readonly [kind in keyof V1Volume]?: string } = {
  hostPath: 'a group has no host. Use an emptyDir, or Blob storage',
  persistentVolumeClaim: 'ACI mounts no claims. Use Blob storage in the task, or run this type on Kubernetes',
  ephemeral: 'ACI makes no claims. Use an emptyDir of at most 50 GB',
  projected: 'is not translated. Use a volume for each Secret and ConfigMap',
  downwardAPI: 'is not translated. Use environment variables with a fieldRef',
  csi: 'ACI has no CSI drivers. Bring the secret into a Kubernetes Secret (External Secrets does it from Key Vault)',
  image: 'ACI mounts no images. Copy the files in an init container',
};

function ofVolume(volume: V1Volume, path: string): readonly Obstacle[] {
  if (volume.emptyDir !== undefined)
    return volume.emptyDir.medium === 'Memory'
      ? [obstacle(`${path}.emptyDir.medium`, 'ACI has no emptyDir in memory. Remove medium')]
      : [];
  const items = volume.secret?.items ?? volume.configMap?.items ?? [];
  if (volume.secret !== undefined || volume.configMap !== undefined)
    return items.flatMap((item, at) =>
      item.path.includes('/')
        ? [
            obstacle(
              `${path}.${volume.secret === undefined ? 'configMap' : 'secret'}.items[${at}].path`,
              `"${item.path}": a secret volume of ACI has no directories. Use a name without a slash`,
            ),
          ]
        : [],
    );
  const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'name';
  return [
    obstacle(
      `${path}.${kind}`,
      VOLUMES[kind as keyof V1Volume] ?? 'is no volume that ACI has. Use an emptyDir, a Secret or a ConfigMap',
    ),
  ];
}

function ofSize(task: V1Container, path: string): readonly Obstacle[] {
  const { cpu, memoryInGB, diskGB } = groupSize(task.resources);
  const most = 'Ask for less, or run this type on Kubernetes';
  return [
    ...(cpu > MOST_CPU ? [obstacle(`${path}.requests.cpu`, `a group has at most ${MOST_CPU} CPUs. ${most}`)] : []),
    ...(memoryInGB > MOST_MEMORY_GB
      ? [obstacle(`${path}.requests.memory`, `a group has at most ${MOST_MEMORY_GB} GB of memory. ${most}`)]
      : []),
    ...(diskGB > MOST_DISK_GB
      ? [obstacle(`${path}.requests.ephemeral-storage`, `a group has at most ${MOST_DISK_GB} GB of disk. ${most}`)]
      : []),
  ];
}

function ofCounts({ volumes = [], initContainers = [] }: V1PodSpec): readonly Obstacle[] {
  const names = Map.groupBy(volumes, ({ name }) => volumeName(name));
  return [
    ...(volumes.length > MOST_VOLUMES
      ? [obstacle('spec.volumes', `has ${volumes.length}; a group has at most ${MOST_VOLUMES}`)]
      : []),
    ...(initContainers.length > MOST_INIT_CONTAINERS
      ? [obstacle('spec.initContainers', `has ${initContainers.length}; a group has at most ${MOST_INIT_CONTAINERS}`)]
      : []),
    ...[...names.values()].flatMap((alike) =>
      alike.length < 2
        ? []
        : [
            obstacle(
              'spec.volumes',
              `${alike.map(({ name }) => `"${name}"`).join(' and ')} would have one name on ACI. Rename one`,
            ),
          ],
    ),
  ];
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}
