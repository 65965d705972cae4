/** The only reader of the runner's environment. */
import { z } from 'zod';
import { poisonQueueOf } from '../contract/identity.ts';
import { ENCODINGS } from '../contract/message.ts';
import { RUNNER_ENV, TERMINATION_LOG, TERMINATION_LOG_ENV } from '../contract/runner-abi.ts';
import { parseRate } from '../contract/usage.ts';
import { WEBHOOK_FORMATS, webhookIdBase } from '../contract/webhook.ts';
import { tryParseJson } from '../lib/json.ts';
import { Secret } from '../lib/secret.ts';
import { storageAccess } from '../queue/access.ts';
import { allowEntryProblem } from '../webhook/allow-list.ts';
import { signingSecretProblem, signingSecrets } from '../webhook/signature.ts';
import type { OpenAiSettings, PollingConfig, RunnerSettings, SidecarConfig, TaskConfig } from './settings.ts';

/** The environment as read: a configuration, or everything that is wrong with it. */
export type ConfigReading =
  | { readonly kind: 'valid'; readonly config: TaskConfig | PollingConfig | SidecarConfig }
  /** Each problem is a sentence: variable, value (a secret's is not shown), what is wrong and what to do. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[]; readonly terminationLog: string };

const SECRETS: ReadonlySet<string> = new Set([
  RUNNER_ENV.taskData,
  RUNNER_ENV.webhookSecret,
  'AZURE_STORAGE_CONNECTION_STRING',
  'AZURE_STORAGE_SAS_URL',
  'OPENAI_API_KEY',
  'SUPABASE_KEY',
]);

const number = (min: number, max: number, otherwise: string) =>
  z
    .string()
    .regex(/^\d+$/, `is no whole number. Use ${min} to ${max}, or leave it out${otherwise}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `is out of range. Use ${min} to ${max}`);
const whole = (min: number, max: number, fallback: number) => number(min, max, ` for ${fallback}`).default(fallback);

const baseUrl = z.string().refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ''), {
  error: 'is no http or https URL. Copy it whole, such as https://example.test/v1',
});

/** As the operator writes it, from the task's payload. */
const wantedOfTests = z.string().transform((text, context) => {
  const parsed = z.object({ artifacts: z.array(z.string()), junit: z.array(z.string()) }).safeParse(tryParseJson(text));
  if (parsed.success) return parsed.data;
  context.addIssue('is no JSON with artifacts and junit. Leave it to the operator');
  return z.NEVER;
});

function queueProblem(name: string): string | undefined {
  if (!/^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/.test(name))
    return 'is no name of a queue: 3 to 63 lower-case letters, digits and single hyphens';
  if (name.endsWith('-poison')) return 'is a poison queue: what is in it was given up. Name the task queue';
  if (poisonQueueOf(name).length > 63) return 'is too long: its poison queue {name}-poison would pass 63 characters';
  return undefined;
}

const queueNames = z
  .string()
  .transform(splitList)
  .superRefine((names, context) => {
    if (names.length === 0) context.addIssue('names no queue. Name at least one, such as acme-tasks');
    for (const name of names) {
      const wrong = queueProblem(name);
      if (wrong !== undefined) context.addIssue(`has the entry "${name}", which ${wrong}`);
    }
  });

const price = z
  .string()
  .regex(/^\d+(\.\d+)?$/, 'is no price. Use US dollars for a million tokens, such as 0.25')
  .transform(Number)
  .optional();

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
  [RUNNER_ENV.taskData]: z.string().optional(),
  [RUNNER_ENV.taskId]: z.string().default(''),
  [RUNNER_ENV.taskType]: z.string().default(''),
  [RUNNER_ENV.clientId]: z.string().default('default'),
  [RUNNER_ENV.taskTimeout]: whole(1, 604_800, 1800),
  // One for a task, three for a message of a queue that is polled.
  [RUNNER_ENV.maxAttempts]: number(1, 1000, '').optional(),
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
  // Kubernetes' name of the pod.
  HOSTNAME: z.string().optional(),
  SLIPWAY_HANDLERS: z.string().default('').transform(splitList),
  CI_COLLECT: wantedOfTests.optional(),
  CI_ARTIFACTS: z.string().default('/artifacts'),
  CI_COLLECT_WITHIN: whole(1, 3600, 60),
  WORKER_QUEUES: queueNames.optional(),
  WORKER_ENCODING: oneOf(ENCODINGS, 'auto'),
  WORKER_CONCURRENCY: whole(1, 64, 1),
  WORKER_IDLE_MIN: whole(1, 3600, 5),
  WORKER_IDLE_MAX: whole(1, 3600, 60),
  WORKER_STOP: whole(0, 86_400, 25),
  AZURE_STORAGE_SAS_URL: z.string().optional(),
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
  OPENAI_BASE_URL: baseUrl.optional(),
  OPENAI_MODEL: z.string().default('gpt-5-mini'),
  OPENAI_CONTEXT_TOKENS: whole(2000, 10_000_000, 100_000),
  OPENAI_MAX_OUTPUT_TOKENS: whole(100, 1_000_000, 8000),
  OPENAI_MAX_PIECES: whole(1, 10_000, 100),
  OPENAI_TIMEOUT: whole(1, 3600, 300),
  OPENAI_PRICE_INPUT: price,
  OPENAI_PRICE_OUTPUT: price,
  SUPABASE_URL: baseUrl.optional(),
  SUPABASE_KEY: z.string().optional(),
  SUPABASE_SCHEMA: z
    .string()
    .regex(/^[A-Za-z_][\w$]{0,62}$/, 'is no name of a schema')
    .default('public'),
});

/** Every variable that is read. */
export const VARIABLES: readonly string[] = Object.keys(environmentSchema.shape);

/**
 * Reads the environment. A variable that is set to nothing counts as not set, but for TASK_DATA: a template that has lost it must not turn a
 * Job into a worker that polls.
 */
export function readConfig(env: NodeJS.ProcessEnv = process.env): ConfigReading {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const terminationLog = set[TERMINATION_LOG_ENV] ?? TERMINATION_LOG;
  const parsed = environmentSchema.safeParse(set);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => describe(String(issue.path[0]), issue.message, set));
    const config = sidecarConfig(set, new Set(parsed.error.issues.map((issue) => String(issue.path[0]))), problems);
    return config === undefined ? { kind: 'invalid', problems, terminationLog } : { kind: 'valid', config };
  }
  const config = compile(parsed.data, env);
  return 'problem' in config
    ? { kind: 'invalid', problems: [config.problem], terminationLog }
    : { kind: 'valid', config };
}

/**
 * A sidecar that ended for its configuration would be started again and again, and hold its pod up; and what the tests have left can be read
 * all the same.
 *
 * @param wrong variables that cannot be read: they count as not set
 * @returns undefined where nothing says what is to be collected
 */
function sidecarConfig(
  set: NodeJS.ProcessEnv,
  wrong: ReadonlySet<string>,
  problems: readonly string[],
): SidecarConfig | undefined {
  if (set['CI_COLLECT'] === undefined || wrong.has('CI_COLLECT')) return undefined;
  const rest = environmentSchema.safeParse(
    Object.fromEntries(Object.entries(set).filter(([name]) => !wrong.has(name))),
  );
  const config = rest.success ? compile(rest.data, set) : undefined;
  return config !== undefined && 'mode' in config && config.mode === 'sidecar' ? { ...config, problems } : undefined;
}

/** The part of `webhook-id` that stands for the task: the operator's, or one that is at least stable for the task. */
export function webhookBase(config: TaskConfig, taskId: string): string {
  return config.webhookId ?? webhookIdBase({ account: '', queue: config.clientId, messageId: taskId });
}

type Environment = z.output<typeof environmentSchema>;

const NO_TASK =
  'TASK_DATA is not set, so there is no task to do. The operator sets it from the message; by hand: TASK_DATA=\'{"task_id":"1","task_type":"echo","payload":{}}\'. To poll queues as the old worker did, set WORKER_QUEUES';

/** By what is set: one task, or queues to poll. */
function compile(
  read: Environment,
  env: NodeJS.ProcessEnv,
): TaskConfig | PollingConfig | SidecarConfig | { readonly problem: string } {
  const common = {
    clientId: read.CLIENT_ID,
    pod: read.HOSTNAME,
    timeoutMs: read.WORKER_TASK_TIMEOUT * 1000,
    webhook: {
      format: read.SLIPWAY_WEBHOOK_FORMAT,
      allow: read.SLIPWAY_WEBHOOK_ALLOW,
      secrets: read.SLIPWAY_WEBHOOK_SECRET,
    },
    rate: read.SLIPWAY_RATE,
    logLevel: read.LOG_LEVEL,
    handlers: read.SLIPWAY_HANDLERS,
    settings: settingsOf(read),
  };
  const { TASK_DATA: taskData, TASK_MAX_ATTEMPTS: attempts } = read;
  if (read.CI_COLLECT !== undefined)
    return {
      ...common,
      mode: 'sidecar',
      maxAttempts: 1,
      taskId: read.TASK_ID,
      directory: read.CI_ARTIFACTS,
      wanted: read.CI_COLLECT,
      withinMs: read.CI_COLLECT_WITHIN * 1000,
      problems: [],
      terminationLog: read.SLIPWAY_TERMINATION_LOG,
    };
  if (taskData !== undefined)
    return {
      ...common,
      mode: 'task',
      taskData,
      taskId: read.TASK_ID,
      taskType: read.TASK_TYPE,
      maxAttempts: attempts ?? 1,
      webhookId: read.SLIPWAY_WEBHOOK_ID,
      terminationLog: read.SLIPWAY_TERMINATION_LOG,
    };
  if (env[RUNNER_ENV.taskData] !== undefined)
    return { problem: `TASK_DATA is empty. ${NO_TASK.slice(NO_TASK.indexOf('The operator'))}` };
  if (read.TASK_ID !== '') return { problem: `TASK_ID is set, and TASK_DATA is not: the Job's template has lost it` };
  if (read.WORKER_QUEUES === undefined) return { problem: NO_TASK };
  if (read.WORKER_IDLE_MIN > read.WORKER_IDLE_MAX)
    return {
      problem: `WORKER_IDLE_MIN = ${read.WORKER_IDLE_MIN} is more than WORKER_IDLE_MAX = ${read.WORKER_IDLE_MAX}`,
    };
  const access = storageAccess(env['AZURE_STORAGE_CONNECTION_STRING'], read.AZURE_STORAGE_SAS_URL);
  if (access.kind === 'invalid') return { problem: access.problem };
  return {
    ...common,
    mode: 'polling',
    maxAttempts: attempts ?? 3,
    access,
    queues: read.WORKER_QUEUES,
    encoding: read.WORKER_ENCODING,
    concurrency: read.WORKER_CONCURRENCY,
    idle: { shortestMs: read.WORKER_IDLE_MIN * 1000, longestMs: read.WORKER_IDLE_MAX * 1000 },
    stopWithinMs: read.WORKER_STOP * 1000,
  };
}

function settingsOf(read: Environment): RunnerSettings {
  const { SUPABASE_URL: url, SUPABASE_KEY: key } = read;
  return {
    storage: read.AZURE_STORAGE_CONNECTION_STRING,
    resultContainer: read.RESULT_CONTAINER,
    maxDocumentBytes: read.DOCUMENT_MAX_MIB * 1024 * 1024,
    documentHosts: read.DOCUMENT_URL_HOSTS,
    openAi: openAiSettings(read),
    supabase:
      url === undefined || key === undefined ? undefined : { url, key: new Secret(key), schema: read.SUPABASE_SCHEMA },
  };
}

function openAiSettings(read: Environment): OpenAiSettings | undefined {
  if (read.OPENAI_API_KEY === undefined) return undefined;
  const { OPENAI_PRICE_INPUT: input, OPENAI_PRICE_OUTPUT: output } = read;
  return {
    key: new Secret(read.OPENAI_API_KEY),
    baseUrl: read.OPENAI_BASE_URL,
    model: read.OPENAI_MODEL,
    contextTokens: read.OPENAI_CONTEXT_TOKENS,
    maxOutputTokens: read.OPENAI_MAX_OUTPUT_TOKENS,
    maxPieces: read.OPENAI_MAX_PIECES,
    timeoutMs: read.OPENAI_TIMEOUT * 1000,
    prices: input === undefined || output === undefined ? undefined : { input, output },
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
