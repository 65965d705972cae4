/**
 * What the service refuses though its description does not say so. Each rule is documented by Microsoft (container groups: resource and
 * quota limits, naming rules for Azure resources, troubleshooting) or was reported from the field; none was tried on the service itself.
 */
import { faultsOf } from '#/testing/arm/description.ts';

/** A refusal: HTTP 400 with this code. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
}

interface Container {
  readonly name: string;
  readonly properties: {
    readonly image?: string;
    readonly command?: readonly string[];
    readonly environmentVariables?: readonly { name: string; value?: string; secureValue?: string }[];
    readonly volumeMounts?: readonly { name: string; mountPath: string }[];
    readonly resources?: { readonly requests: { readonly cpu: number; readonly memoryInGB: number } };
    readonly ports?: readonly { readonly port: number }[];
  };
}

/** The parts of a group's body that are looked at, once it fits the description. */
export interface GroupBody {
  readonly location?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly identity?: { readonly type?: string; readonly userAssignedIdentities?: Readonly<Record<string, unknown>> };
  readonly properties: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly volumes?: readonly { readonly name: string; readonly secret?: Readonly<Record<string, string>> }[];
    readonly imageRegistryCredentials?: readonly { readonly server: string; readonly identity?: string }[];
    readonly subnetIds?: readonly unknown[];
    readonly priority?: string;
    readonly restartPolicy?: string;
    readonly osType: string;
  };
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const ENVIRONMENT_NAME = /^[A-Za-z0-9]([A-Za-z0-9_]{0,61}[A-Za-z0-9])?$/;
const VOLUME_NAME = /^(?!.*--)[a-z0-9][a-z0-9-]{3,61}[a-z0-9]$/;
const RESERVED_PORTS: readonly (readonly [from: number, to: number])[] = [
  [22, 22],
  [1025, 1027],
  [3389, 3399],
  [9999, 9999],
  [19000, 19000],
  [19080, 19080],
  [19100, 19100],
  [19390, 19390],
  [20000, 30000],
  [49152, 65534],
];

/** Why the service refuses a group; undefined when it takes it. */
export function refusalOf(name: string, body: unknown): Refusal | undefined {
  const [fault] = faultsOf('ContainerGroup', 'request', body);
  if (fault !== undefined) return { code: 'InvalidRequestContent', message: fault };
  const { properties, tags = {}, identity } = body as GroupBody;
  const { containers, initContainers = [], volumes = [], imageRegistryCredentials = [] } = properties;
  const all = [...containers, ...initContainers];
  const refuse = (code: string, message: string): Refusal => ({ code, message });
  if (!NAME.test(name)) return refuse('InvalidContainerGroupName', `the name '${name}'`);
  if ((body as GroupBody).location === undefined) return refuse('LocationRequired', 'the location is missing');
  if (Object.keys(tags).length > 50 || Object.values(tags).some((value) => value.length > 256))
    return refuse('InvalidTag', 'at most 50 tags of at most 256 characters');
  if (Object.keys(tags).some((key) => /[<>%&\\?/]/.test(key) || key.length > 512))
    return refuse('InvalidTagNameCharacters', 'a tag name has one of < > % & \\ ? /');
  if (containers.length === 0 || containers.length > 60) return refuse('InvalidContainerCount', `${containers.length}`);
  if (initContainers.length > 59) return refuse('InvalidInitContainerCount', `${initContainers.length}`);
  if (volumes.length > 20) return refuse('InvalidVolumeCount', `${volumes.length}`);
  for (const container of all) {
    if (!NAME.test(container.name)) return refuse('InvalidContainerName', `the container '${container.name}'`);
    for (const { name: variable, value, secureValue } of container.properties.environmentVariables ?? []) {
      if (!ENVIRONMENT_NAME.test(variable))
        return refuse('InvalidContainerEnvironmentVariable', `the variable '${variable}'`);
      if ((value === undefined) === (secureValue === undefined))
        return refuse('InvalidContainerEnvironmentVariable', `'${variable}' needs one of value and secureValue`);
    }
    for (const mount of container.properties.volumeMounts ?? []) {
      if (!volumes.some((volume) => volume.name === mount.name))
        return refuse('VolumeMountNotFound', `there is no volume '${mount.name}'`);
      if (mount.mountPath.includes(':')) return refuse('InvalidVolumeMountPath', mount.mountPath);
    }
    for (const { port } of container.properties.ports ?? [])
      if (RESERVED_PORTS.some(([from, to]) => port >= from && port <= to)) return refuse('ReservedPort', `${port}`);
  }
  for (const { name: volume, secret } of volumes) {
    if (!VOLUME_NAME.test(volume)) return refuse('InvalidVolumeName', `the volume '${volume}'`);
    for (const [file, content] of Object.entries(secret ?? {}))
      if (file.includes('/') || Buffer.from(content, 'base64').toString('base64') !== content)
        return refuse('InvalidSecretVolume', `the file '${file}' of the volume '${volume}'`);
  }
  for (const { properties: own } of containers) {
    const { cpu, memoryInGB } = own.resources?.requests ?? { cpu: 0, memoryInGB: 0 };
    if (cpu <= 0 || memoryInGB <= 0 || !isStep(cpu, 100) || !isStep(memoryInGB, 10))
      return refuse('InvalidResourceRequest', `${cpu} CPU, ${memoryInGB} GB: steps are 0.01 and 0.1`);
  }
  const sum = (of: 'cpu' | 'memoryInGB') =>
    containers.reduce((total, { properties: own }) => total + (own.resources?.requests[of] ?? 0), 0);
  if (sum('cpu') < 1 || sum('memoryInGB') < 1 || sum('cpu') > 31 || sum('memoryInGB') > 240)
    return refuse('ResourceRequestsOutOfRange', `${sum('cpu')} CPU, ${sum('memoryInGB')} GB for the group`);
  for (const { server, identity: puller } of imageRegistryCredentials) {
    const known = Object.keys(identity?.userAssignedIdentities ?? {});
    if (puller !== undefined && !known.includes(puller))
      return refuse('InvalidImageRegistryIdentity', `the identity for ${server} is none of the group's`);
  }
  if (properties.priority === 'Spot' && (properties.subnetIds ?? []).length > 0)
    return refuse('SpotPriorityNotSupported', 'Spot groups have no virtual network');
  return undefined;
}

function isStep(value: number, parts: number): boolean {
  return Math.abs(value * parts - Math.round(value * parts)) < 1e-6;
}
