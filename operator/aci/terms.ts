/** The configuration's `aci` as the controller needs it. Pure. */
import type { FileConfig } from '../config-schema.ts';
import type { Place } from './translate.ts';

/** Where groups are made now, and how many may be. */
export interface AciTerms {
  /** Resource id of the resource group. */
  readonly resourceGroup: string;
  readonly place: Omit<Place, 'logAnalytics'>;
  /** The workspace's key is read from its Secret when a group is made. */
  readonly logAnalytics:
    | { readonly workspaceId: string; readonly workspaceKey: { readonly name: string; readonly key: string } }
    | undefined;
  readonly limits: { readonly groups: number; readonly per5Minutes: number; readonly perHour: number };
}

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
