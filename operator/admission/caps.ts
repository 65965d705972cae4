/** The caps of a configuration. */
import { LABEL } from '../../contract/identity.ts';
import { type Config, clientSettings, policyFor } from '../config.ts';
import type { Caps } from './slots.ts';

/** Reads them. A Job counts for the task type that its label falls under now, whatever it was made under. */
export function capsOf(config: Pick<Config, 'file' | 'policies'>): Caps {
  const { maxRunning, maxRunningPerClient = Number.POSITIVE_INFINITY, maxHeldPerQueue } = config.file.limits;
  const typesHaveCaps = [...config.policies.values()].some((policy) => policy.maxRunning !== undefined);
  return {
    total: maxRunning,
    ofClient: (client) => clientSettings(config, client)?.maxRunning ?? maxRunningPerClient,
    ofType: (type) => config.policies.get(type)?.maxRunning ?? Number.POSITIVE_INFINITY,
    // Without a type at its cap none is held; then it does not bound what is received at once either.
    heldPerQueue: typesHaveCaps ? maxHeldPerQueue : Number.POSITIVE_INFINITY,
    typeOf: ({ labels }) => policyFor(config, labels[LABEL.taskType] ?? '')?.type,
  };
}
