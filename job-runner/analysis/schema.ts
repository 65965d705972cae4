/** What an analysis has to look like: the payload's JSON Schema, or a summary with entities and key points. */
import { z } from 'zod';
import { PermanentError } from '../errors.ts';

/** A JSON Schema for an object, as a model is given it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Checks answers. */
export interface AnswerSchema {
  readonly json: JsonSchema;
  /** Whether the model has to be held to it to the letter; a schema of a payload may use what that does not allow. */
  readonly strict: boolean;
  /** The value, or what is wrong with it. */
  check(value: unknown): { readonly value: unknown } | { readonly problem: string };
}

const defaultAnswer = z.strictObject({
  summary: z.string().describe('What the document says, in three to six sentences, in its own language.'),
  entities: z
    .array(
      z.strictObject({
        name: z.string(),
        type: z.enum(['person', 'organisation', 'place', 'date', 'amount', 'product', 'other']),
      }),
    )
    .describe('Who and what the document is about; each once.'),
  key_points: z.array(z.string()).describe('What a reader must know, the most important first; at most ten.'),
});

/** Schemas in a message take room that the message does not have twice. */
const MAX_SCHEMA_BYTES = 20_000;

/** The schema of a payload. */
export const analysisPayloadSchema = z
  .object({
    /** JSON Schema of the answer, of type object. Default: summary, entities, key_points. */
    schema: z.record(z.string(), z.unknown()).optional(),
    /** What to look for, for the model. */
    instructions: z.string().max(8000).optional(),
    /** Another model than OPENAI_MODEL. */
    model: z
      .string()
      .regex(/^[\w.:/-]{1,100}$/)
      .optional(),
  })
  .refine(({ schema }) => Buffer.byteLength(JSON.stringify(schema ?? {})) <= MAX_SCHEMA_BYTES, {
    path: ['schema'],
    error: `is larger than ${MAX_SCHEMA_BYTES} bytes`,
  });

/**
 * The schema to analyse by.
 *
 * @throws PermanentError `Malformed` for a schema of the payload that is none, or not one of an object
 */
export function answerSchema(own: JsonSchema | undefined): AnswerSchema {
  if (own === undefined) {
    const { $schema: _, ...json } = z.toJSONSchema(defaultAnswer);
    return { json, strict: true, check: checkBy(defaultAnswer) };
  }
  if (own['type'] !== 'object')
    throw new PermanentError('payload.analysis.schema: must be a JSON Schema with "type": "object"', {
      code: 'Malformed',
    });
  try {
    return { json: own, strict: isStrict(own), check: checkBy(z.fromJSONSchema(own)) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : '';
    throw new PermanentError(`payload.analysis.schema: is no JSON Schema that can be used (${reason.slice(0, 300)})`, {
      code: 'Malformed',
      cause,
    });
  }
}

function checkBy(schema: z.ZodType): AnswerSchema['check'] {
  return (value) => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return { value: parsed.data };
    const [issue] = parsed.error.issues;
    return { problem: `${issue?.path.join('.') || 'the answer'}: ${issue?.message}` };
  };
}

/** OpenAI's strict mode wants every object closed and every property required. */
function isStrict(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.every(isStrict);
  if (typeof schema !== 'object' || schema === null) return true;
  const { type, properties, required, additionalProperties } = schema as Record<string, unknown>;
  if (type === 'object' && typeof properties === 'object' && properties !== null) {
    const names = Object.keys(properties);
    const closed = additionalProperties === false;
    if (!closed || !Array.isArray(required) || names.some((name) => !required.includes(name))) return false;
  }
  return Object.values(schema).every(isStrict);
}
