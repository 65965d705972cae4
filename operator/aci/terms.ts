/** The configuration's `aci` as the controller needs it. Pure. */
import type { FileConfig } from '../config-schema.ts';
import type { AciTerms } from './controller.ts';

/** Undefined for a configuration without it. */
export function aciTerms({ aci }: Pick<FileConfig, 'aci'>): AciTerms | undefined {
  if (aci === undefined) return undefined;
  const { subscriptionId, resourceGroup, limits, logAnalytics, endpoint: _, ...place } = aci;
  return {
    resourceGroup: `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}`,
    place,
    limits,
    logAnalytics,
  };
}
