/** A chart's values file as what the chart makes of it: the operator's configuration file under `config`. */

/** What values.yaml of the chart gives to values that are not set; chart-values.test.ts holds it to that file. */
export const CHART_DEFAULTS = {
  taskTypes: { echo: {}, 'document-processing': {} },
  storage: { existingSecret: '', access: 'connection-string', key: '', taskTypes: ['document-processing'] },
} as const;

const CONNECTION_STRING = 'AZURE_STORAGE_CONNECTION_STRING';

/** True for a chart's values: a configuration file has no `config`. */
export function isChartValues(raw: unknown): raw is Readonly<Record<string, unknown>> & { readonly config: unknown } {
  return isMapping(raw) && 'config' in raw;
}

/**
 * The configuration that the chart mounts for some values, as its template `slipway.config` makes it: values are laid over the chart's own,
 * a null takes one away, and the types of `storage.taskTypes` get the connection string by reference.
 */
export function configOfValues(values: { readonly config: unknown; readonly storage?: unknown }): unknown {
  if (!isMapping(values.config)) return values.config;
  const taskTypes = overlay(CHART_DEFAULTS.taskTypes, values.config['taskTypes'] ?? {});
  const storage = isMapping(values.storage) ? overlay(CHART_DEFAULTS.storage, values.storage) : CHART_DEFAULTS.storage;
  const { access, existingSecret, key, taskTypes: named } = storage as Readonly<Record<string, unknown>>;
  const config = { ...withoutNulls(values.config), taskTypes };
  if (access !== 'connection-string' || !isMapping(taskTypes) || !Array.isArray(named)) return config;
  // Without a Secret's name the chart would refuse the values; the configuration alone can be judged all the same.
  const secretKeyRef = { name: String(existingSecret || 'storage.existingSecret'), key: String(key || access) };
  const entry = { name: CONNECTION_STRING, valueFrom: { secretKeyRef } };
  return {
    ...config,
    taskTypes: Object.fromEntries(
      Object.entries(taskTypes).map(([type, settings]) => [
        type,
        named.includes(type) && isMapping(settings) ? withEnv(settings, entry) : settings,
      ]),
    ),
  };
}

function withEnv(settings: Readonly<Record<string, unknown>>, entry: { readonly name: string }): unknown {
  const env: unknown = settings['env'] ?? [];
  if (!Array.isArray(env) || env.some((one) => isMapping(one) && one['name'] === entry.name)) return settings;
  return { ...settings, env: [...env, entry] };
}

/** Helm's way of laying values over others: mappings merge, anything else replaces, null removes. */
function overlay(under: unknown, over: unknown): unknown {
  if (!isMapping(under) || !isMapping(over)) return over;
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete merged[key];
    else merged[key] = key in under ? overlay(under[key], value) : value;
  }
  return merged;
}

function withoutNulls(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
