/**
 * The official description of Azure Container Instances (2023-05-01/containerInstance.json, Swagger 2.0), to check bodies against. It
 * says which fields there are and of which types; names, sizes and steps it does not limit.
 */
import { readFileSync } from 'node:fs';
import { Ajv2019, type ValidateFunction } from 'ajv/dist/2019.js';

interface Schema {
  readonly allOf?: readonly { readonly $ref: string }[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly readOnly?: boolean;
  readonly [keyword: string]: unknown;
}

const description = JSON.parse(readFileSync(new URL('2023-05-01/containerInstance.json', import.meta.url), 'utf8')) as {
  readonly definitions: Readonly<Record<string, Schema>>;
};

/** What is sent, or what is answered. */
export type Direction = 'request' | 'response';

const compiled = new Map<string, ValidateFunction>();
const parsers = { request: parser('request'), response: parser('response') };

/** What is wrong with a body as one of the description's definitions; nothing when it fits. Fields that it does not have are wrong, and so is a read-only one that is sent. */
export function faultsOf(definition: string, direction: Direction, body: unknown): readonly string[] {
  const key = `${direction} ${definition}`;
  const validate = compiled.get(key) ?? parsers[direction].compile({ $ref: `arm#/definitions/${definition}` });
  compiled.set(key, validate);
  if (validate(body)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath || '/'} ${message} ${JSON.stringify(params)}`,
  );
}

function parser(direction: Direction): Ajv2019 {
  const ajv = new Ajv2019({
    strict: false,
    allErrors: true,
    formats: { int32: true, int64: true, double: true, 'date-time': true, uri: true, arm_id: true },
  });
  const parts = Object.values(description.definitions).flatMap(({ allOf = [] }) =>
    allOf.map(({ $ref }) => $ref.replace('#/definitions/', '')),
  );
  ajv.addSchema({
    $id: 'arm',
    definitions: Object.fromEntries(
      Object.entries(description.definitions).map(([name, schema]) => [
        name,
        closed(schema, direction, parts.includes(name)),
      ]),
    ),
  });
  return ajv;
}

/** No answer has such a field, required or not. */
function isSecret({ properties }: Schema, name: string): boolean {
  return properties?.[name]?.['x-ms-secret'] === true;
}

/** The schema without room for other fields. What is a part of another one is closed there. */
function closed(schema: Schema, direction: Direction, isPart: boolean): unknown {
  if (Array.isArray(schema)) return schema.map((one: Schema) => closed(one, direction, false));
  if (typeof schema !== 'object' || schema === null) return schema;
  if (schema.readOnly === true && direction === 'request') return false;
  const inner = Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => {
      if (keyword === 'allOf' || keyword === 'enum') return [keyword, value];
      if (keyword === 'required' && Array.isArray(value))
        return [keyword, value.filter((name: string) => direction === 'request' || !isSecret(schema, name))];
      if (keyword === 'properties' && schema.properties !== undefined)
        return [
          keyword,
          Object.fromEntries(
            Object.entries(schema.properties).map(([name, one]) => [name, closed(one, direction, false)]),
          ),
        ];
      return [keyword, closed(value as Schema, direction, false)];
    }),
  );
  const hasFields = schema.properties !== undefined || schema.allOf !== undefined;
  return hasFields && !isPart && schema['additionalProperties'] === undefined
    ? { ...inner, unevaluatedProperties: false }
    : inner;
}
