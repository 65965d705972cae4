/** The only reader of the operator's environment and configuration file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { clientOf, installationId } from '../contract/identity.ts';
import { messageOf } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import { type StorageAccess, storageAccess } from '../queue/access.ts';
import { configSchema, type FileConfig, type QueueConfig, type TaskTypeConfig } from './config-schema.ts';

/** A queue to receive from, with its client. */
export interface Source {
  readonly queue: string;
  readonly client: string;
  readonly encoding: QueueConfig['encoding'];
}

/** A task type with every default filled in. Durations are seconds. */
export interface TaskPolicy extends Omit<TaskTypeConfig, 'resources' | 'runner' | 'image'> {
  readonly type: string;
  readonly image: string;
  readonly imagePullPolicy: FileConfig['runner']['imagePullPolicy'];
  readonly imagePullSecrets: readonly string[];
  readonly runner: 'slipway' | 'foreign';
  readonly attempts: number;
  readonly timeoutSeconds: number;
  readonly graceSeconds: number;
  readonly startTimeoutSeconds: number;
  readonly unschedulableTimeoutSeconds: number;
  readonly resources: FileConfig['defaults']['resources'];
  readonly webhookSettings: FileConfig['webhook'];
}

/** The operator's effective configuration. Frozen; a change is a new value. */
export interface Config {
  readonly file: FileConfig;
  readonly sources: readonly Source[];
  /** By configured name; `default`, if there, stands for every other. */
  readonly policies: ReadonlyMap<string, TaskPolicy>;
  readonly storage: StorageAccess;
  readonly namespace: string;
  /** The release's name, for labels only. */
  readonly instance: string;
  readonly installation: string;
  readonly podName: string | undefined;
  readonly webhookSecret: Secret | undefined;
  readonly httpPort: number;
  /** Short hash of the file, written on each Job that was made under it. */
  readonly hash: string;
}

/** Everything that is wrong with a configuration, each problem a sentence with place, value and remedy. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `the configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/** The policy of a task type, or of `default`, or undefined for an unknown type. */
export function policyFor(config: Pick<Config, 'policies'>, taskType: string): TaskPolicy | undefined {
  return config.policies.get(taskType) ?? config.policies.get('default');
}

/**
 * Reads environment and configuration file.
 *
 * @throws ConfigError with all problems of both
 */
export async function loadConfig(env: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const path = env['SLIPWAY_CONFIG'] ?? '/etc/slipway/config.yaml';
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new ConfigError([
      `${path}: cannot be read (${messageOf(error)}). Mount it, or name another file by SLIPWAY_CONFIG`,
    ]);
  }
  return parseConfig(text, env, path);
}

/**
 * Judges a configuration.
 *
 * @param text the file's YAML
 * @param path the file's name, for messages
 * @throws ConfigError with all problems
 */
export function parseConfig(text: string, env: NodeJS.ProcessEnv, path = 'config.yaml'): Config {
  const problems: string[] = [];
  const document = parseDocument(text, { prettyErrors: true });
  problems.push(...document.errors.map((error) => `${path}: is not YAML: ${error.message.split('\n')[0]}`));
  const raw: unknown = document.errors.length === 0 ? document.toJS() : {};
  const parsed = configSchema.safeParse(raw ?? {}, { reportInput: true });
  if (!parsed.success && document.errors.length === 0)
    problems.push(...parsed.error.issues.map((issue) => describe(issue, raw, path)));

  const storage = storageAccess(env['AZURE_STORAGE_CONNECTION_STRING'], env['AZURE_STORAGE_SAS_URL']);
  if (storage.kind === 'invalid') problems.push(storage.problem);
  const port = Number(env['SLIPWAY_HTTP_PORT'] ?? 8080);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    problems.push(
      `SLIPWAY_HTTP_PORT = ${env['SLIPWAY_HTTP_PORT']}: must be a port. Use a whole number from 0 to 65535`,
    );
  const namespace = env['SLIPWAY_NAMESPACE'] ?? '';
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace))
    problems.push(
      `SLIPWAY_NAMESPACE = "${namespace}": must be the namespace that Jobs are created in. Set it from metadata.namespace`,
    );
  const secret = env['SLIPWAY_WEBHOOK_SECRET'] ?? '';
  if (secret !== '' && !/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/.test(secret))
    problems.push(
      'SLIPWAY_WEBHOOK_SECRET (value not shown): must be whsec_ and base64 of 24 to 64 bytes. Make one: echo "whsec_$(openssl rand -base64 32)"',
    );

  if (!parsed.success || storage.kind === 'invalid' || problems.length > 0) throw new ConfigError(problems);
  const file = parsed.data;
  return Object.freeze({
    file,
    sources: file.queues.map((queue) => ({
      queue: queue.name,
      client: queue.client ?? clientOf(queue.name) ?? queue.name,
      encoding: queue.encoding,
    })),
    policies: new Map(
      Object.entries(file.taskTypes).map(([type, settings]) => [type, compilePolicy(type, settings, file)]),
    ),
    storage,
    namespace,
    instance: env['SLIPWAY_INSTANCE'] ?? 'slipway',
    installation: installationId(storage.account, namespace, file.installation),
    podName: env['SLIPWAY_POD_NAME'],
    webhookSecret: secret === '' ? undefined : new Secret(secret),
    httpPort: port,
    hash: createHash('sha256').update(JSON.stringify(file)).digest('hex').slice(0, 12),
  });
}

function compilePolicy(type: string, settings: TaskTypeConfig, file: FileConfig): TaskPolicy {
  const { image, runner: configured, resources, ...rest } = settings;
  const runner = configured ?? (image === undefined || image === file.runner.image ? 'slipway' : 'foreign');
  const { attempts, timeoutSeconds, graceSeconds, startTimeoutSeconds, unschedulableTimeoutSeconds } = file.defaults;
  return {
    ...rest,
    type,
    runner,
    image: image ?? file.runner.image,
    imagePullPolicy: file.runner.imagePullPolicy,
    imagePullSecrets: file.runner.imagePullSecrets,
    attempts: settings.attempts ?? (runner === 'foreign' ? 1 : attempts),
    timeoutSeconds: settings.timeoutSeconds ?? timeoutSeconds,
    graceSeconds: settings.graceSeconds ?? graceSeconds,
    startTimeoutSeconds: settings.startTimeoutSeconds ?? startTimeoutSeconds,
    unschedulableTimeoutSeconds: settings.unschedulableTimeoutSeconds ?? unschedulableTimeoutSeconds,
    resources: { ...file.defaults.resources, ...dropUndefined(resources ?? {}) },
    webhookSettings: file.webhook,
  };
}

function dropUndefined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** A zod issue as a sentence: file, path, value, what is wrong, what to do. */
function describe(issue: z.core.$ZodIssue, raw: unknown, file: string): string {
  const place =
    issue.path.length === 0
      ? ''
      : ` ${issue.path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`), '')}`;
  const value = issue.path.reduce<unknown>(
    (at, part) => (typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined),
    raw,
  );
  if (issue.code === 'unrecognized_keys')
    return `${file}:${place} has the unknown ${issue.keys.length === 1 ? 'setting' : 'settings'} ${issue.keys.map((key) => `"${key}"`).join(', ')}. Remove or correct: see the values table for the known ones`;
  const shown = value === undefined ? ' is not set' : ` = ${JSON.stringify(value).slice(0, 80)}`;
  return `${file}:${place}${shown}: ${remedy(issue, value)}`;
}

function remedy(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? `is required. Set it to a ${issue.expected}`
        : `must be a ${issue.expected === 'int' ? 'whole number' : issue.expected}. Correct its type`;
    case 'too_small':
      return issue.origin === 'string'
        ? `is too short. Use at least ${issue.minimum} characters`
        : issue.message.startsWith('Too small')
          ? `is too small. Use ${issue.minimum} or more`
          : issue.message;
    case 'too_big':
      return issue.origin === 'string'
        ? `is too long. Use at most ${issue.maximum} characters`
        : `is too large. Use ${issue.maximum} or less`;
    case 'invalid_value':
      return issue.message.startsWith('Invalid')
        ? `is not known. Use one of ${issue.values.map(String).join(', ')}`
        : issue.message;
    case 'invalid_key':
      return issue.issues.map((inner) => inner.message).join('; ');
    default:
      return issue.message;
  }
}
