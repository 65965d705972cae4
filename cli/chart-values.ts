/** A chart's values file as what the chart makes of it: the operator's configuration file under `config`. */

/** What values.yaml of the chart gives to values that are not set; chart-values.test.ts holds it to that file. */
export const CHART_DEFAULTS = {
  taskTypes: { echo: {}, 'document-processing': {} },
  storage: { existingSecret: '', access: 'connection-string', key: '', taskTypes: ['document-processing'] },
} as const;

/** What a values file cannot tell: the release's name. Only a name is judged, and any will do. */
const CI_ACCOUNT = 'slipway-ci';

const CONNECTION_STRING = 'AZURE_STORAGE_CONNECTION_STRING';

type Mapping = Readonly<Record<string, unknown>>;

/** True for a chart's values: a configuration file has no `config`. */
export function isChartValues(raw: unknown): raw is Mapping & { readonly config: unknown } {
  return isMapping(raw) && 'config' in raw;
}

/**
 * The configuration that the chart mounts for some values, as its template `slipway.config` makes it: values are laid over the chart's own,
 * a null takes one away, the types of `storage.taskTypes` get the connection string by reference, and CI types without a service account the
 * chart's.
 */
export function configOfValues(values: { readonly config: unknown; readonly storage?: unknown }): unknown {
  if (!isMapping(values.config)) return values.config;
  const taskTypes = overlay(CHART_DEFAULTS.taskTypes, values.config['taskTypes'] ?? {});
  const storage = isMapping(values.storage) ? overlay(CHART_DEFAULTS.storage, values.storage) : CHART_DEFAULTS.storage;
  const { access, existingSecret, key, taskTypes: named } = storage as Mapping;
  if (!isMapping(taskTypes)) return { ...withoutNulls(values.config), taskTypes };
  // Without a Secret's name the chart would refuse the values; the configuration alone can be judged all the same.
  const secretKeyRef = { name: String(existingSecret || 'storage.existingSecret'), key: String(key || access) };
  const entry = { name: CONNECTION_STRING, valueFrom: { secretKeyRef } };
  const given = access === 'connection-string' && Array.isArray(named) ? named : [];
  return {
    ...withoutNulls(values.config),
    taskTypes: Object.fromEntries(
      Object.entries(taskTypes).map(([type, settings]) => [
        type,
        isMapping(settings) ? ofChart(settings, given.includes(type) ? entry : undefined) : settings,
      ]),
    ),
  };
}

/** A task type as the chart mounts it. */
function ofChart(settings: Mapping, entry: { readonly name: string } | undefined): Mapping {
  const { ci } = settings;
  if (!isMapping(ci)) return entry === undefined ? settings : withEnv(settings, entry);
  const account = settings['serviceAccountName'] || CI_ACCOUNT;
  const report = isMapping(ci['report']) ? ci['report'] : {};
  const given = entry === undefined ? ci : { ...ci, report: withEnv(report, entry) };
  return { ...settings, serviceAccountName: account, ci: given };
}

function withEnv(holder: Mapping, entry: { readonly name: string }): Mapping {
  const env: unknown = holder['env'] ?? [];
  if (!Array.isArray(env) || env.some((one) => isMapping(one) && one['name'] === entry.name)) return holder;
  return { ...holder, env: [...env, entry] };
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

function withoutNulls(values: Mapping): Mapping {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
