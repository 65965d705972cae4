/** What a configuration comes to, for people: queues, clients, task types, and what is allowed but seldom wanted. */
import type { Config, TaskPolicy } from '../operator/config.ts';
import { ciWarnings } from './ci-warnings.ts';
import { duration } from './durations.ts';
import { table, width } from './text.ts';
import { wrapped } from './wrap.ts';

/** A queue and what becomes of it. */
interface QueueSummary {
  readonly queue: string;
  readonly client: string;
  readonly encoding: string;
}

/** A task type with everything that it gets. Durations are seconds. */
interface TypeSummary {
  readonly type: string;
  readonly image: string;
  readonly runner: string;
  readonly attempts: number;
  readonly timeoutSeconds: number;
  readonly graceSeconds: number;
  readonly startTimeoutSeconds: number;
  readonly unschedulableTimeoutSeconds: number;
  readonly resources: TaskPolicy['resources'];
  readonly security: string;
  readonly webhook: string;
}

/** A configuration, summed up; the shape of `--json`. */
export interface ConfigSummary {
  readonly queues: readonly QueueSummary[];
  readonly taskTypes: readonly TypeSummary[];
  readonly settings: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Sums up a configuration. */
export function summarize(config: Config): ConfigSummary {
  const { file } = config;
  return {
    queues: config.sources.map(({ queue, client, encoding }) => ({ queue, client, encoding })),
    taskTypes: [...config.policies.values()].map(summaryOfType),
    settings: {
      ...(file.discovery === undefined ? {} : { discovery: discovered(file.discovery) }),
      ...Object.fromEntries([...config.policies.values()].flatMap(ciSetting)),
      ...(file.aci === undefined ? {} : { aci: onAzure([...config.policies.values()], file.aci) }),
      'limits.maxRunning': `${file.limits.maxRunning} tasks at once`,
      polling: `every ${file.polling.minIntervalSeconds} s to ${file.polling.maxIntervalSeconds} s while a queue is empty`,
      lease: `${duration(file.lease.firstSeconds)} at receipt, then ${duration(file.lease.renewSeconds)}${file.lease.shared ? ', shared with another consumer' : ''}`,
      webhooks: `format ${file.webhook.format}, ${file.webhook.signingSecret === undefined ? 'unsigned' : `signed by Secret ${file.webhook.signingSecret.name}`}, ${file.webhook.allow.length === 0 ? 'to public addresses only' : `also to ${file.webhook.allow.join(', ')}`}`,
      poison: `format ${file.poison.format}`,
      'Jobs stay': `${duration(file.ttl.completedSeconds)} after completing, ${duration(file.ttl.failedSeconds)} after failing`,
    },
    warnings: warningsOf(config),
  };
}

/** How a CI type's tasks are built and tested. */
function ciSetting({ type, ci, timeoutSeconds }: TaskPolicy): readonly (readonly [string, string])[] {
  if (ci === undefined) return [];
  const { images, namespace, registrySecret, gitSecret, builder, test } = ci;
  const secrets = [registrySecret, gitSecret].filter((name) => name !== undefined);
  const parts = [
    `clones and builds within ${duration(builder.timeoutSeconds)} (${builder.resources.cpu} CPU, ${builder.resources.memory})`,
    `pushes to ${images}/CLIENT/REPOSITORY`,
    builder.cache === undefined ? 'without a cache' : `keeps layers in ${builder.cache}`,
    `tests for ${duration(timeoutSeconds)} as ${test.user === 'image' ? "the image's user" : `user ${test.user}`}`,
    ...(namespace === undefined ? [] : [`in namespace ${namespace}`]),
    ...(secrets.length === 0 ? [] : [`with the Secrets ${secrets.join(', ')}`]),
  ];
  return [[`ci (${type})`, parts.join(', ')]];
}

function discovered(discovery: NonNullable<Config['file']['discovery']>): string {
  return `${discoveredQueues(discovery)}, looked for every ${discovery.intervalSeconds} s`;
}

/** Which queues discovery takes, in words. */
export function discoveredQueues({ include, exclude }: NonNullable<Config['file']['discovery']>): string {
  const but = exclude.length === 0 ? '' : ` but ${exclude.join(', ')}`;
  return `the account's queues ${include.join(', ')}${but}`;
}

function onAzure(
  policies: readonly TaskPolicy[],
  { resourceGroup, location }: NonNullable<Config['file']['aci']>,
): string {
  const types = policies.filter(({ backend }) => backend === 'aci').map(({ type }) => type);
  const which = types.length === policies.length ? 'all types' : types.join(', ') || 'no type';
  return `${which} on Azure Container Instances, in resource group ${resourceGroup} in ${location}`;
}

function summaryOfType(policy: TaskPolicy): TypeSummary {
  const { type, image, runner, attempts, timeoutSeconds, graceSeconds, security, webhook, resources } = policy;
  const { startTimeoutSeconds, unschedulableTimeoutSeconds, ci } = policy;
  return {
    type,
    image: ci?.builder.image ?? image,
    runner: ci === undefined ? runner : 'builder',
    attempts,
    timeoutSeconds,
    graceSeconds,
    startTimeoutSeconds,
    unschedulableTimeoutSeconds,
    resources,
    security,
    webhook,
  };
}

/** The summary as lines, without the warnings. */
export function summaryLines(summary: ConfigSummary, columns: number | undefined): readonly string[] {
  const queues = summary.queues.map(({ queue, client, encoding }) => [queue, client, encoding]);
  const types = summary.taskTypes.map((type) => [
    type.type,
    String(type.attempts),
    duration(type.timeoutSeconds),
    duration(type.graceSeconds),
    duration(type.startTimeoutSeconds),
    duration(type.unschedulableTimeoutSeconds),
    type.resources.cpu,
    type.resources.memory,
    type.security,
    type.webhook,
  ]);
  // Images are long, and most types share one.
  const images = Map.groupBy(summary.taskTypes, ({ image, runner }) => `${image} ${runner}`);
  const settings = Object.entries(summary.settings);
  const names = Math.max(...settings.map(([name]) => width(name)));
  return [
    // With discovery alone no queue is named.
    ...(queues.length === 0 ? [] : [...table(['QUEUE', 'CLIENT', 'ENCODING'], queues, columns), '']),
    ...table(
      ['TYPE', 'TRIES', 'RUNS', 'GRACE', 'STARTS', 'WAITS', 'CPU', 'MEMORY', 'SECURITY', 'WEBHOOK'],
      types,
      columns,
    ),
    '',
    ...table(
      ['IMAGE', 'RUNNER', 'TYPES'],
      [...images.values()].map((of) => [
        of[0]?.image ?? '',
        of[0]?.runner ?? '',
        of.map(({ type }) => type).join(', '),
      ]),
      columns,
    ),
    '',
    ...settings.flatMap(([name, value]) => wrapped(`${name.padEnd(names)}  `, value, columns).split('\n')),
  ];
}

/** What the schema allows but a production cluster seldom wants, one sentence each, with what to do. */
function warningsOf(config: Config): readonly string[] {
  const { file } = config;
  const policies = [...config.policies.values()];
  return [
    ...[
      ...new Set([
        file.runner.image,
        ...policies.flatMap(({ image, ci }) => [image, ...(ci === undefined ? [] : [ci.gitImage, ci.builder.image])]),
      ]),
    ].flatMap(imageWarning),
    ...(file.webhook.signingSecret === undefined
      ? [
          'webhook.signingSecret is not set: webhooks are unsigned, and their receiver cannot tell who sent them. Name a Secret with a whsec_… key',
        ]
      : []),
    ...file.webhook.allow
      .filter((entry) => entry.endsWith('/0'))
      .map(
        (entry) =>
          `webhook.allow has ${entry}: whoever can write a message can have any address inside the cluster called. Name the backend's host or network`,
      ),
    ...policies.flatMap((policy) => policyWarnings(policy)),
    ...(file.lease.shared
      ? [
          'lease.shared is set: a task whose Job is lost is begun again only at its deadline. Unset it when the other consumer is gone',
        ]
      : []),
    ...(file.poison.format === 'original'
      ? [
          'poison.format is original: poison copies do not tell why their task failed. Use envelope where nothing else reads them',
        ]
      : []),
    ...(file.ttl.failedSeconds < 600
      ? [
          `ttl.failedSeconds is ${file.ttl.failedSeconds}: the Job of a failed task, and its pods' logs with it, is gone before anybody looks. Use 86400`,
        ]
      : []),
  ];
}

function imageWarning(image: string): string[] {
  const name = image.slice(image.lastIndexOf('/') + 1);
  if (name.includes('@')) return [];
  const tag = name.split(':')[1];
  if (tag !== undefined && tag !== 'latest') return [];
  const what = tag === undefined ? 'has neither tag nor digest' : 'is latest';
  return [`image ${image} ${what}: nodes that hold different images run different code. Use a fixed tag or a digest`];
}

function policyWarnings(policy: TaskPolicy): string[] {
  const { type, runner, attempts, security, webhook, env, backend, command = [], timeoutSeconds, ci } = policy;
  const place = `taskTypes.${type}`;
  const warnings: string[] = [];
  if (type === 'default')
    warnings.push(
      'taskTypes.default is there: a message with a misspelt task_type runs as default instead of being reported as of unknown type',
    );
  if (runner === 'foreign' && attempts > 1)
    warnings.push(
      `${place}.attempts is ${attempts} for an image without Slipway's runner: see that it may be repeated after it did part of its work`,
    );
  // Our runner ends by itself; nobody else ends a group while the operator is away.
  if (backend === 'aci' && runner === 'foreign' && !command.some((part) => /\btimeout\b/.test(part)))
    warnings.push(
      `${place} runs on Azure Container Instances, where nothing but the operator ends a task that hangs: without one it runs, and costs, on. Let its command begin with [timeout, "${timeoutSeconds}"]`,
    );
  warnings.push(...ciWarnings(policy));
  if (security === 'baseline' && ci === undefined)
    warnings.push(
      `${place}.security is baseline: its image's own user runs, root included, and the namespace's Pod Security level must allow it`,
    );
  if (runner === 'slipway' && webhook === 'task')
    warnings.push(
      `${place}.webhook is task: the operator reports nothing of this type, not even that a task could not start`,
    );
  for (const { name, value } of env)
    if (
      value !== undefined &&
      value !== '' &&
      /SECRET|PASSWORD|TOKEN|CREDENTIAL|API_?KEY|CONNECTION_STRING/i.test(name)
    )
      warnings.push(
        `${place}.env: ${name} is given as a literal value (not shown) and stands in every Job in clear. Use valueFrom.secretKeyRef`,
      );
  return warnings;
}
