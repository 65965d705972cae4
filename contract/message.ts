/**
 * The task message as producers put it into `{client}-tasks`: UTF-8 JSON, plain or base64.
 *
 * Reading has two steps because they answer different questions. `decodeMessage` finds the JSON text and is all that is needed to name
 * the Job; `validateTask` judges its fields, and happens only when no Job of that name exists, so that a message whose task runs is
 * never judged anew.
 */
import { z } from 'zod';
import { scanJson } from './json-scan.ts';

export const ENCODINGS = ['auto', 'none', 'base64'] as const;
/** How a queue's message text is to be read. `auto`: JSON first, then canonical base64 of UTF-8 JSON. */
export type Encoding = (typeof ENCODINGS)[number];
/** How a message text was in fact written. */
export type FoundEncoding = 'plain' | 'base64';

/** Levels of arrays and objects that a message may have. Python's JSON parser gives up near 1,000, and some worker will be Python. */
export const MAX_DEPTH = 500;

/** One thing that is wrong with a message. `field` is a JSON path from the root, or `message` for the text as a whole. */
export interface Problem {
  readonly field: string;
  readonly message: string;
}

/** A message text that is JSON. */
export interface DecodedMessage {
  readonly kind: 'decoded';
  /** The JSON text, byte for byte what the runner gets as TASK_DATA. */
  readonly text: string;
  readonly encoding: FoundEncoding;
  readonly value: unknown;
}

/** A message text that is no JSON under the queue's encoding. */
export interface UndecodableMessage {
  readonly kind: 'undecodable';
  readonly problem: Problem;
}

/** A valid task. Fields that the contract does not name stay in `DecodedMessage.text`. */
export interface Task {
  readonly taskId: string;
  readonly taskType: string;
  readonly payload: unknown;
  readonly webhookUrl: string | undefined;
}

/** The verdict on a decoded message's fields; `webhookUrl` is given for an invalid one too when it can still be read. */
export type Validation =
  | { readonly kind: 'valid'; readonly task: Task }
  | {
      readonly kind: 'invalid';
      readonly problems: readonly [Problem, ...Problem[]];
      readonly taskId: string | undefined;
      readonly webhookUrl: string | undefined;
    };

/**
 * Finds the JSON text in a message. Never throws.
 *
 * @param raw the message text as the queue service gave it
 */
export function decodeMessage(raw: string, encoding: Encoding): DecodedMessage | UndecodableMessage {
  const plain = encoding === 'base64' ? undefined : parseJson(raw);
  if (plain?.ok) return { kind: 'decoded', text: raw, encoding: 'plain', value: plain.value };
  if (plain !== undefined && encoding === 'none') return undecodable(`is not JSON: ${plain.error}`);
  const text = decodeBase64(raw);
  if (text === undefined) {
    return undecodable(
      plain === undefined
        ? 'is not canonical base64 of UTF-8 text'
        : `is neither JSON (${plain.error}) nor base64 of UTF-8 JSON`,
    );
  }
  const inner = parseJson(text);
  if (inner.ok) return { kind: 'decoded', text, encoding: 'base64', value: inner.value };
  return undecodable(`is base64, but what it holds is not JSON: ${inner.error}`);
}

/** The message text as it stood in the queue: the inverse of `decodeMessage`, exact because only canonical base64 is accepted. */
export function encodeMessage(text: string, encoding: FoundEncoding): string {
  return encoding === 'plain' ? text : Buffer.from(text, 'utf8').toString('base64');
}

/** `task_type` as far as it can be read from a decoded message: for the Job's name, before anything is judged. */
export function rawTaskType(value: unknown): string {
  const type = isRecord(value) ? value['task_type'] : undefined;
  return typeof type === 'string' ? type : '';
}

/** `task_id` as far as it can be read from a decoded message. */
export function rawTaskId(value: unknown): string {
  const id = isRecord(value) ? value['task_id'] : undefined;
  return typeof id === 'string' ? id : '';
}

/** `webhook_url` as far as it can be read from a decoded message, and is one. */
export function rawWebhookUrl(value: unknown): string | undefined {
  return readable(webhookUrl, value, 'webhook_url');
}

/** Judges the fields of a decoded message. All problems are reported, the first one first. */
export function validateTask(decoded: DecodedMessage): Validation {
  const problems = structureProblems(decoded.text);
  const parsed = taskSchema.safeParse(decoded.value);
  if (!parsed.success)
    problems.push(...parsed.error.issues.map((issue) => ({ field: path(issue.path), message: issue.message })));
  const [first, ...rest] = problems;
  if (first === undefined && parsed.success) {
    const { task_id, task_type, payload, webhook_url } = parsed.data;
    return {
      kind: 'valid',
      task: { taskId: task_id, taskType: task_type, payload, webhookUrl: webhook_url ?? undefined },
    };
  }
  return {
    kind: 'invalid',
    problems: [first ?? { field: 'message', message: 'is invalid' }, ...rest],
    taskId: readable(name, decoded.value, 'task_id'),
    webhookUrl: rawWebhookUrl(decoded.value),
  };
}

const name = z
  .string({
    error: (issue) => (issue.input === undefined ? 'is missing' : `must be a string, got ${kindOf(issue.input)}`),
  })
  .min(1, 'must not be empty')
  .max(256, 'must have at most 256 characters')
  // A NUL cannot stand in an environment variable, a lone surrogate not in UTF-8.
  .refine((text) => !/\p{Cc}/u.test(text), 'must not contain control characters')
  .refine((text) => text.isWellFormed(), 'must be well-formed Unicode (it has a lone surrogate)');

const webhookUrl = z
  .string({ error: (issue) => `must be an absolute http or https URL, got ${kindOf(issue.input)}` })
  .max(8192, 'must have at most 8192 characters')
  .refine((text) => {
    const url = URL.parse(text);
    return url !== null && (url.protocol === 'http:' || url.protocol === 'https:');
  }, 'must be an absolute http or https URL');

const taskSchema = z.looseObject(
  { task_id: name, task_type: name, payload: z.unknown().optional(), webhook_url: webhookUrl.nullish() },
  { error: (issue) => `must be a JSON object, got ${kindOf(issue.input)}` },
);

function structureProblems(text: string): Problem[] {
  const { duplicateKey, depth } = scanJson(text);
  const problems: Problem[] = [];
  if (duplicateKey !== undefined) {
    problems.push({
      field: path([duplicateKey]),
      message: 'stands twice in the message; parsers differ in which one they take',
    });
  }
  if (depth > MAX_DEPTH)
    problems.push({ field: 'message', message: `is nested ${depth} levels deep; at most ${MAX_DEPTH} are accepted` });
  return problems;
}

function readable(schema: z.ZodType<string>, value: unknown, key: string): string | undefined {
  const parsed = schema.safeParse(isRecord(value) ? value[key] : undefined);
  return parsed.success ? parsed.data : undefined;
}

function parseJson(text: string): { ok: true; value: unknown } | { ok: false; error: string } {
  try {
    const value: unknown = JSON.parse(text);
    return { ok: true, value };
  } catch (error) {
    return { ok: false, error: jsonFault(text, error instanceof Error ? error.message : '') };
  }
}

/** V8 quotes the text around a fault; a message may hold secrets, so only the kind and place of the fault are kept. */
function jsonFault(text: string, message: string): string {
  if (text.trim() === '') return 'it is empty';
  if (text.startsWith('\u{feff}')) return 'it starts with a byte order mark';
  const position = /at position (\d+) \(line \d+ column \d+\)$/.exec(message)?.[1];
  if (position !== undefined) return `fault at position ${position}`;
  return message.startsWith('Unexpected end') ? 'it ends too early' : 'unexpected character';
}

function decodeBase64(raw: string): string | undefined {
  const bytes = Buffer.from(raw, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== raw) return undefined;
  try {
    // A byte order mark must survive: TASK_DATA is the text byte for byte.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function undecodable(message: string): UndecodableMessage {
  return { kind: 'undecodable', problem: { field: 'message', message } };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function path(parts: readonly PropertyKey[]): string {
  return parts.length === 0 ? 'message' : parts.map((part) => (part === '' ? '""' : String(part))).join('.');
}
