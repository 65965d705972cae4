/** The rights that the operator needs for a configuration. Pure. */
import type { Config, TaskPolicy } from '../../operator/config.ts';
import { policyOfClient } from '../../operator/config.ts';
import { ACI_PERMISSIONS, PERMISSIONS } from '../../operator/permissions.ts';
import type { NeededRight } from './may.ts';

/** Where tasks run on Azure Container Instances, the Secrets and ConfigMaps that they refer to are among them, each by its name. */
export function neededRights(config: Config | undefined): readonly NeededRight[] {
  const policies = [...(config?.policies.values() ?? [])].filter(({ backend }) => backend === 'aci');
  if (config === undefined || policies.length === 0) return PERMISSIONS;
  const clients = Object.values(config.file.clients);
  const all = policies.flatMap((policy) => [policy, ...clients.map((client) => policyOfClient(policy, client))]);
  const named = (resource: string, names: readonly string[]) =>
    [...new Set(names)].toSorted().map((name): NeededRight => ({ group: '', resource, verbs: ['get'], name }));
  return [
    ...PERMISSIONS,
    ...ACI_PERMISSIONS.filter(({ namedBy }) => namedBy === undefined),
    ...named('secrets', all.flatMap(secretsOf)),
    ...named('configmaps', all.flatMap(configMapsOf)),
  ];
}

function secretsOf({ env, envFrom, imagePullSecrets, webhookSettings, runner }: TaskPolicy): readonly string[] {
  const signing = runner === 'slipway' ? webhookSettings.signingSecret : undefined;
  return [
    ...env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? []),
    ...envFrom.flatMap(({ secretRef }) => secretRef?.name ?? []),
    ...imagePullSecrets,
    ...(signing === undefined ? [] : [signing.name]),
  ];
}

function configMapsOf({ env, envFrom }: TaskPolicy): readonly string[] {
  return [
    ...env.flatMap(({ valueFrom }) => valueFrom?.configMapKeyRef?.name ?? []),
    ...envFrom.flatMap(({ configMapRef }) => configMapRef?.name ?? []),
  ];
}
