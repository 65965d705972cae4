/** The only reader of the operator's environment and configuration file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { clientOf, installationId } from '../contract/identity.ts';
import type { Prices } from '../contract/usage.ts';
import { messageOf } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';
import { type StorageAccess, storageAccess } from '../queue/access.ts';
import { signingSecretProblem, signingSecrets } from '../webhook/signature.ts';
import { describeIssues } from './config-problem.ts';
import {
  type ClientConfig,
  configSchema,
  type FileConfig,
  type QueueConfig,
  type TaskTypeConfig,
} from './config-schema.ts';
import { bestPattern } from './name-pattern.ts';

/** A queue to receive from, with its client. */
export interface Source {
  readonly queue: string;
  readonly client: string;
  readonly encoding: QueueConfig['encoding'];
  /** Found by a pattern: that it is gone is no fault. */
  readonly discovered?: boolean;
}

/** A task type with every default filled in. Durations are seconds. */
export interface TaskPolicy extends Omit<TaskTypeConfig, 'resources' | 'runner' | 'image' | 'backend'> {
  readonly type: string;
  readonly image: string;
  readonly imagePullPolicy: FileConfig['runner']['imagePullPolicy'];
  readonly imagePullSecrets: readonly string[];
  readonly runner: 'slipway' | 'foreign';
  readonly backend: FileConfig['backend'];
  readonly attempts: number;
  readonly timeoutSeconds: number;
  readonly graceSeconds: number;
  readonly startTimeoutSeconds: number;
  readonly unschedulableTimeoutSeconds: number;
  readonly resources: FileConfig['defaults']['resources'];
  readonly webhookSettings: FileConfig['webhook'];
  /** Undefined where no price is known. */
  readonly prices: Prices | undefined;
}

/** The operator's effective configuration. Frozen; a change is a new value. */
export interface Config {
  readonly file: FileConfig;
  /** The queues that are named; `discovery` adds others. */
  readonly sources: readonly Source[];
  /** By configured name; `default`, if there, stands for every other. */
  readonly policies: ReadonlyMap<string, TaskPolicy>;
  readonly storage: StorageAccess;
  readonly namespace: string;
  /** The release's name, for labels only. */
  readonly instance: string;
  readonly installation: string;
  readonly podName: string | undefined;
  /** The Deployment or CronJob of the operator, as `deployments/NAME`; only who stops it needs to know. */
  readonly workload: string | undefined;
  /** What signs webhooks; several while they are rotated, none for unsigned ones. */
  readonly webhookSecrets: readonly Secret[];
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

/** The namespaces in which Jobs of the configuration are made: the operator's own, and those that task types name. */
export function namespacesOf({ namespace, policies }: Pick<Config, 'namespace' | 'policies'>): readonly string[] {
  return [...new Set([namespace, ...[...policies.values()].flatMap(({ ci }) => ci?.namespace ?? [])])];
}

/** The settings of a client; undefined when none are for it. */
export function clientSettings(
  config: { readonly file: Pick<FileConfig, 'clients'> },
  client: string,
): ClientConfig | undefined {
  const pattern = bestPattern(Object.keys(config.file.clients), client);
  return pattern === undefined ? undefined : config.file.clients[pattern];
}

/**
 * A task type's policy as it is for one client. A later entry of the same name wins: the client's environment is over the type's. What is the
 * client's goes to its own programs alone: a CI task runs whatever a repository holds, with a service account of its own.
 */
export function policyOfClient(policy: TaskPolicy, client: ClientConfig | undefined): TaskPolicy {
  if (client === undefined || policy.ci !== undefined) return policy;
  const own = new Set(client.env.map(({ name }) => name));
  return {
    ...policy,
    env: [...policy.env.filter(({ name }) => !own.has(name)), ...client.env],
    envFrom: [...policy.envFrom, ...client.envFrom],
    serviceAccountName: client.serviceAccountName ?? policy.serviceAccountName,
  };
}

/**
 * Reads environment and configuration file.
 *
 * @throws ConfigError with all problems of both
 */
export async function loadConfig(env: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const path = env['SLIPWAY_CONFIG'] || '/etc/slipway/config.yaml';
  const file = await readFile(path, 'utf8').then(
    (text) => judgeFile(text, path),
    (error: unknown) =>
      wrong(`${path}: cannot be read (${messageOf(error)}). Mount it, or name another by SLIPWAY_CONFIG`),
  );
  return assemble(file, judgeEnvironment(env));
}

/**
 * Judges a configuration.
 *
 * @param text the file's YAML
 * @param path the file's name, for messages
 * @throws ConfigError with all problems
 */
export function parseConfig(text: string, env: NodeJS.ProcessEnv, path = 'config.yaml'): Config {
  return assemble(judgeFile(text, path), judgeEnvironment(env));
}

/** A value, or all that is wrong with it. */
type Judged<T> = { readonly value: T } | { readonly problems: readonly string[] };

function wrong(...problems: readonly string[]): { readonly problems: readonly string[] } {
  return { problems };
}

function judgeFile(text: string, path: string): Judged<FileConfig> {
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) return wrong(...document.errors.map((error) => `${path}: ${yamlFault(error)}`));
  let raw: unknown;
  try {
    raw = document.toJS();
  } catch (error) {
    return wrong(`${path}: is not YAML: ${firstLine(messageOf(error))}`);
  }
  const parsed = configSchema.safeParse(raw ?? {}, { reportInput: true });
  return parsed.success ? { value: parsed.data } : wrong(...describeIssues(parsed.error.issues, raw ?? {}, path));
}

function yamlFault({ code, message }: { readonly code: string; readonly message: string }): string {
  if (code === 'MULTIPLE_DOCS') return 'holds several YAML documents. Keep one';
  return `is not YAML: ${firstLine(message)}`;
}

// The lines after the first quote the file, which may hold a secret in the wrong place.
function firstLine(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/:$/, '');
}

type Environment = Pick<
  Config,
  'storage' | 'namespace' | 'instance' | 'podName' | 'workload' | 'webhookSecrets' | 'httpPort'
>;

function judgeEnvironment(env: NodeJS.ProcessEnv): Judged<Environment> {
  const problems: string[] = [];
  const storage = storageAccess(env['AZURE_STORAGE_CONNECTION_STRING'], env['AZURE_STORAGE_SAS_URL']);
  if (storage.kind === 'invalid') problems.push(storage.problem);
  const portText = env['SLIPWAY_HTTP_PORT'] || '8080';
  const httpPort = /^\d+$/.test(portText) ? Number(portText) : Number.NaN;
  if (!(httpPort <= 65_535))
    problems.push(`SLIPWAY_HTTP_PORT = "${portText}": must be a port. Use a whole number from 0 to 65535`);
  const namespace = env['SLIPWAY_NAMESPACE'] ?? '';
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace))
    problems.push(
      `SLIPWAY_NAMESPACE${namespace === '' ? ' is not set' : ` = "${namespace}"`}: must be the namespace that Jobs are created in. Set it from metadata.namespace`,
    );
  const secrets = signingSecrets(env['SLIPWAY_WEBHOOK_SECRET']);
  const fault = secrets.map(signingSecretProblem).find((problem) => problem !== undefined);
  if (fault !== undefined) problems.push(`SLIPWAY_WEBHOOK_SECRET (value not shown): ${fault}`);
  if (storage.kind === 'invalid' || problems.length > 0) return wrong(...problems);
  return {
    value: {
      storage,
      namespace,
      instance: env['SLIPWAY_INSTANCE'] || 'slipway',
      podName: env['SLIPWAY_POD_NAME'] || undefined,
      workload: env['SLIPWAY_WORKLOAD'] || undefined,
      webhookSecrets: secrets,
      httpPort,
    },
  };
}

function assemble(judgedFile: Judged<FileConfig>, environment: Judged<Environment>): Config {
  if ('problems' in judgedFile || 'problems' in environment)
    throw new ConfigError([judgedFile, environment].flatMap((judged) => ('problems' in judged ? judged.problems : [])));
  const { value: file } = judgedFile;
  const { storage, namespace } = environment.value;
  return Object.freeze({
    ...environment.value,
    file,
    sources: file.queues.map((queue) => ({
      queue: queue.name,
      client: queue.client ?? clientOf(queue.name) ?? queue.name,
      encoding: queue.encoding,
    })),
    policies: new Map(
      Object.entries(file.taskTypes).map(([type, settings]) => [type, compilePolicy(type, settings, file)]),
    ),
    installation: installationId(storage.account, namespace, file.installation),
    hash: createHash('sha256').update(JSON.stringify(file)).digest('hex').slice(0, 12),
  });
}

/** A build that fails is seldom mended by being repeated, one that could not reach its registry is. */
const CI_ATTEMPTS = 2;
/** Reports and artifacts are stored within it. */
const CI_GRACE_S = 120;

function compilePolicy(type: string, settings: TaskTypeConfig, file: FileConfig): TaskPolicy {
  const { image, runner: configured, resources, ...rest } = settings;
  const isCi = settings.ci !== undefined;
  const runner = configured ?? (image === undefined || image === file.runner.image ? 'slipway' : 'foreign');
  // Images can be built in the cluster alone.
  const backend = isCi ? 'kubernetes' : (settings.backend ?? file.backend);
  const { attempts, timeoutSeconds, graceSeconds, startTimeoutSeconds, unschedulableTimeoutSeconds } = file.defaults;
  return {
    ...rest,
    type,
    ...(isCi ? ({ security: 'baseline', webhook: 'operator' } as const) : {}),
    runner,
    backend,
    prices: file.prices[backend],
    image: image ?? file.runner.image,
    imagePullPolicy: file.runner.imagePullPolicy,
    imagePullSecrets: file.runner.imagePullSecrets,
    attempts: settings.attempts ?? (isCi ? Math.min(CI_ATTEMPTS, attempts) : runner === 'foreign' ? 1 : attempts),
    timeoutSeconds: settings.timeoutSeconds ?? timeoutSeconds,
    graceSeconds: settings.graceSeconds ?? (isCi ? Math.max(CI_GRACE_S, graceSeconds) : graceSeconds),
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
