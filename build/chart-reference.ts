/** The values table of charts/slipway/README.md. */

import type { JsonSchema } from './chart-schema.ts';
import { REQUIRED_VALUES } from './chart-values.ts';

interface Row {
  readonly path: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

/**
 * Two tables in Markdown: the chart's own values, and the configuration.
 *
 * @param values values.yaml, whose defaults win over the schema's
 */
export function valuesReference(schema: JsonSchema, values: unknown): string {
  const rows = leaves(schema, '', true);
  const isConfig = ({ path }: Row) => path.startsWith('config.');
  return [
    table(
      rows.filter((row) => !isConfig(row) && row.path !== 'global'),
      values,
    ),
    '### Configuration',
    find(schema, 'config').description ?? '',
    table(rows.filter(isConfig), values),
  ].join('\n\n');
}

/** Every value that can be set. Lists, maps and optional objects stand before what they hold. */
function leaves(schema: JsonSchema, path: string, required: boolean): Row[] {
  const inner = children(schema);
  if (inner.length === 0) return [{ path, schema, required }];
  const rows = inner.flatMap(({ suffix, schema: child, required: needed }) =>
    leaves(child, path === '' ? suffix.replace(/^\./, '') : `${path}${suffix}`, needed),
  );
  const stands = schema.properties === undefined || (!required && schema.required !== undefined);
  return stands ? [{ path, schema, required }, ...rows] : rows;
}

function children(schema: JsonSchema): { suffix: string; schema: JsonSchema; required: boolean }[] {
  if (schema.properties !== undefined) {
    const required = new Set(schema.required);
    return Object.entries(schema.properties).map(([key, child]) => ({
      suffix: `.${key}`,
      schema: child,
      required: required.has(key),
    }));
  }
  const [suffix, child] = schema.items === undefined ? ['.NAME', schema.additionalProperties] : ['[]', schema.items];
  return typeof child === 'object' && children(child).length > 0
    ? children(child).map((one) => ({ ...one, suffix: `${suffix}${one.suffix}` }))
    : [];
}

function table(rows: readonly Row[], values: unknown): string {
  const lines = rows.map(
    (row) => `| \`${row.path}\` | ${fallback(row, values)} | ${cell(row.schema.description ?? '')} |`,
  );
  return ['| value | default | what it does |', '|---|---|---|', ...lines].join('\n');
}

function fallback({ path, schema, required }: Row, values: unknown): string {
  const given = path.split('.').reduce(property, values);
  if (REQUIRED_VALUES.includes(path)) return '**required**';
  if (given === undefined && required) return 'required';
  const value = given ?? schema.default;
  return value === undefined ? '' : `\`${cell(JSON.stringify(value))}\``;
}

function property(at: unknown, key: string): unknown {
  return typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined;
}

function find(schema: JsonSchema, key: string): JsonSchema {
  return schema.properties?.[key] ?? {};
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
