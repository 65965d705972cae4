import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { chartSchema, type JsonSchema } from './chart-schema.ts';
import { chartValuesSchema, REQUIRED_VALUES } from './chart-values.ts';
import { ARTEFACTS } from './generate.ts';

const file = (path: string) => readFile(new URL(`../${path}`, import.meta.url), 'utf8');
const yaml = async (path: string): Promise<unknown> => parse(await file(path));

/** Every schema of a property, with its path. */
function properties(schema: JsonSchema, path = ''): [string, JsonSchema][] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, child]): [string, JsonSchema][] => [
    [`${path}.${key}`, child],
    ...properties(child, `${path}.${key}`),
  ]);
  const { items, additionalProperties: rest } = schema;
  const listed = items === undefined ? [] : properties(items, `${path}[]`);
  return [...own, ...listed, ...(typeof rest === 'object' ? properties(rest, `${path}.*`) : [])];
}

test.each(ARTEFACTS)('$path is up to date (npm run generate)', async ({ path, make }) => {
  const made = await make(undefined);
  // The manifest needs helm: the control plane's tests compare it.
  if (path.startsWith('manifests/')) expect(made).toBeUndefined();
  else expect(await file(path)).toBe(made);
});

test('every value has a description', () => {
  const all = properties(chartSchema());
  expect(all.length).toBeGreaterThan(80);
  expect(all.filter(([, schema]) => (schema.description ?? '') === '').map(([path]) => path)).toEqual([]);
});

test('an object with named values takes no other', () => {
  const objects = [['', chartSchema()] as const, ...properties(chartSchema())].filter(
    ([, schema]) => schema.properties,
  );
  expect(objects.filter(([, schema]) => schema.additionalProperties !== false).map(([path]) => path)).toEqual([]);
});

test('values.yaml, with the required values, is what the operator takes', async () => {
  const defaults = await yaml('charts/slipway/values.yaml');
  const { error } = chartValuesSchema.safeParse(defaults);
  expect(error?.issues.map((issue) => issue.path.join('.'))).toEqual([
    'config.runner.image',
    'config.runner.image',
    'config.queues',
  ]);
  const example = chartValuesSchema.parse(merge(defaults, await yaml('manifests/values.yaml')));
  expect(Object.keys(example.config.taskTypes)).toEqual(['echo', 'document-processing']);
});

test('the example values are the required ones and no other', async () => {
  const paths = (value: unknown, path: string): string[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => paths(inner, path === '' ? key : `${path}.${key}`))
      : [path];
  expect(paths(await yaml('manifests/values.yaml'), '')).toEqual(REQUIRED_VALUES);
});

test('required values pass the schema when empty, so that the template can ask for them', () => {
  const schemas = new Map(properties(chartSchema()).map(([path, schema]) => [path.slice(1), schema]));
  for (const path of REQUIRED_VALUES) {
    const { minItems, minLength, pattern = '' } = schemas.get(path) ?? {};
    expect([path, minItems, minLength, new RegExp(pattern).test('')]).toEqual([path, undefined, undefined, true]);
  }
});

test("helm's regular expressions are Go's, which look neither ahead nor behind, and refer back to nothing", () => {
  const patterns = JSON.stringify(chartSchema()).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g);
  const all = [...patterns].map(([, text]) => JSON.parse(text ?? '') as string);
  expect(all.length).toBeGreaterThan(20);
  expect(all.filter((pattern) => /\(\?<?[=!]|\\[1-9k]/.test(pattern))).toEqual([]);
});

test("the chart's versions are the package's", async () => {
  const { version } = JSON.parse(await file('package.json')) as { version: string };
  expect(await yaml('charts/slipway/Chart.yaml')).toMatchObject({ version, appVersion: version });
});

function merge(base: unknown, over: unknown): unknown {
  const isMap = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap(base) || !isMap(over)) return over;
  const merged = Object.entries(over).map(([key, value]) => [key, merge(base[key], value)]);
  return { ...base, ...Object.fromEntries(merged) };
}
