/** values.schema.json from the zod schema: JSON Schema draft-07, which is what helm enforces. */
import { z } from 'zod';
import { chartValuesSchema, REQUIRED_VALUES } from './chart-values.ts';

/** The part of JSON Schema that comes out of zod here. */
export interface JsonSchema {
  $schema?: string;
  title?: string;
  description?: string;
  type?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  propertyNames?: JsonSchema;
  items?: JsonSchema;
  minItems?: number;
  minLength?: number;
  maximum?: number;
  pattern?: string;
}

/** The schema of the chart's values. */
export function chartSchema(): JsonSchema {
  const schema = z.toJSONSchema(chartValuesSchema, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema }) => tidy(jsonSchema as JsonSchema),
  }) as JsonSchema;
  for (const path of REQUIRED_VALUES) allowEmpty(find(schema, path));
  const { $schema, ...rest } = schema;
  return { $schema: $schema ?? '', title: 'Values of the chart slipway', ...rest };
}

/** The schema of a value, by its path. */
function find(schema: JsonSchema, path: string): JsonSchema {
  let at: JsonSchema | undefined = schema;
  for (const key of path.split('.')) at = at?.properties?.[key];
  if (at === undefined) throw new Error(`the schema has no ${path}`);
  return at;
}

/** Lets a required value through when it is empty: helm would else answer with a pattern, where the template has a sentence. */
function allowEmpty(schema: JsonSchema): void {
  delete schema.minItems;
  delete schema.minLength;
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test('')) schema.pattern = `^$|${schema.pattern}`;
}

/** Takes out what zod adds and no reader needs. */
function tidy(schema: JsonSchema): void {
  if (Object.keys(schema.propertyNames ?? {}).join() === 'type') delete schema.propertyNames;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  if (schema.properties !== undefined) delete schema.default;
}
