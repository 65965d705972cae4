/** `slipway explain --format arm`: the container group that a task would get, to try it by hand. */
import type { V1Job } from '@kubernetes/client-node';
import { ANNOTATION, TAG } from '../contract/identity.ts';
import { armTemplate } from '../operator/aci/arm-template.ts';
import { obstaclesOf } from '../operator/aci/obstacles.ts';
import type { FileConfig } from '../operator/config-schema.ts';

/** The template as JSON, with what was left out of it; or why there is none. */
export type ArmExplanation =
  | { readonly text: string; readonly leftOut: readonly string[] }
  | { readonly problems: readonly string[] };

/** Renders it. */
export function explainArm(job: V1Job, aci: FileConfig['aci']): ArmExplanation {
  if (aci === undefined)
    return {
      problems: [
        'the configuration has no aci: set aci.subscriptionId, aci.resourceGroup and aci.location to where the group is to be made',
      ],
    };
  const obstacles = obstaclesOf(job.spec?.template ?? {});
  if (obstacles.length > 0)
    return { problems: obstacles.map(({ field, reason }) => `the pod template's ${field}: ${reason}`) };
  const { logAnalytics: _, ...place } = aci;
  const tags = { [TAG.message]: job.metadata?.annotations?.[ANNOTATION.messageId] ?? '' };
  const rendered = armTemplate(job, place, tags);
  if (rendered.kind === 'incomplete')
    return { problems: rendered.missing.map(({ field, reason }) => `the pod template's ${field}: ${reason}`) };
  return {
    text: `${JSON.stringify(rendered.template, undefined, 2)}\n`,
    leftOut: [
      ...rendered.leftOut,
      ...(aci.logAnalytics === undefined ? [] : ['aci.logAnalytics: its key would stand in the template']),
    ],
  };
}
