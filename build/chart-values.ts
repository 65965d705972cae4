/** The chart's values: the operator's configuration schema and, around it, what only the chart knows. */
import { z } from 'zod';
import { configSchema } from '../operator/config-schema.ts';

const labels = z.record(z.string(), z.string());
const object = z.record(z.string(), z.unknown());
const quantities = z.record(z.string(), z.union([z.string(), z.number()]));
// Helm judges by the schema before it renders, so an empty name must pass here to be refused in a sentence by templates/_validate.tpl.
const nameOrEmpty = z.string().regex(/^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/);

// Of either family; the API server judges the rest.
const cidr = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}\/(\d|[12]\d|3[0-2])|[0-9a-fA-F:]*:[0-9a-fA-F:.]*\/(\d|[1-9]\d|1[01]\d|12[0-8]))$/);

const image = z
  .strictObject({
    repository: z
      .string()
      .regex(/^\S*$/)
      .describe('Image of the operator without tag, built from Dockerfile.operator and pushed to your registry.'),
    tag: z
      .string()
      .regex(/^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[a-f0-9]{64})?)?$/)
      .describe("Tag, which may carry a digest: 1.0.0@sha256:…. Empty: the chart's appVersion."),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).describe('When a node pulls the image.'),
  })
  .describe("The operator's image.");

const storage = z
  .strictObject({
    existingSecret: nameOrEmpty.describe(
      "Secret with the way into the storage account. The chart makes none: a secret among the values would end in the release's history.",
    ),
    access: z
      .enum(['connection-string', 'sas-url'])
      .describe(
        "What the Secret holds: the account's connection string, or the queue service's URL with a SAS (https://ACCOUNT.queue.core.windows.net/?sv=…).",
      ),
    key: z.string().describe('Key in the Secret. Empty: the value of storage.access.'),
    taskTypes: z
      .array(z.string())
      .describe(
        'Task types that get the connection string too, as AZURE_STORAGE_CONNECTION_STRING; it opens all of the account. A type whose own env names the variable keeps its own. A CI type gets it in ci.report.env, out of reach of its tests, and the Secret has to exist in ci.namespace too. Without effect for a SAS.',
      ),
  })
  .describe('How the operator reaches the queues.');

/** `.Values`. Every default stands in charts/slipway/values.yaml or, for `config`, in the operator's schema. */
export const chartValuesSchema = z.strictObject({
  image,
  imagePullSecrets: z
    .array(z.strictObject({ name: nameOrEmpty.describe('Name of the Secret.') }))
    .describe("Secrets for pulling the operator's image; those for tasks are config.runner.imagePullSecrets."),
  replicas: z
    .number()
    .int()
    .min(0)
    .describe(
      'How many operators there are. One works, the others stand by and take over within 20 s. 0 stops the operator while its tasks go on.',
    ),
  scaleToZero: z
    .strictObject({
      schedule: z
        .string()
        .regex(/^(\S+ +\S+ +\S+ +\S+ +\S+)?$/)
        .describe(
          'When set, a CronJob of this schedule takes the place of the Deployment: a task starts at the next run, and is reported at the one after its end where the operator has to.',
        ),
      leaseSeconds: z
        .number()
        .int()
        .min(120)
        .max(604_800)
        .describe('How long a run hides the messages of tasks that go on: at least twice the time between two runs.'),
    })
    .describe('An operator that runs now and then.'),
  storage,
  config: configSchema.describe(
    "The operator's configuration file, as it is. A change is applied within about a minute, to new tasks; running ones go on.",
  ),
  azure: z
    .strictObject({
      clientId: z
        .string()
        .regex(/^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$/)
        .describe(
          "Client id of the identity that is federated with the operator's service account (workload identity).",
        ),
      existingSecret: nameOrEmpty.describe(
        'Instead: a Secret with AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of a service principal. With neither, the managed identity of the node is taken.',
      ),
      secrets: z
        .array(nameOrEmpty)
        .describe(
          'Further Secrets that the operator may read for tasks, such as those of podTemplate. Those that env, envFrom, imagePullSecrets, signingSecret and logAnalytics of config name are found.',
        ),
      configMaps: z.array(nameOrEmpty).describe('Further ConfigMaps, likewise.'),
    })
    .describe('Who the operator is in Azure, and what it may read, where tasks run on Azure Container Instances.'),
  serviceAccount: z
    .strictObject({
      create: z.boolean().describe('Whether the chart makes the service account.'),
      name: nameOrEmpty.describe('Its name. Empty: the name of the Deployment.'),
      annotations: labels.describe('Its annotations.'),
    })
    .describe("The operator's service account. Tasks have the one of their type, without a token."),
  ciServiceAccount: z
    .strictObject({
      annotations: labels.describe(
        'Its annotations, such as azure.workload.identity/client-id for a registry that takes the image by workload identity.',
      ),
    })
    .describe(
      'The account, without any right, of CI types (config.taskTypes.NAME.ci) that name none; one in each of their namespaces.',
    ),
  networkPolicy: z
    .strictObject({
      enabled: z
        .boolean()
        .describe(
          "Whether ingress is cut down to the operator's HTTP port (probes, /metrics) and, for tasks, to nothing. Egress stays free, since webhooks go where messages say, but for CI tasks: they reach DNS and public addresses, and no pod, private network, metadata service or API server.",
        ),
      ci: z
        .strictObject({
          deny: z
            .array(cidr)
            .describe(
              'Further CIDRs that CI tasks must not reach, such as public addresses of nodes, or those of the API server where lookup cannot tell them.',
            ),
          allow: z
            .array(cidr)
            .describe(
              "CIDRs that they may reach all the same, on every port, such as those of a registry or a git server in a private network, or of the private endpoint of a storage account; for addresses outside of the cluster's pods (docs/ci-tasks.md). They win over deny.",
            ),
        })
        .describe('What CI tasks may reach.'),
    })
    .describe('Network policies of operator and tasks.'),
  lookup: z
    .boolean()
    .describe(
      'Whether helm asks the cluster, where there are CI types: for the addresses of the API server (Service and EndpointSlices kubernetes in the namespace default), which CI tasks must not reach, and whether the namespaces of CI types are there. What it finds is that of the moment: after a change helm upgrade writes it anew. helm template asks nothing, nor does what renders by it: then networkPolicy.ci.deny has to name the API server. false: for whoever installs without the right to read these.',
    ),
  resources: z
    .strictObject({
      requests: quantities.optional().describe('What the operator is sure to get.'),
      limits: quantities
        .optional()
        .describe('What it may use at most. No CPU limit: it works in bursts, when many messages come.'),
    })
    .describe("The operator's resources; those of tasks are config.defaults.resources."),
  podLabels: labels.describe("Further labels of the operator's pod."),
  podAnnotations: labels.describe(
    "Further annotations of the operator's pod, such as prometheus.io/scrape; metrics are at port 8080, /metrics.",
  ),
  nodeSelector: labels.describe('Labels of the nodes that may run the operator.'),
  tolerations: z.array(object).describe("Tolerations of the operator's pod."),
  affinity: object.describe("Affinity of the operator's pod."),
  global: object.optional().describe('What a parent chart hands to all of its charts. Slipway reads nothing of it.'),
});

/** Values without a default that would do: values.yaml has them empty, and templates/_validate.tpl asks for them in a sentence. */
export const REQUIRED_VALUES: readonly string[] = [
  'image.repository',
  'storage.existingSecret',
  'config.queues',
  'config.runner.image',
];
