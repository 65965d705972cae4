/** A configuration file as the operator would judge it, without its environment. */
import { parse, stringify } from 'yaml';
import { type Config, ConfigError, parseConfig } from '../operator/config.ts';
import { configOfValues, isChartValues } from './chart-values.ts';

/** What stands for the operator's environment, of which a configuration file knows nothing. */
export interface AssumedEnvironment {
  /** The storage account's name. */
  readonly account: string;
  readonly namespace: string;
}

/** A good configuration, or all that is wrong with it. */
export type ReadConfig =
  | { readonly kind: 'good'; readonly form: Form; readonly config: Config }
  | { readonly kind: 'wrong'; readonly form: Form; readonly problems: readonly string[] };

/** Whether the text was the operator's file itself or a chart's values file. */
export type Form = 'config' | 'values';

/** For a configuration whose namespace and account are of no consequence. */
export const ANY_ENVIRONMENT: AssumedEnvironment = { account: 'account', namespace: 'namespace' };

/**
 * Judges a configuration file or a chart's values file.
 *
 * @param path the file's name, for messages
 */
export function readConfig(text: string, path: string, { account, namespace }: AssumedEnvironment): ReadConfig {
  const values = chartValues(text);
  const form = values === undefined ? 'config' : 'values';
  const env = {
    AZURE_STORAGE_CONNECTION_STRING: `AccountName=${account};AccountKey=AA==`,
    SLIPWAY_NAMESPACE: namespace,
  };
  try {
    const config =
      values === undefined ? parseConfig(text, env, path) : parseConfig(stringify(values), env, `${path} under config`);
    return { kind: 'good', form, config };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { kind: 'wrong', form, problems: error.problems };
  }
}

/** The configuration in a chart's values file; undefined when the text is none, or no YAML: then the operator's own reader says what it is. */
function chartValues(text: string): unknown {
  try {
    const raw: unknown = parse(text);
    return isChartValues(raw) ? (configOfValues(raw) ?? {}) : undefined;
  } catch {
    return undefined;
  }
}
