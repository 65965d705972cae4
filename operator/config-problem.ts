/** What is wrong with a setting, told to the person who installs: file, place, value, what is wrong with it, what to do. */
import { z } from 'zod';
import { configSchema } from './config-schema.ts';

/** The problems that zod found, one a place: what else is wrong there is told when the first thing is put right. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], raw: unknown, file: string): string[] {
  const byPlace = new Map<string, string>();
  for (const issue of issues) {
    const place = placeOf(issue.path);
    if (!byPlace.has(place)) byPlace.set(place, `${file}: ${describe(issue, raw, place)}`);
  }
  return [...byPlace.values()];
}

function describe(issue: z.core.$ZodIssue, raw: unknown, place: string): string {
  const value = issue.path.reduce(step, raw);
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaAt(issue.path)?.properties ?? {}).join(', ');
    const [settings, names] = [issue.keys.length === 1 ? 'setting' : 'settings', issue.keys.map(quoted).join(', ')];
    return `${place} has the unknown ${settings} ${names}. Correct the name or remove it; known here: ${known}`;
  }
  if (issue.code === 'invalid_key') return `${place} ${issue.issues.map(({ message }) => message).join('; ')}`;
  return `${place}${shown(value, issue.path)}: ${remedy(issue, value)}`;
}

function remedy(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? required(issue)
        : `must be ${KINDS[issue.expected] ?? issue.expected}${quoting(issue, value)}`;
    case 'too_small':
      if (issue.origin === 'string')
        return issue.minimum === 1
          ? 'is empty. Give it a value'
          : `is too short. Use at least ${issue.minimum} characters`;
      return issue.message.startsWith('Too small') ? `is too small. Use ${issue.minimum} or more` : issue.message;
    case 'too_big':
      return issue.origin === 'string'
        ? `is too long. Use at most ${issue.maximum} characters`
        : `is too large. Use ${issue.maximum} or less`;
    case 'invalid_value':
      return issue.message.startsWith('Invalid')
        ? `is not known. Use one of ${issue.values.map(String).join(', ')}`
        : issue.message;
    default:
      return issue.message;
  }
}

/** What zod expects, in the words of YAML. */
const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function required(issue: z.core.$ZodIssueInvalidType): string {
  const schema = schemaAt(issue.path);
  const parts = schema?.required === undefined ? '' : ` with ${schema.required.join(', ')}`;
  const what = schema?.description === undefined ? '' : `: ${sentencePart(schema.description)}`;
  return `is required. Set it to ${KINDS[issue.expected] ?? issue.expected}${parts}${what}`;
}

function sentencePart(sentence: string): string {
  return sentence.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase()).replace(/\.$/, '');
}

function quoting({ expected }: z.core.$ZodIssueInvalidType, value: unknown): string {
  if (expected === 'object' && value === null) return '. Write {} to leave everything at its default';
  if (expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')) return '. Put it in quotes';
  return typeof value === 'string' && !Number.isNaN(Number(value)) ? '. Write it without quotes' : '';
}

/** The value, unless it may be a secret that stands in the wrong place: nothing of that is printed. */
function shown(value: unknown, path: readonly PropertyKey[]): string {
  if (value === undefined) return ' is not set';
  if (Array.isArray(value)) return ' (a list)';
  if (typeof value === 'object' && value !== null) return ' (a mapping)';
  const name = path.findLast((part) => typeof part === 'string') ?? '';
  const secret = /secret$|password|token|credential|connection|key$|^value$/i.test(name) || SECRET.test(String(value));
  return secret ? ' (value not shown)' : ` = ${JSON.stringify(value).slice(0, 80)}`;
}

const SECRET = /whsec_|AccountKey=|SharedAccessSignature|[?&]sig=|-----BEGIN|:\/\/[^/]*:[^/]*@/i;

/** `taskTypes.echo.env[0].name`; the whole file is `the file`. */
function placeOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the file';
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    const name = /^[\w-]+$/.test(String(part)) ? String(part) : quoted(String(part));
    return text === '' ? name : `${text}.${name}`;
  }, '');
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function step(at: unknown, part: PropertyKey): unknown {
  return typeof at === 'object' && at !== null && Object.hasOwn(at, part) ? Reflect.get(at, part) : undefined;
}

interface Schema {
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
}

/** The schema of a place, for what it says about it. */
function schemaAt(path: readonly PropertyKey[]): Schema | undefined {
  const whole = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Schema;
  return path.reduce<Schema | undefined>((at, part) => {
    if (typeof part === 'number') return at?.items;
    const more = typeof at?.additionalProperties === 'object' ? at.additionalProperties : undefined;
    return at?.properties?.[String(part)] ?? more;
  }, whole);
}
