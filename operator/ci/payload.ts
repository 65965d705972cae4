/** What a task of type `ci` asks for: which commit of which repository, how its image is built, and how that is tested. Pure. */
import { z } from 'zod';

const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
/** A registry's host and a repository in it, without tag and digest. */
const IMAGE = /^[a-z0-9.-]+(?::\d+)?(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MOST_VARIABLES = 100;

/** What git takes for the name of a branch or tag, and cannot take for an option. */
const isRef = (text: string) =>
  /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(text) && !/\.\.|\/\/|\.lock$|[./]$/.test(text) && text.length <= 255;

const relativePath = z
  .string()
  .min(1)
  .max(512)
  .refine((path) => !path.startsWith('/') && !path.split('/').includes('..') && !/[\\\p{Cc}]/u.test(path), {
    error: 'must be a path in the repository: relative, without ".."',
  })
  .transform(
    (path) =>
      path
        .replaceAll(/\/+/g, '/')
        .replace(/^(?:\.\/)+/, '')
        .replace(/\/$/, '') || '.',
  );

const variables = z
  .record(z.string().regex(VARIABLE, 'must be the name of a variable: letters, digits and "_"'), z.string().max(8192))
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

const payloadSchema = z
  .strictObject({
    repository,
    /** The exact commit, in full; or a branch or tag, which is resolved when the task begins. */
    commit: z.string().regex(COMMIT, 'must be a whole commit hash: 40 or 64 hexadecimal digits').optional(),
    ref: z.string().refine(isRef, { error: 'must be the name of a branch or tag' }).optional(),
    submodules: z.boolean().default(false),
    dockerfile: relativePath.optional(),
    context: relativePath.default('.'),
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
    test: z.strictObject({
      /** A text is run by the image's shell; a list as it is. */
      command: z.union([z.string().min(1).max(16_384), z.array(z.string().max(8192)).min(1).max(200)]),
      env: variables.default({}),
    }),
    /** Files and folders that are kept, and reports in JUnit's form, beneath the folder that the tests are given for them. */
    artifacts: z.array(relativePath).max(50).default([]),
    junit: z.array(relativePath).max(50).default([]),
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
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

/** Reads a payload. Never throws. */
export function readCiPayload(payload: unknown): CiReading {
  const parsed = payloadSchema.safeParse(payload);
  if (parsed.success) return { kind: 'valid', task: parsed.data };
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${['payload', ...path].map(String).join('.')}: ${message}`,
  );
  return { kind: 'invalid', problems };
}

/**
 * The image that is built, without its tag.
 *
 * @param prefix where images of the client may be, such as `registry.example.com/ci/acme`
 * @returns undefined for one that is elsewhere: a client must not overwrite another one's images
 */
export function imageOf(
  { image, repository: url }: Pick<CiTask, 'image' | 'repository'>,
  prefix: string,
): string | undefined {
  if (image !== undefined) return image.startsWith(`${prefix}/`) ? image : undefined;
  const last = new URL(url).pathname.split('/').findLast((part) => part !== '') ?? '';
  const name = last
    .replace(/\.git$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return `${prefix}/${name || 'image'}`;
}
