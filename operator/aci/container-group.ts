/**
 * A container group as the service takes it: api-version 2023-05-01 of `Microsoft.ContainerInstance/containerGroups`, reduced to what
 * Slipway writes. The official description is in testing/arm.
 */

/** An environment variable. What is secure is given to the container and never shown again, not even to whoever put it. */
export type EnvironmentVariable =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly secureValue: string };

/** Where a volume is mounted. */
export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

/** A volume. The values of a secret one are base64. */
export type Volume =
  | { readonly name: string; readonly emptyDir: Readonly<Record<string, never>> }
  | { readonly name: string; readonly secret: Readonly<Record<string, string>> };

/** How an image is pulled from a registry: by password, or by a user-assigned identity's resource id. */
export type RegistryCredential =
  | { readonly server: string; readonly username: string; readonly password: string }
  | { readonly server: string; readonly identity: string };

/** A container that runs before the task's. It may use all that the group has. */
export interface InitContainer {
  readonly name: string;
  readonly properties: {
    readonly image: string;
    readonly command?: readonly string[];
    readonly environmentVariables: readonly EnvironmentVariable[];
    readonly volumeMounts: readonly VolumeMount[];
  };
}

/** The task's container. */
export interface Container {
  readonly name: string;
  readonly properties: InitContainer['properties'] & {
    readonly resources: { readonly requests: { readonly cpu: number; readonly memoryInGB: number } };
  };
}

/** A container group. */
export interface ContainerGroup {
  readonly location: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly zones?: readonly string[];
  readonly identity?: {
    readonly type: 'UserAssigned';
    readonly userAssignedIdentities: Readonly<Record<string, Readonly<Record<string, never>>>>;
  };
  readonly properties: {
    readonly osType: 'Linux';
    readonly restartPolicy: 'Never';
    readonly sku: 'Standard';
    readonly priority?: 'Regular' | 'Spot';
    readonly containers: readonly [Container];
    readonly initContainers?: readonly InitContainer[];
    readonly volumes?: readonly Volume[];
    readonly imageRegistryCredentials?: readonly RegistryCredential[];
    readonly subnetIds?: readonly { readonly id: string }[];
    readonly diagnostics?: {
      readonly logAnalytics: { readonly workspaceId: string; readonly workspaceKey: string };
    };
  };
}
