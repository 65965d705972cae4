/** The only reader of the runner's environment. */
import { z } from 'zod';
import { RUNNER_ENV, TERMINATION_LOG, TERMINATION_LOG_ENV } from '../contract/runner-abi.ts';
import { parseRate, type Rate } from '../contract/usage.ts';
import { WEBHOOK_FORMATS, type WebhookFormat, webhookIdBase } from '../contract/webhook.ts';
import { Secret } from '../lib/secret.ts';
import { storageAccess } from '../queue/access.ts';
import { allowEntryProblem } from '../webhook/allow-list.ts';
import { signingSecretProblem, signingSecrets } from '../webhook/signature.ts';

/** What handlers may need. */
export interface RunnerSettings {
  /** Undefined when no storage account is configured: then there are no documents and no place for results. */
  readonly storage: Secret | undefined;
  /** Container for results. */
  readonly resultContainer: string;
  readonly maxDocumentBytes: number;
  /** Hosts besides Azure's that a document's URL may name. */
  readonly documentHosts: readonly string[];
  /** Settings of later stages; undefined when they are not set. */
  readonly openAiKey: Secret | undefined;
  readonly supabase: { readonly url: string; readonly key: Secret } | undefined;
}

/** The runner's configuration for one task. */
export interface RunnerConfig {
  /** The message's JSON text. */
  readonly taskData: string;
  /** As the operator read them; '' when not set. What the message itself says goes first. */
  readonly taskId: string;
  readonly taskType: string;
  readonly clientId: string;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly webhook: {
    /** Undefined when the operator gave none: derived from the task then. */
    readonly idBase: string | undefined;
    readonly format: WebhookFormat;
    readonly allow: readonly string[];
    readonly secrets: readonly Secret[];
  };
  /** What a second of the task takes. */
  readonly rate: Rate | undefined;
  readonly terminationLog: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly settings: RunnerSettings;
}

/** The environment as read: a configuration, or everything that is wrong with it. */
export type ConfigReading =
  | { readonly kind: 'valid'; readonly config: RunnerConfig }
  /** Each problem is a sentence: variable, value (a secret's is not shown), what is wrong and what to do. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[]; readonly terminationLog: string };

const SECRETS: ReadonlySet<string> = new Set([
  RUNNER_ENV.taskData,
  RUNNER_ENV.webhookSecret,
  'AZURE_STORAGE_CONNECTION_STRING',
  'OPENAI_API_KEY',
  'SUPABASE_KEY',
]);

const whole = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/, `is no whole number. Use ${min} to ${max}, or leave it out for ${fallback}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `is out of range. Use ${min} to ${max}`)
    .default(fallback);

const hostList = z
  .string()
  .default('')
  .transform(splitList)
  .superRefine((entries, context) => {
    for (const entry of entries) {
      const problem = allowEntryProblem(entry);
      if (problem !== undefined) context.addIssue(`has the entry "${entry}", which ${problem}`);
    }
  });

const oneOf = <Value extends string>(values: readonly Value[], fallback: Value) =>
  z.enum(values, `is not known. Use one of ${values.join(', ')}`).default(fallback);

const environmentSchema = z.object({
  [RUNNER_ENV.taskData]: z.string(
    'is not set, so there is no task to do. The operator sets it from the message; by hand: TASK_DATA=\'{"task_id":"1","task_type":"echo","payload":{}}\'',
  ),
  [RUNNER_ENV.taskId]: z.string().default(''),
  [RUNNER_ENV.taskType]: z.string().default(''),
  [RUNNER_ENV.clientId]: z.string().default('default'),
  [RUNNER_ENV.taskTimeout]: whole(1, 604_800, 1800),
  [RUNNER_ENV.maxAttempts]: whole(1, 1000, 1),
  [RUNNER_ENV.webhookId]: z
    .string()
    .regex(
      /^[A-Za-z0-9_-]{1,128}$/,
      'may have letters, digits, "_" and "-" only, at most 128. Leave it to the operator',
    )
    .optional(),
  [RUNNER_ENV.webhookFormat]: oneOf(WEBHOOK_FORMATS, 'slipway'),
  [RUNNER_ENV.webhookAllow]: hostList,
  [RUNNER_ENV.webhookSecret]: z
    .string()
    .default('')
    .transform(signingSecrets)
    .superRefine((secrets, context) => {
      const problem = secrets.map(signingSecretProblem).find((found) => found !== undefined);
      if (problem !== undefined) context.addIssue(problem);
    }),
  // Only told on: a task is not refused for it.
  [RUNNER_ENV.rate]: z.string().optional().transform(parseRate),
  [TERMINATION_LOG_ENV]: z.string().default(TERMINATION_LOG),
  LOG_LEVEL: oneOf(['debug', 'info', 'warn', 'error'], 'info'),
  AZURE_STORAGE_CONNECTION_STRING: z
    .string()
    .transform((text, context) => {
      const access = storageAccess(text, undefined);
      // As the queue's side has read it, so that both take the same strings.
      if (access.kind !== 'invalid') return access.secret;
      context.addIssue(
        'is no connection string. Copy it whole: DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net',
      );
      return z.NEVER;
    })
    .optional(),
  RESULT_CONTAINER: z
    .string()
    .regex(
      /^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/,
      'is no container name. Use 3 to 63 lower-case letters, digits and single hyphens',
    )
    .default('results'),
  DOCUMENT_MAX_MIB: whole(1, 500, 50),
  DOCUMENT_URL_HOSTS: hostList,
  OPENAI_API_KEY: z.string().optional(),
  SUPABASE_URL: z.string().optional(),
  SUPABASE_KEY: z.string().optional(),
});

/** Reads the environment. A variable that is set to nothing counts as not set. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): ConfigReading {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environmentSchema.safeParse(set);
  if (parsed.success) return { kind: 'valid', config: compile(parsed.data) };
  return {
    kind: 'invalid',
    problems: parsed.error.issues.map((issue) => describe(String(issue.path[0]), issue.message, set)),
    terminationLog: set[TERMINATION_LOG_ENV] ?? TERMINATION_LOG,
  };
}

/** The part of `webhook-id` that stands for the task: the operator's, or one that is at least stable for the task. */
export function webhookBase(config: RunnerConfig, taskId: string): string {
  return config.webhook.idBase ?? webhookIdBase({ account: '', queue: config.clientId, messageId: taskId });
}

function compile(read: z.output<typeof environmentSchema>): RunnerConfig {
  const { SUPABASE_URL: supabaseUrl, SUPABASE_KEY: supabaseKey, OPENAI_API_KEY: openAiKey } = read;
  return {
    taskData: read.TASK_DATA,
    taskId: read.TASK_ID,
    taskType: read.TASK_TYPE,
    clientId: read.CLIENT_ID,
    timeoutMs: read.WORKER_TASK_TIMEOUT * 1000,
    maxAttempts: read.TASK_MAX_ATTEMPTS,
    webhook: {
      idBase: read.SLIPWAY_WEBHOOK_ID,
      format: read.SLIPWAY_WEBHOOK_FORMAT,
      allow: read.SLIPWAY_WEBHOOK_ALLOW,
      secrets: read.SLIPWAY_WEBHOOK_SECRET,
    },
    rate: read.SLIPWAY_RATE,
    terminationLog: read.SLIPWAY_TERMINATION_LOG,
    logLevel: read.LOG_LEVEL,
    settings: {
      storage: read.AZURE_STORAGE_CONNECTION_STRING,
      resultContainer: read.RESULT_CONTAINER,
      maxDocumentBytes: read.DOCUMENT_MAX_MIB * 1024 * 1024,
      documentHosts: read.DOCUMENT_URL_HOSTS,
      openAiKey: openAiKey === undefined ? undefined : new Secret(openAiKey),
      supabase:
        supabaseUrl === undefined || supabaseKey === undefined
          ? undefined
          : { url: supabaseUrl, key: new Secret(supabaseKey) },
    },
  };
}

function describe(name: string, problem: string, env: NodeJS.ProcessEnv): string {
  const value = env[name];
  if (value === undefined) return `${name} ${problem}`;
  return SECRETS.has(name)
    ? `${name} (value not shown) ${problem}`
    : `${name} = ${JSON.stringify(value.slice(0, 80))} ${problem}`;
}

function splitList(text: string): string[] {
  return text.split(/[\s,]+/).filter((entry) => entry !== '');
}
