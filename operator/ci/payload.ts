/** What a task of type `ci` asks for: which commit of which repository, how its image is built, and how that is tested. Pure. */
import { z } from 'zod';
import type { Problem } from '../../contract/message.ts';

const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
/** A first part without `.` and `:` would be an account of Docker Hub. */
const REGISTRY = /(?:[a-z0-9-]*\.[a-z0-9.-]+(?::\d+)?|[a-z0-9-]+:\d+|localhost)/.source;
/** A registry's host and a repository in it, without tag and digest. */
export const IMAGE = new RegExp(`^${REGISTRY}(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+$`);
/** What such a name may begin with. */
export const IMAGE_PREFIX = new RegExp(`^${REGISTRY}/(?:[a-z0-9._-]+/)*[a-z0-9._-]*$`);
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MOST_VARIABLES = 100;

/** The rules of `git check-ref-format`; and nothing that git takes for an option, or for more than a name: `+main` would be a forced fetch. */
const isRef = (text: string) =>
  text.length >= 1 &&
  text.length <= 255 &&
  !/[\p{Cc} ~^:?*[\\]|\.\.|@\{|^@$|^[-+]|\.$/u.test(text) &&
  text.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));

const relativePath = (error: string) =>
  z
    .string()
    .min(1)
    .max(512)
    .refine((path) => !path.startsWith('/') && !path.split('/').includes('..') && !/[\\\p{Cc}]/u.test(path), { error })
    .transform(
      (path) =>
        path
          .split('/')
          .filter((part) => part !== '' && part !== '.')
          .join('/') || '.',
    );
const pathInRepository = relativePath('must be a path in the repository: relative, without ".."');
const pathOfTests = relativePath(
  'must be a path below the folder $SLIPWAY_ARTIFACTS, where the tests put it: relative to it, without ".."',
);
/** Elsewhere such characters are alternatives and classes, which can come to `..`, or to any number of names. */
const patternOfTests = pathOfTests.refine((path) => !/[{}[\]]|[?*+@!]\(/.test(path), {
  error: ({ input }) =>
    `is ${JSON.stringify(input)}, and patterns know "*", "**" and "?" alone. Write one for each alternative, and "?" for a bracket in a name`,
});

/** A NUL ends a text for every program, and no container can be made with one. */
const programText = (max: number) =>
  z
    .string()
    .max(max)
    .refine((text) => !text.includes('\0'), { error: 'must not contain a NUL' });

const variables = z
  .record(z.string().regex(VARIABLE, 'must be the name of a variable: letters, digits and "_"'), programText(8192))
  .refine((all) => Object.keys(all).length <= MOST_VARIABLES, { error: `has more than ${MOST_VARIABLES} entries` });

const repository = z
  .string()
  .max(2048)
  .transform((text, context) => {
    const url = URL.parse(text);
    const fail = (message: string) => {
      context.addIssue(message);
      return z.NEVER;
    };
    if (url === null || !/^https?:$/.test(url.protocol))
      return fail('must be an https URL, such as https://github.com/acme/app.git');
    if (url.username !== '' || url.password !== '')
      return fail('must be without user and password: credentials come from the Secret of the task type');
    if (url.search !== '' || url.hash !== '')
      return fail('must be without "?" and "#": commit or ref names the revision');
    return url.href;
  });

const testSchema = z.strictObject({
  /** A text is run by the image's shell; a list as it is. */
  command: z.union([programText(16_384).min(1), z.array(programText(8192)).min(1).max(200)], {
    error: ({ input }) =>
      input === undefined
        ? 'is missing'
        : 'must be a text that the shell of the image runs (at most 16384 characters), or a list of 1 to 200 texts that is run as it is',
  }),
  env: variables.default({}),
});

const payloadSchema = z
  .strictObject({
    repository,
    /** The exact commit, in full; or a branch or tag, which is resolved when the task begins. */
    commit: z
      .string()
      .toLowerCase()
      .regex(COMMIT, 'must be a whole commit hash: 40 or 64 hexadecimal digits')
      .optional(),
    ref: z.string().refine(isRef, { error: 'must be the name of a branch or tag' }).optional(),
    submodules: z.boolean().default(false),
    dockerfile: pathInRepository.optional(),
    context: pathInRepository.default('.'),
    build_args: variables.default({}),
    target: z
      .string()
      .regex(/^[A-Za-z0-9][\w.-]{0,127}$/, 'must be the name of a stage')
      .optional(),
    /** Without a tag. Default: the client's prefix and the repository's name. */
    image: z
      .string()
      .max(255)
      .regex(
        IMAGE,
        'must be a registry and a repository in it, without tag and digest, such as registry.example.com/acme/app',
      )
      .optional(),
    test: testSchema,
    /** Files and folders that are kept, and reports in JUnit's form, beneath the folder that the tests are given for them. */
    artifacts: z.array(pathOfTests).max(50).default([]),
    junit: z.array(patternOfTests).max(50).default([]),
    cache: z.boolean().default(true),
  })
  .refine(({ commit, ref }) => (commit === undefined) !== (ref === undefined), {
    path: ['commit'],
    error: 'must be given, or else ref; not both',
  });

/** A task of type `ci`, defaults filled in. */
export type CiTask = z.output<typeof payloadSchema>;

/** The task, or what is wrong with its payload: each problem names its field. */
export type CiReading =
  | { readonly kind: 'valid'; readonly task: CiTask }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

/** Reads a payload. Never throws. */
export function readCiPayload(payload: unknown): CiReading {
  const parsed = payloadSchema.safeParse(payload);
  if (parsed.success) return { kind: 'valid', task: parsed.data };
  const problems = parsed.error.issues.map((issue) => ({
    field: ['payload', ...issue.path].map(String).join('.'),
    message: inWords(issue, payload),
  }));
  return { kind: 'invalid', problems };
}

/** What is wrong, in words that fit behind the field's name. */
function inWords(issue: z.core.$ZodIssue, payload: unknown): string {
  const value = issue.path.reduce<unknown>((at, key) => (isObject(at) ? Reflect.get(at, key) : undefined), payload);
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined ? 'is missing' : `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case 'unrecognized_keys': {
      const known =
        issue.path.length === 0 ? payloadSchema.shape : issue.path.join() === 'test' ? testSchema.shape : {};
      return `has what is not known: ${issue.keys.join(', ')}. Known: ${Object.keys(known).join(', ')}`;
    }
    case 'invalid_key':
      return issue.issues.map(({ message }) => message).join('; ');
    case 'too_small':
      return value === '' ? 'must not be empty' : `must have at least ${issue.minimum}`;
    case 'too_big':
      return `must have at most ${issue.maximum}${typeof value === 'string' ? ' characters' : ''}`;
    default:
      return issue.message;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'an object',
  record: 'an object',
  array: 'a list',
  string: 'a text',
  boolean: 'true or false',
};

/** A CI task in hand: what it asks for, and the image that is built and tested, with its tag. */
export interface CiBuild {
  readonly task: CiTask;
  readonly image: string;
}

/**
 * Where the images of a client may be.
 *
 * @param images the type's `ci.images`
 * @param own the client's `imagePrefix`
 * @returns what each of their names begins with, up to a separator: what merely begins alike may be somebody else's
 */
export function prefixOf(images: string, client: string, own: string | undefined): string {
  const prefix = own ?? `${images}/${client}`;
  return onDockerHub(/[a-z0-9]$/i.test(prefix) ? `${prefix}/` : prefix);
}

/** Docker Hub has repositories in an account, and none below: `__` stands for the other separators. No client's name has one. */
function onDockerHub(prefix: string): string {
  const [, account, below = ''] = /^((?:index\.)?docker\.io\/[^/]+\/)(.*)$/.exec(prefix) ?? [];
  return account === undefined ? prefix : `${account}${below.replaceAll('/', '__')}`;
}

/**
 * Reads what a message asks for.
 *
 * @param prefix what the image's name has to begin with
 * @param tag the Job's name
 */
export function readCiBuild(
  payload: unknown,
  prefix: string,
  tag: string,
): { readonly kind: 'valid'; readonly build: CiBuild } | Extract<CiReading, { kind: 'invalid' }> {
  const reading = readCiPayload(payload);
  if (reading.kind === 'invalid') return reading;
  const { task } = reading;
  const image = task.image ?? `${prefix}${nameOf(task.repository)}`;
  if (!image.startsWith(prefix)) {
    const message = `is not the client's to write. Begin it with "${prefix}", or leave it out`;
    return { kind: 'invalid', problems: [{ field: 'payload.image', message }] };
  }
  return { kind: 'valid', build: { task, image: `${image}:${tag}` } };
}

/** Registries take 255 characters in all. */
const LONGEST_NAME = 100;

/** The last part of a repository's address, as a name of an image. */
function nameOf(repository: string): string {
  const last = new URL(repository).pathname.split('/').findLast((part) => part !== '') ?? '';
  const name = last
    .replace(/\.git$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, LONGEST_NAME)
    .replaceAll(/^-+|-+$/g, '');
  return name || 'image';
}
