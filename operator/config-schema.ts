/**
 * The configuration file's schema: the one source of the defaults, of the chart's values schema and of the values table in the docs. Every
 * setting says what it does and why its default is what it is.
 */
import { z } from 'zod';
import { clientOf, MAX_CLIENT_LENGTH } from '../contract/identity.ts';
import { ENCODINGS } from '../contract/message.ts';
import { WEBHOOK_FORMATS } from '../contract/webhook.ts';
import { allowEntryProblem, parseAddress } from '../webhook/allow-list.ts';
import { IMAGE_PREFIX } from './ci/payload.ts';
import { ciSchema } from './ci/settings-schema.ts';
import { dnsName, envFromSchema, envSchema, image, quantity, seconds, secretKey } from './config-fields.ts';

/** What goes there is not encrypted, and no token goes with it. */
function isPrivateHttp(text: string): boolean {
  const host = /^http:\/\/([\d.]+|localhost)(:\d+)?$/.exec(text)?.[1];
  if (host === undefined || host === 'localhost') return host !== undefined;
  return ['loopback', 'private'].includes(parseAddress(host)?.range() ?? '');
}

const queueName = z
  .string()
  .regex(/^[a-z0-9](-?[a-z0-9])+$/, { error: 'must be a queue name: lower-case letters, digits and single hyphens' })
  .min(3)
  .max(63)
  .refine((name) => !name.endsWith('-poison'), {
    error: 'is a poison queue; poison queues are never sources. Name the task queue instead',
  });

const isQueueName = (name: string) => queueName.safeParse(name).success;

/** A name in which `*` stands for any characters. */
const pattern = z.string().regex(/^[a-z0-9*]([a-z0-9*-]{0,62})$/, {
  error: 'must be a name or a pattern of lower-case letters, digits, "-" and "*" for any characters',
});

const queueSchema = z
  .strictObject({
    name: queueName.describe('Name of the Azure Storage queue, usually {client}-tasks.'),
    client: z
      .string()
      .regex(/^[a-z0-9](-?[a-z0-9])*$/, { error: 'must be lower-case letters, digits and single hyphens' })
      .optional()
      .describe('Client whose tasks these are. Default: the queue name less its final "-tasks".'),
    encoding: z
      .enum(ENCODINGS)
      .default('auto')
      .describe('How message texts are written. auto takes JSON and base64 of JSON, whichever a message is.'),
  })
  .refine((queue) => queue.client !== undefined || clientOf(queue.name) !== undefined || !isQueueName(queue.name), {
    path: ['client'],
    error: 'the queue is not named {client}-tasks, so its client must be told. Set it',
  })
  .refine((queue) => queue.name.length <= MAX_CLIENT_LENGTH + '-tasks'.length, {
    path: ['name'],
    error: `is too long: its poison queue {name}-poison would pass 63 characters. Use a client name of at most ${MAX_CLIENT_LENGTH} characters`,
  });

const resourcesSchema = z.strictObject({
  cpu: quantity.default('1').describe("CPU request. There is no CPU limit: an idle core is nobody's gain."),
  memory: quantity
    .default('2Gi')
    .describe("Memory request and limit alike, so that a task is killed for its own use, not for a neighbour's."),
  ephemeralStorage: quantity.optional().describe('Request and limit for files of the container and its emptyDirs.'),
});

/** What may be set for all task types under `defaults`, and again for one under `taskTypes`. */
const runSettings = {
  timeoutSeconds: seconds(1, 604_800)
    .default(1800)
    .describe(
      'How long one attempt of a task may run; the runner stops itself then, and the pod is killed a grace period later.',
    ),
  graceSeconds: seconds(1, 3600).default(30).describe('Time between SIGTERM and SIGKILL.'),
  startTimeoutSeconds: seconds(10, 86_400)
    .default(600)
    .describe('Time a scheduled pod may take until its first container runs (image pull included).'),
  unschedulableTimeoutSeconds: seconds(10, 86_400)
    .default(3600)
    .describe('Time a pod may wait for a node; autoscaled nodes take long.'),
  resources: resourcesSchema.prefault({}).describe('What a task gets.'),
};

const discoverySchema = z
  .strictObject({
    include: z
      .array(pattern)
      .min(1, { error: 'is empty: no queue would be found. Name at least one pattern, such as "*-tasks"' })
      .default(['*-tasks'])
      .describe('Patterns of the queues to take. Only queues named {client}-tasks are taken, and never *-poison.'),
    exclude: z.array(pattern).default([]).describe('Patterns of queues that are left alone, whatever include says.'),
    intervalSeconds: seconds(1, 3600)
      .default(15)
      .describe("Time between two looks at the account's queues: a new client's first task starts within 30 s."),
    encoding: z.enum(ENCODINGS).default('auto').describe('How the message texts of these queues are written.'),
  })
  .describe(
    'Takes every queue of the account that fits, also those that are made later. Without it only those named in queues are taken.',
  );

const cap = (max = 10_000) => z.number().int().min(1).max(max);

const clientSchema = z.strictObject({
  receiving: z
    .boolean()
    .default(true)
    .describe("false: nothing more is received from the client's queues; its running tasks go on to their end."),
  maxRunning: cap().optional().describe('In place of limits.maxRunningPerClient.'),
  weight: cap(100)
    .default(1)
    .describe('Share of freed slots while several queues have work: 2 gets two where another gets one.'),
  serviceAccountName: dnsName
    .optional()
    .describe("Service account of the client's tasks, in place of the task type's; not of CI tasks."),
  imagePrefix: z
    .string()
    .min(1)
    .regex(/^\S+[/:@]$|^\S*\/\S*$/, {
      error: 'must be the beginning of image references, such as "registry.example.com/acme/"',
    })
    .optional()
    .describe(
      "What the images of the client's tasks must begin with. A message whose task type has another image is put back, not run.",
    ),
  env: z
    .array(envSchema)
    .default([])
    .describe(
      "Environment of the client's tasks, beside the task type's and over it; not of CI tasks, which run whatever a repository holds.",
    ),
  envFrom: z
    .array(envFromSchema)
    .default([])
    .describe("Secrets or ConfigMaps whose keys the client's tasks get, after those of the task type."),
});

const allowEntry = z
  .string()
  .min(1)
  .superRefine((entry, context) => {
    const problem = entry === '' ? undefined : allowEntryProblem(entry);
    if (problem !== undefined) context.addIssue(problem);
  });

const podTemplate = z
  .record(z.string(), z.unknown())
  .describe(
    'Raw patch of the pod template ({metadata, spec}) for what the settings above do not name; lists of named objects merge by name, null removes.',
  );

const backend = z.enum(['kubernetes', 'aci'], { error: 'must be kubernetes or aci' });

const taskTypeFields = z.strictObject({
  backend: backend.optional().describe('In place of backend.'),
  image: image.optional().describe('Image of the task. Default: runner.image.'),
  runner: z
    .enum(['slipway', 'foreign'])
    .optional()
    .describe(
      "Whether the image holds Slipway's runner (it reports by termination message). Default: slipway for runner.image, foreign for any other.",
    ),
  command: z.array(z.string()).optional().describe('Entry point of the container.'),
  args: z.array(z.string()).optional().describe('Arguments of the entry point.'),
  attempts: z
    .number()
    .int()
    .min(1)
    .max(20)
    .optional()
    .describe(
      "How often a task is tried. Default: defaults.attempts for Slipway's runner, 1 for foreign images, which were not written for repetition.",
    ),
  maxRunning: cap()
    .optional()
    .describe(
      'Tasks of this type that may run at once. Further ones become suspended Jobs, limits.maxHeldPerQueue of each queue.',
    ),
  timeoutSeconds: runSettings.timeoutSeconds.unwrap().optional().describe('In place of defaults.timeoutSeconds.'),
  graceSeconds: runSettings.graceSeconds.unwrap().optional().describe('In place of defaults.graceSeconds.'),
  startTimeoutSeconds: runSettings.startTimeoutSeconds
    .unwrap()
    .optional()
    .describe('In place of defaults.startTimeoutSeconds.'),
  unschedulableTimeoutSeconds: runSettings.unschedulableTimeoutSeconds
    .unwrap()
    .optional()
    .describe('In place of defaults.unschedulableTimeoutSeconds.'),
  resources: z
    .strictObject({
      cpu: quantity.optional().describe('In place of defaults.resources.cpu.'),
      memory: quantity.optional().describe('In place of defaults.resources.memory.'),
      ephemeralStorage: quantity.optional().describe('In place of defaults.resources.ephemeralStorage.'),
    })
    .optional()
    .describe('What a task of this type gets.'),
  env: z.array(envSchema).default([]).describe('Environment of the task, beside what Slipway sets.'),
  envFrom: z
    .array(envFromSchema)
    .default([])
    .describe('Secrets or ConfigMaps whose keys become environment variables.'),
  serviceAccountName: dnsName
    .optional()
    .describe('Service account of the pod. Its token is not mounted unless podTemplate says so.'),
  nodeSelector: z.record(z.string(), z.string()).optional().describe('Labels of the nodes that may run the task.'),
  tolerations: z.array(z.record(z.string(), z.unknown())).optional().describe('Tolerations of the pod.'),
  security: z
    .enum(['restricted', 'baseline'])
    .default('restricted')
    .describe(
      "Pod Security level of the pod. restricted: user 65532, no capabilities, and for Slipway's runner a read-only root file system. baseline: the image's own user, root included; the namespace must allow it.",
    ),
  webhook: z
    .enum(['auto', 'operator', 'task'])
    .default('auto')
    .describe(
      'Who sends the webhook. auto: the runner its own reports; a foreign image is trusted when it exits 0, and the operator reports any other end. operator: always the operator. task: never the operator.',
    ),
  podTemplate: podTemplate.optional(),
  ci: ciSchema.optional(),
});

/** What of a task type has no meaning where its pod is that of a CI task, less what stands at its default. */
function outOfPlaceBesideCi(type: z.output<typeof taskTypeFields>): readonly (keyof typeof type)[] {
  const given = (['image', 'runner', 'command', 'args'] as const).filter((field) => type[field] !== undefined);
  return [
    ...given,
    ...(type.security === 'restricted' ? [] : (['security'] as const)),
    ...(type.webhook === 'task' ? (['webhook'] as const) : []),
    ...(type.backend === 'aci' ? (['backend'] as const) : []),
  ];
}

const taskTypeSchema = taskTypeFields.superRefine((type, context) => {
  if (type.ci === undefined) return;
  for (const field of outOfPlaceBesideCi(type)) {
    const why =
      field === 'backend'
        ? 'cannot build images: Azure Container Instances gives no container the rights for it'
        : 'has no meaning beside ci: the pod is made of git, a builder and the image that it builds, and the operator reports';
    context.addIssue({ code: 'custom', path: [field], message: `${why}. Remove ${field}`, input: type[field] });
  }
});

const armId = (kind: string, example: string) =>
  z.string().regex(new RegExp(`^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/${kind}$`, 'i'), {
    error: `must be a resource id such as "/subscriptions/ID/resourceGroups/NAME/providers/${example}"`,
  });
const identityId = armId(
  'Microsoft\\.ManagedIdentity/userAssignedIdentities/[^/]+',
  'Microsoft.ManagedIdentity/userAssignedIdentities/NAME',
);

const aciSchema = z
  .strictObject({
    subscriptionId: z
      .guid({ error: 'must be a subscription id, such as az account show --query id prints' })
      .describe('Subscription of the resource group.'),
    resourceGroup: z
      .string()
      .regex(/^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]$/u, {
        error: 'must be the name of a resource group: at most 90 letters, digits and _ ( ) . -',
      })
      .describe('Resource group of the container groups.'),
    location: z
      .string()
      .regex(/^[a-z0-9]+$/, { error: 'must be the short name of a region, such as "westeurope"' })
      .describe('Region of the container groups.'),
    identities: z.array(identityId).default([]).describe('User-assigned identities (resource ids) that tasks may use.'),
    registries: z
      .array(
        z.strictObject({
          server: z
            .string()
            .regex(/^[a-z0-9.-]+(:\d+)?$/, { error: 'must be a host name, without scheme and path' })
            .describe('Host name of the registry.'),
          identity: identityId.describe('Identity (resource id) that may pull from it. A system-assigned one cannot.'),
        }),
      )
      .default([])
      .describe('Registries from which an identity pulls. For others runner.imagePullSecrets count.'),
    subnetId: armId(
      'Microsoft\\.Network/virtualNetworks/[^/]+/subnets/[^/]+',
      'Microsoft.Network/virtualNetworks/NAME/subnets/NAME',
    )
      .optional()
      .describe('Subnet of the container groups, delegated to Microsoft.ContainerInstance/containerGroups.'),
    zone: z.enum(['1', '2', '3']).optional().describe('Availability zone.'),
    priority: z
      .enum(['Regular', 'Spot'])
      .optional()
      .describe('Spot is cheaper, is taken away when Azure needs it, and works in no subnet.'),
    logAnalytics: z
      .strictObject({
        workspaceId: z.string().min(1).describe('Id of the workspace.'),
        workspaceKey: secretKey.describe('Key of a Secret that holds the key of the workspace.'),
      })
      .optional()
      .describe('Log Analytics workspace that gets what tasks print.'),
    endpoint: z
      .string()
      .refine((text) => /^https:\/\/[^/?#@]+$/.test(text) || isPrivateHttp(text), {
        error:
          'must be an address such as "https://management.usgovcloudapi.net"; http is for a stand-in under a private IP address alone',
      })
      .optional()
      .describe("Azure Resource Manager of another cloud. Default: Azure's public cloud."),
    limits: z
      .strictObject({
        groups: z.number().int().min(1).max(5000).default(100).describe('Groups that may be there at once.'),
        per5Minutes: z
          .number()
          .int()
          .min(1)
          .max(5000)
          .default(100)
          .describe('Creates, and as many deletes, in 5 minutes.'),
        perHour: z.number().int().min(1).max(20_000).default(300).describe('Creates, and as many deletes, in an hour.'),
      })
      .prefault({})
      .describe(
        "What Slipway asks of Azure at most. Default: a subscription's quota in a region; raise it when Azure has raised that.",
      ),
  })
  .refine(({ subnetId, priority }) => subnetId === undefined || priority !== 'Spot', {
    path: ['priority'],
    error: 'works in no subnet. Remove one of aci.priority and aci.subnetId',
  })
  .describe('Azure Container Instances: where the container groups of task types with the backend aci are made.');

const pricesSchema = z.strictObject({
  vcpuSecond: z.number().min(0).max(1).describe('Of a vCPU for a second.'),
  gibSecond: z.number().min(0).max(1).describe('Of a GiB of memory for a second.'),
});

const fields = z.strictObject({
  installation: z
    .string()
    .regex(/^[a-z0-9-]{0,40}$/, { error: 'must be at most 40 lower-case letters, digits and hyphens' })
    .default('')
    .describe(
      'Set where two clusters share one storage account and namespace name; part of the identity by which Jobs are recognised.',
    ),
  backend: backend
    .default('kubernetes')
    .describe('Where tasks run: kubernetes, or aci for Azure Container Instances, which needs aci.'),
  receiving: z
    .boolean()
    .default(true)
    .describe('false: nothing more is received from any queue; running tasks go on to their end. See `slipway drain`.'),
  queues: z
    .array(queueSchema)
    .default([])
    .refine((queues) => new Set(queues.map((queue) => queue?.name)).size === queues.length, {
      error: 'names a queue twice. Name each queue once',
      when: ({ value }) => Array.isArray(value),
    })
    .describe('Queues to take tasks from, by name.'),
  discovery: discoverySchema.optional(),
  clients: z
    .record(pattern, clientSchema)
    .default({})
    .describe(
      'Settings by client, or by a pattern of clients. One entry applies: the one of that name, else the pattern with the most characters beside "*".',
    ),
  polling: z
    .strictObject({
      minIntervalSeconds: z
        .number()
        .min(0.1)
        .max(60)
        .default(1)
        .describe('Wait after the first empty answer; grows from there.'),
      maxIntervalSeconds: z
        .number()
        .min(0.1)
        .max(300)
        .default(5)
        .describe('Longest wait on an idle queue: an idle queue polled each 5 s costs about $0.21 a month.'),
    })
    .prefault({})
    .refine((polling) => polling.minIntervalSeconds <= polling.maxIntervalSeconds, {
      path: ['maxIntervalSeconds'],
      error: 'must not be less than polling.minIntervalSeconds (it is 5 when not set). Raise it or lower the other',
    })
    .describe('How often queues are asked. While messages come there is no wait.'),
  limits: z
    .strictObject({
      maxRunning: cap().default(20).describe('Tasks that may run at once; small clusters stay usable.'),
      maxRunningPerClient: cap()
        .optional()
        .describe('Tasks of one client that may run at once. Default: as many as there is room for.'),
      maxHeldPerQueue: cap(1000)
        .default(20)
        .describe(
          'Tasks of one queue that may wait as suspended Jobs for their type to have room. A queue with so many is not received from.',
        ),
    })
    .prefault({})
    .describe('Caps.'),
  lease: z
    .strictObject({
      firstSeconds: seconds(5, 604_800)
        .default(60)
        .describe('Lease at receipt. Short, so that a crash between receipt and Job costs a minute.'),
      renewSeconds: seconds(5, 604_800)
        .default(600)
        .describe('Lease after each renewal; renewed when a third of it is left.'),
      shared: z
        .boolean()
        .default(false)
        .describe(
          "Another consumer takes from the same queues (the old worker, during a migration). The message is then hidden until the Job's deadline, before the Job is made, so that a crash of the operator hands no running task to the other.",
        ),
    })
    .prefault({})
    .describe('How long a received message stays invisible to others.'),
  runner: z
    .strictObject({
      image: image.describe("Image with Slipway's runner, built from Dockerfile.runner and pushed to your registry."),
      imagePullPolicy: z
        .enum(['Always', 'IfNotPresent', 'Never'])
        .default('IfNotPresent')
        .describe('When a node pulls the image.'),
      imagePullSecrets: z.array(dnsName).default([]).describe('Names of the Secrets for pulling task images.'),
    })
    .describe('The image that runs tasks.'),
  defaults: z
    .strictObject({
      attempts: z.number().int().min(1).max(20).default(3).describe('How often a task is tried before it is poisoned.'),
      ...runSettings,
    })
    .prefault({})
    .describe('For every task type that does not say otherwise.'),
  taskTypes: z
    .record(
      z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, {
        error: 'must be letters, digits, ".", "_" and "-", at most 63',
      }),
      taskTypeSchema,
    )
    .refine((types) => Object.keys(types).length > 0, {
      error: 'is empty: every message would be poisoned as of unknown type. Name at least one task type',
    })
    .describe('Task types by their task_type; "default" stands for any other.'),
  aci: aciSchema.optional(),
  webhook: z
    .strictObject({
      format: z
        .enum(WEBHOOK_FORMATS)
        .default('slipway')
        .describe(
          "slipway: {task_id, status, result, …}; result: the handler's result alone, as the old worker posted it.",
        ),
      allow: z
        .array(allowEntry)
        .default([])
        .describe(
          'Hosts and CIDRs of private addresses that webhooks may go to, such as an in-cluster backend. Public addresses need no entry.',
        ),
      timeoutSeconds: seconds(1, 60).default(20).describe('Longest time one delivery may take.'),
      signingSecret: secretKey
        .optional()
        .describe(
          'Secret that signs webhooks (Standard Webhooks, whsec_…). Several, separated by blanks, while one is replaced by the next: each signs.',
        ),
      sendCancelled: z
        .boolean()
        .default(false)
        .describe(
          'Report a cancelled task as cancelled. Otherwise as failed with code Cancelled: a backend that was written before does not know the word.',
        ),
    })
    .prefault({})
    .describe('Reports to the backend.'),
  poison: z
    .strictObject({
      format: z
        .enum(['envelope', 'original'])
        .default('envelope')
        .describe(
          "envelope: JSON with reason, diagnosis and the original text; original: the bare text, Azure Functions' convention.",
        ),
    })
    .prefault({})
    .describe('What is put into {queue}-poison.'),
  prices: z
    .strictObject({
      aci: pricesSchema
        .prefault({ vcpuSecond: 0.00001125, gibSecond: 0.00000124 })
        .describe('Of container groups. Default: Linux, East US, in US dollars (October 2026).'),
      kubernetes: pricesSchema
        .optional()
        .describe('Of what pods ask for. Without it their cost is not told, only vCPU-seconds and GiB-seconds.'),
    })
    .prefault({})
    .describe(
      'Prices, in one currency, by which the cost of each task is told: on its Job, in its webhook, and as a metric.',
    ),
  ttl: z
    .strictObject({
      completedSeconds: seconds(0, 2_592_000).default(3600).describe('How long the Job of a completed task stays.'),
      failedSeconds: seconds(0, 2_592_000)
        .default(86_400)
        .describe('How long the Job of a failed task stays: time to look.'),
    })
    .prefault({})
    .describe('How long settled Jobs stay, counted from settling.'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Least severity that is logged.'),
});

/** The configuration file. */
export const configSchema = fields
  .refine(
    ({ backend: all, taskTypes = {}, aci }) =>
      aci !== undefined ||
      Object.values(taskTypes).every((type) => type?.ci !== undefined || (type?.backend ?? all) !== 'aci'),
    {
      path: ['aci'],
      error:
        'tasks are to run on Azure Container Instances. Set aci.subscriptionId, aci.resourceGroup and aci.location',
      when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value),
    },
  )
  .superRefine(({ taskTypes = {}, clients = {} }, context) => {
    if (!Object.values(taskTypes).some((type) => type?.ci !== undefined)) return;
    for (const [client, settings] of Object.entries(clients)) {
      const prefix = settings?.imagePrefix;
      if (prefix === undefined || IMAGE_PREFIX.test(prefix)) continue;
      const message =
        'no image of a CI task can begin so. Use a registry and a path in it, such as "registry.example.com/acme/"';
      context.addIssue({ code: 'custom', path: ['clients', client, 'imagePrefix'], message, input: prefix });
    }
  })
  .refine(({ queues = [], discovery }) => !Array.isArray(queues) || queues.length > 0 || discovery !== undefined, {
    path: ['queues'],
    error:
      'no queue is named and discovery is not set, so there is nothing to do. Name at least one queue, or set discovery: {}',
    // Told together with whatever else is wrong.
    when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value),
  });

/** The configuration file with every default filled in. */
export type FileConfig = z.output<typeof configSchema>;
export type QueueConfig = FileConfig['queues'][number];
export type ClientConfig = FileConfig['clients'][string];
export type TaskTypeConfig = FileConfig['taskTypes'][string];
