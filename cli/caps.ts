/** The caps on running tasks, as a configuration gives them for one task. */
import { type Config, clientSettings, type Source, type TaskPolicy } from '../operator/config.ts';

/** A cap and what it is about: everything, one client's tasks, or one type's. */
export interface Cap {
  readonly scope: 'all' | 'client' | 'type';
  /** The client or the configured type; '' for all. */
  readonly name: string;
  readonly max: number;
  /** The setting, by its place in the configuration file. */
  readonly setting: string;
}

/** The caps that a task of this source and policy is under. */
export function capsOf(config: Config, { client }: Source, { type, maxRunning }: TaskPolicy): readonly Cap[] {
  const { limits } = config.file;
  const own = clientSettings(config, client)?.maxRunning;
  const ofClient = own ?? limits.maxRunningPerClient;
  return [
    { scope: 'all', name: '', max: limits.maxRunning, setting: 'limits.maxRunning' },
    ...(ofClient === undefined
      ? []
      : [
          {
            scope: 'client' as const,
            name: client,
            max: ofClient,
            setting: own === undefined ? 'limits.maxRunningPerClient' : `clients, for ${client}: maxRunning`,
          },
        ]),
    ...(maxRunning === undefined
      ? []
      : [{ scope: 'type' as const, name: type, max: maxRunning, setting: `taskTypes.${type}.maxRunning` }]),
  ];
}
