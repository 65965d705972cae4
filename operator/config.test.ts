import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ConfigError, clientSettings, loadConfig, parseConfig, policyFor, policyOfClient } from './config.ts';

const ENV = { AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true', SLIPWAY_NAMESPACE: 'slipway' };
const KNOWN =
  'installation, backend, receiving, queues, discovery, clients, polling, limits, lease, runner, defaults, taskTypes, aci, webhook, poison, prices, ttl, logLevel';

/** The least that must be set, in YAML, with some lines replaced or added. */
function file(changes: Readonly<Record<string, string>> = {}): string {
  const lines = {
    queues: '[{ name: acme-tasks }]',
    runner: '{ image: runner:1 }',
    taskTypes: '{ echo: {} }',
    ...changes,
  };
  return Object.entries(lines)
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n');
}

function problemsOf(text: string, env: NodeJS.ProcessEnv = ENV): readonly string[] {
  try {
    parseConfig(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const inFile = (problem: string) => `config.yaml: ${problem}`;

describe('a wrong file is told with place, value and remedy', () => {
  const noQueue =
    'no queue is named and discovery is not set, so there is nothing to do. Name at least one queue, or set discovery: {}';
  const nothing = [
    'runner is not set: is required. Set it to a mapping with image: the image that runs tasks',
    'taskTypes is not set: is required. Set it to a mapping: task types by their task_type; "default" stands for any other',
    `queues is not set: ${noQueue}`,
  ];
  const quantity = 'must be a Kubernetes quantity such as "500m", "1" or "2Gi" (quote numbers)';
  const reference = 'must be an image reference such as registry.example.com/slipway-runner:1.0.0, without blanks';
  const queue = 'must be a queue name: lower-case letters, digits and single hyphens';
  const longQueue = `${'a'.repeat(51)}-tasks`;
  const echo = (settings: string) => file({ taskTypes: `{ echo: ${settings} }` });

  const table: readonly (readonly [what: string, text: string, problems: readonly string[]])[] = [
    ['empty', '', nothing],
    ['only a comment', '# nothing yet', nothing],
    ['a list', '[]', ['the file (a list): must be a mapping']],
    ['a text', 'hello', ['the file = "hello": must be a mapping']],
    ['no YAML', 'a: b: c', ['is not YAML: Nested mappings are not allowed in compact mappings at line 1, column 4']],
    ['an unknown alias', 'a: *x', ['is not YAML: Unresolved alias (the anchor must be set before the alias): x']],
    ['a key twice', file({ limits: '{}\nlimits: {}' }), ['is not YAML: Map keys must be unique at line 5, column 1']],
    ['two documents', `${file()}\n---\na: 1`, ['holds several YAML documents. Keep one']],
    [
      'lists and mappings mixed up',
      'queues: acme-tasks\nrunner: runner:1\ntaskTypes: [echo]',
      [
        'queues = "acme-tasks": must be a list',
        'runner = "runner:1": must be a mapping',
        'taskTypes (a list): must be a mapping',
      ],
    ],
    [
      'everything there and empty',
      'queues: []\nrunner: {}\ntaskTypes: {}',
      [
        "runner.image is not set: is required. Set it to a text: image with Slipway's runner, built from Dockerfile.runner and pushed to your registry",
        'taskTypes (a mapping): is empty: every message would be poisoned as of unknown type. Name at least one task type',
        `queues (a list): ${noQueue}`,
      ],
    ],
    [
      'an unknown setting',
      file({ limits: '{ maxRuning: 5 }' }),
      [
        'limits has the unknown setting "maxRuning". Correct the name or remove it; known here: maxRunning, maxRunningPerClient, maxHeldPerQueue',
      ],
    ],
    [
      'unknown settings at the root',
      file({ limit: '3', __proto: '{}' }),
      [`the file has the unknown settings "limit", "__proto". Correct the name or remove it; known here: ${KNOWN}`],
    ],
    [
      'an unknown setting of a task type',
      echo('{ resources: { ram: 2Gi } }'),
      [
        'taskTypes.echo.resources has the unknown setting "ram". Correct the name or remove it; known here: cpu, memory, ephemeralStorage',
      ],
    ],
    [
      'backend aci without a place',
      file({ backend: 'aci' }),
      [
        'aci is not set: tasks are to run on Azure Container Instances. Set aci.subscriptionId, aci.resourceGroup and aci.location',
      ],
    ],
    [
      'the same of a task type',
      echo('{ backend: aci }'),
      [
        'aci is not set: tasks are to run on Azure Container Instances. Set aci.subscriptionId, aci.resourceGroup and aci.location',
      ],
    ],
    [
      'Azure by plain HTTP, at a public address',
      file({
        aci: '{ subscriptionId: 11111111-2222-3333-4444-555555555555, resourceGroup: g, location: westeurope, endpoint: "http://20.1.2.3" }',
      }),
      [
        'aci.endpoint = "http://20.1.2.3": must be an address such as "https://management.usgovcloudapi.net"; http is for a stand-in under a private IP address alone',
      ],
    ],
    [
      'Azure by plain HTTP',
      file({
        aci: '{ subscriptionId: 11111111-2222-3333-4444-555555555555, resourceGroup: g, location: westeurope, endpoint: "http://management.example" }',
      }),
      [
        'aci.endpoint = "http://management.example": must be an address such as "https://management.usgovcloudapi.net"; http is for a stand-in under a private IP address alone',
      ],
    ],
    [
      'a place on Azure that there cannot be',
      file({
        aci: '{ subscriptionId: mine, resourceGroup: "a b", location: West Europe, identities: [me], registries: [{ server: "https://a.azurecr.io", identity: me }], subnetId: tasks }',
      }),
      [
        'aci.subscriptionId = "mine": must be a subscription id, such as az account show --query id prints',
        'aci.resourceGroup = "a b": must be the name of a resource group: at most 90 letters, digits and _ ( ) . -',
        'aci.location = "West Europe": must be the short name of a region, such as "westeurope"',
        'aci.identities[0] = "me": must be a resource id such as "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"',
        'aci.registries[0].server = "https://a.azurecr.io": must be a host name, without scheme and path',
        'aci.registries[0].identity = "me": must be a resource id such as "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"',
        'aci.subnetId = "tasks": must be a resource id such as "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Network/virtualNetworks/NAME/subnets/NAME"',
      ],
    ],
    [
      'a Spot group in a subnet',
      file({
        aci: '{ subscriptionId: 11111111-2222-3333-4444-555555555555, resourceGroup: g, location: westeurope, priority: Spot, subnetId: /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s }',
      }),
      ['aci.priority = "Spot": works in no subnet. Remove one of aci.priority and aci.subnetId'],
    ],
    ['another backend', file({ backend: 'docker' }), ['backend = "docker": must be kubernetes or aci']],
    [
      'a word that is not known',
      file({ logLevel: 'verbose' }),
      ['logLevel = "verbose": is not known. Use one of debug, info, warn, error'],
    ],
    [
      'a number too small',
      file({ limits: '{ maxRunning: 0 }' }),
      ['limits.maxRunning = 0: is too small. Use 1 or more'],
    ],
    [
      'a number too large',
      file({ ttl: '{ failedSeconds: 9999999 }' }),
      ['ttl.failedSeconds = 9999999: is too large. Use 2592000 or less'],
    ],
    ['a broken number', file({ limits: '{ maxRunning: 1.5 }' }), ['limits.maxRunning = 1.5: must be a whole number']],
    [
      'a number in quotes',
      file({ limits: '{ maxRunning: "5" }' }),
      ['limits.maxRunning = "5": must be a number. Write it without quotes'],
    ],
    ['a word for a number', file({ limits: '{ maxRunning: many }' }), ['limits.maxRunning = "many": must be a number']],
    [
      'a quantity without quotes',
      file({ defaults: '{ resources: { cpu: 2 } }' }),
      ['defaults.resources.cpu = 2: must be a text. Put it in quotes'],
    ],
    [
      'no quantity',
      file({ defaults: '{ resources: { memory: 2 GB } }' }),
      [`defaults.resources.memory = "2 GB": ${quantity}`],
    ],
    [
      'wait bounds crossed',
      file({ polling: '{ minIntervalSeconds: 10 }' }),
      [
        'polling.maxIntervalSeconds is not set: must not be less than polling.minIntervalSeconds (it is 5 when not set). Raise it or lower the other',
      ],
    ],
    [
      'an installation with a space',
      file({ installation: 'blue one' }),
      ['installation = "blue one": must be at most 40 lower-case letters, digits and hyphens'],
    ],
    ['no runner image', file({ runner: '{ image: "" }' }), ['runner.image = "": is empty. Give it a value']],
    ['an image with a blank', file({ runner: '{ image: "a b" }' }), [`runner.image = "a b": ${reference}`]],
    [
      'queue names',
      file({
        queues: `[{ name: Acme_Tasks }, { name: acme-tasks-poison }, { name: jobs }, {}, { name: a--tasks }, { name: ${longQueue} }]`,
      }),
      [
        `queues[0].name = "Acme_Tasks": ${queue}`,
        'queues[1].name = "acme-tasks-poison": is a poison queue; poison queues are never sources. Name the task queue instead',
        'queues[2].client is not set: the queue is not named {client}-tasks, so its client must be told. Set it',
        'queues[3].name is not set: is required. Set it to a text: name of the Azure Storage queue, usually {client}-tasks',
        `queues[4].name = "a--tasks": ${queue}`,
        `queues[5].name = "${longQueue}": is too long: its poison queue {name}-poison would pass 63 characters. Use a client name of at most 50 characters`,
      ],
    ],
    [
      'a queue twice',
      file({ queues: '[{ name: acme-tasks }, { name: acme-tasks, client: other }]' }),
      ['queues (a list): names a queue twice. Name each queue once'],
    ],
    [
      'task types',
      file({ taskTypes: '{ "my type": {}, "": {}, echo: }' }),
      [
        'taskTypes."my type" must be letters, digits, ".", "_" and "-", at most 63',
        'taskTypes."" must be letters, digits, ".", "_" and "-", at most 63',
        'taskTypes.echo = null: must be a mapping. Write {} to leave everything at its default',
      ],
    ],
    [
      'a task type of wrong values',
      echo('{ command: run, attempts: 0, image: "a b", webhook: never, nodeSelector: { gpu: true }, podTemplate: [] }'),
      [
        `taskTypes.echo.image = "a b": ${reference}`,
        'taskTypes.echo.command = "run": must be a list',
        'taskTypes.echo.attempts = 0: is too small. Use 1 or more',
        'taskTypes.echo.nodeSelector.gpu = true: must be a text. Put it in quotes',
        'taskTypes.echo.webhook = "never": is not known. Use one of auto, operator, task',
        'taskTypes.echo.podTemplate (a list): must be a mapping',
      ],
    ],
    [
      'environment of a task type',
      echo(
        '{ env: [{ name: A B, value: x }, { name: TASK_DATA, value: x }, { name: X }, { name: Y, valueFrom: {} }, { name: Z, valueFrom: { secretKeyRef: { name: s } } }], envFrom: [{}] }',
      ),
      [
        'taskTypes.echo.env[0].name = "A B": must be the name of an environment variable',
        'taskTypes.echo.env[1].name = "TASK_DATA": is set by Slipway for every task. Choose another name',
        'taskTypes.echo.env[2] (a mapping): must have either value or valueFrom',
        'taskTypes.echo.env[3].valueFrom (a mapping): must have either secretKeyRef or configMapKeyRef',
        'taskTypes.echo.env[4].valueFrom.secretKeyRef.key is not set: is required. Set it to a text: key in the Secret',
        'taskTypes.echo.envFrom[0] (a mapping): must have either secretRef or configMapRef',
      ],
    ],
    [
      'addresses for webhooks',
      file({ webhook: '{ allow: ["http://backend", 10.0.0.0/33, ""], timeoutSeconds: 61 }' }),
      [
        'webhook.allow[0] = "http://backend": is neither a host name, *.suffix, an address nor a CIDR. Write it without scheme, port and path',
        'webhook.allow[1] = "10.0.0.0/33": is neither a host name, *.suffix, an address nor a CIDR. Write it without scheme, port and path',
        'webhook.allow[2] = "": is empty. Give it a value',
        'webhook.timeoutSeconds = 61: is too large. Use 60 or less',
      ],
    ],
  ];

  test.each(table)('%s', (_, text, problems) => expect(problemsOf(text)).toEqual(problems.map(inFile)));
});

describe('a wrong environment is told likewise', () => {
  const noString =
    'AZURE_STORAGE_CONNECTION_STRING (value not shown): is no connection string of a storage account. Copy it whole, without quotes: DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net';
  const noSas =
    'AZURE_STORAGE_SAS_URL (value not shown): is no queue service URL with a SAS. Use https://ACCOUNT.queue.core.windows.net/?sv=…&sig=…, without a queue in its path';
  const noSecret =
    'SLIPWAY_WEBHOOK_SECRET (value not shown): is no signing secret: whsec_ and the base64 of 24 to 64 random bytes, as `echo whsec_$(openssl rand -base64 32)` makes it';
  const table: readonly (readonly [what: string, env: NodeJS.ProcessEnv, problems: readonly string[]])[] = [
    [
      'nothing set',
      { AZURE_STORAGE_CONNECTION_STRING: undefined, SLIPWAY_NAMESPACE: undefined },
      [
        'AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_SAS_URL are both not set. Set one of them, from a Secret',
        'SLIPWAY_NAMESPACE is not set: must be the namespace that Jobs are created in. Set it from metadata.namespace',
      ],
    ],
    [
      'two ways in',
      { AZURE_STORAGE_SAS_URL: 'https://acme.queue.core.windows.net/?sig=x' },
      ['AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_SAS_URL are both set. Set one of them, from a Secret'],
    ],
    ['no connection string', { AZURE_STORAGE_CONNECTION_STRING: 'hunter2' }, [noString]],
    [
      'a SAS of one queue',
      {
        AZURE_STORAGE_CONNECTION_STRING: '',
        AZURE_STORAGE_SAS_URL: 'https://acme.queue.core.windows.net/acme-tasks?sig=hunter2',
      },
      [noSas],
    ],
    [
      'a port that is none',
      { SLIPWAY_HTTP_PORT: '80a' },
      ['SLIPWAY_HTTP_PORT = "80a": must be a port. Use a whole number from 0 to 65535'],
    ],
    [
      'a port too high',
      { SLIPWAY_HTTP_PORT: '65536' },
      ['SLIPWAY_HTTP_PORT = "65536": must be a port. Use a whole number from 0 to 65535'],
    ],
    [
      'a namespace that is none',
      { SLIPWAY_NAMESPACE: 'My Namespace' },
      [
        'SLIPWAY_NAMESPACE = "My Namespace": must be the namespace that Jobs are created in. Set it from metadata.namespace',
      ],
    ],
    ['a signing secret without prefix', { SLIPWAY_WEBHOOK_SECRET: 'hunter2' }, [noSecret]],
    ['a signing secret that is too short', { SLIPWAY_WEBHOOK_SECRET: 'whsec_aHVudGVyMg==' }, [noSecret]],
  ];

  test.each(table)('%s', (_, env, problems) => expect(problemsOf(file(), { ...ENV, ...env })).toEqual(problems));

  test('together with everything that is wrong with the file', () => {
    expect(problemsOf('queues: []', {})).toHaveLength(5);
  });
});

describe('I9: a secret is not printed', () => {
  const secret = 'aHVudGVyMg';
  test.each([
    ['a signing secret where its reference belongs', file({ webhook: `{ signingSecret: whsec_${secret} }` })],
    ['a value that is no text', file({ taskTypes: '{ echo: { env: [{ name: KEY, value: 48151623 }] } }' })],
    [
      'an environment entry of neither kind',
      file({ taskTypes: `{ echo: { env: [{ name: KEY, value: ${secret}, valueFrom: {} }] } }` }),
    ],
    ['a connection string as a queue', file({ queues: `[{ name: "AccountName=a;AccountKey=${secret}" }]` })],
    ['a connection string as the file', `AccountName=a;AccountKey=${secret}`],
    ['a setting of that name', file({ connectionString: `AccountKey=${secret}` })],
    ['a URL with a password as image', file({ runner: `{ image: "https://me:${secret}@registry/x y" }` })],
    ['a password under an odd key', file({ runner: `{ image: x, imagePullPolicy: { password: ${secret} } }` })],
    ['a file that is no YAML', `webhook: {signingSecret: "whsec_${secret}`],
  ])('%s', (_, text) => {
    const printed = problemsOf(text).join('\n');
    expect(printed).toMatch(/^config\.yaml: /);
    expect(printed).not.toContain(secret);
    expect(printed).not.toContain('48151623');
  });

  test('nor by an accepted configuration', () => {
    const env = {
      ...ENV,
      AZURE_STORAGE_CONNECTION_STRING: `AccountName=acme;AccountKey=${secret}aa==`,
      SLIPWAY_WEBHOOK_SECRET: `whsec_${'c2VjcmV0'.repeat(4)}`,
    };
    const config = parseConfig(file(), env);
    const printed = `${inspect(config, { depth: null })}${JSON.stringify(config)}`;
    expect(config.webhookSecrets.map((secret) => secret.reveal()).join()).toContain('c2VjcmV0');
    expect(printed).not.toContain(secret);
    expect(printed).not.toContain('c2VjcmV0');
  });
});

describe('an accepted configuration', () => {
  test('has every default', () => {
    const config = parseConfig(file(), ENV);
    expect(config).toMatchObject({
      sources: [{ queue: 'acme-tasks', client: 'acme', encoding: 'auto' }],
      namespace: 'slipway',
      instance: 'slipway',
      httpPort: 8080,
      podName: undefined,
      webhookSecrets: [],
      storage: { account: 'devstoreaccount1' },
    });
    expect(policyFor(config, 'echo')).toMatchObject({
      type: 'echo',
      image: 'runner:1',
      runner: 'slipway',
      attempts: 3,
      timeoutSeconds: 1800,
      graceSeconds: 30,
      startTimeoutSeconds: 600,
      unschedulableTimeoutSeconds: 3600,
      resources: { cpu: '1', memory: '2Gi' },
      webhook: 'auto',
    });
  });

  test('a task type overrides the defaults, one by one', () => {
    const config = parseConfig(
      file({
        defaults: '{ attempts: 5, timeoutSeconds: 60, resources: { cpu: "2", memory: 4Gi } }',
        taskTypes: '{ quick: { timeoutSeconds: 5, resources: { memory: 1Gi } }, once: { attempts: 1 } }',
      }),
      ENV,
    );
    expect(policyFor(config, 'quick')).toMatchObject({
      attempts: 5,
      timeoutSeconds: 5,
      resources: { cpu: '2', memory: '1Gi' },
    });
    expect(policyFor(config, 'once')).toMatchObject({ attempts: 1, timeoutSeconds: 60 });
  });

  test.each([
    ['{}', 'slipway', 3],
    ['{ image: "runner:1" }', 'slipway', 3],
    ['{ image: "theirs:1" }', 'foreign', 1],
    ['{ image: "theirs:1", runner: slipway }', 'slipway', 3],
    ['{ runner: foreign }', 'foreign', 1],
    ['{ image: "theirs:1", attempts: 4 }', 'foreign', 4],
  ])('a type %s runs as %s with %i attempts', (settings, runner, attempts) => {
    const config = parseConfig(file({ taskTypes: `{ t: ${settings} }` }), ENV);
    expect(policyFor(config, 't')).toMatchObject({ runner, attempts });
  });

  test('the type default stands for every type that is not named, and nothing does without it', () => {
    const config = parseConfig(file({ taskTypes: '{ echo: {}, default: {} }' }), ENV);
    expect(policyFor(config, 'echo')?.type).toBe('echo');
    expect(policyFor(config, 'anything')?.type).toBe('default');
    expect(policyFor(parseConfig(file(), ENV), 'constructor')).toBeUndefined();
  });

  test('discovery takes the place of named queues, with the names of task queues', () => {
    const config = parseConfig(file({ queues: '[]', discovery: '{}' }), ENV);
    expect(config.sources).toEqual([]);
    expect(config.file.discovery).toEqual({ include: ['*-tasks'], exclude: [], intervalSeconds: 15, encoding: 'auto' });
  });

  test("a client's settings are those of its name, else of the pattern that is most particular", () => {
    const clients = '{ "*": { maxRunning: 1 }, "acme*": { maxRunning: 2 }, acme: { weight: 3 } }';
    const config = parseConfig(file({ clients }), ENV);
    expect(['acme', 'acme-eu', 'globex'].map((client) => clientSettings(config, client)?.maxRunning)).toEqual([
      undefined,
      2,
      1,
    ]);
    expect(clientSettings(config, 'acme')?.weight).toBe(3);
    expect(clientSettings(parseConfig(file(), ENV), 'acme')).toBeUndefined();
  });

  test("a client's environment is over that of the task type, and its service account in the place of that one's", () => {
    const config = parseConfig(
      file({
        taskTypes: '{ echo: { env: [{ name: A, value: t }, { name: B, value: t }], serviceAccountName: type } }',
        clients:
          '{ acme: { env: [{ name: B, value: c }], envFrom: [{ secretRef: { name: acme } }], serviceAccountName: acme } }',
      }),
      ENV,
    );
    const policy = policyFor(config, 'echo');
    if (policy === undefined) throw new Error('no policy');
    expect(policyOfClient(policy, clientSettings(config, 'acme'))).toMatchObject({
      env: [
        { name: 'A', value: 't' },
        { name: 'B', value: 'c' },
      ],
      envFrom: [{ secretRef: { name: 'acme' } }],
      serviceAccountName: 'acme',
    });
    expect(policyOfClient(policy, clientSettings(config, 'globex'))).toBe(policy);
  });

  test('a CI task runs what a repository holds, and gets nothing that is its client’s', () => {
    const config = parseConfig(
      file({
        taskTypes: '{ ci: { env: [{ name: A, value: t }], ci: { images: registry.example.test/ci } } }',
        clients:
          '{ acme: { env: [{ name: B, value: c }], envFrom: [{ secretRef: { name: acme } }], serviceAccountName: acme } }',
      }),
      ENV,
    );
    const policy = policyFor(config, 'ci');
    if (policy === undefined) throw new Error('no policy');
    expect(policyOfClient(policy, clientSettings(config, 'acme'))).toBe(policy);
  });

  test('signing secrets stand side by side while one is replaced by the next', () => {
    const [old, fresh] = [`whsec_${'b2xk'.repeat(8)}`, `whsec_${'bmV3'.repeat(8)}`];
    const secretsOf = (text: string) =>
      parseConfig(file(), { ...ENV, SLIPWAY_WEBHOOK_SECRET: text }).webhookSecrets.map((secret) => secret.reveal());
    expect(secretsOf(`${fresh} ${old}\n`)).toEqual([fresh, old]);
    expect(secretsOf(`${fresh},${old}`)).toEqual([fresh, old]);
    expect(secretsOf(fresh)).toEqual([fresh]);
    expect(problemsOf(file(), { ...ENV, SLIPWAY_WEBHOOK_SECRET: `${fresh} hunter2` })).toEqual([
      expect.stringContaining('SLIPWAY_WEBHOOK_SECRET (value not shown): is no signing secret'),
    ]);
  });

  test('the installation is the same for any way into the account, and another for another account, namespace or suffix', () => {
    const key = 'DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.windows.net';
    const installation = (env: NodeJS.ProcessEnv, text = file()) =>
      parseConfig(text, { SLIPWAY_NAMESPACE: 'a', ...env }).installation;
    const byKey = installation({ AZURE_STORAGE_CONNECTION_STRING: key });
    expect(installation({ AZURE_STORAGE_SAS_URL: 'https://acme.queue.core.windows.net/?sv=1&sig=x' })).toBe(byKey);
    expect(installation({ AZURE_STORAGE_SAS_URL: 'https://acme.queue.core.windows.net/?sv=2&sig=y' })).toBe(byKey);
    const others = [
      installation({ AZURE_STORAGE_CONNECTION_STRING: key.replace('=acme', '=other') }),
      installation({ AZURE_STORAGE_CONNECTION_STRING: key, SLIPWAY_NAMESPACE: 'b' }),
      installation({ AZURE_STORAGE_CONNECTION_STRING: key }, file({ installation: 'blue' })),
    ];
    expect(new Set([byKey, ...others]).size).toBe(4);
  });

  test('its hash changes with the settings and not with how they are written', () => {
    const hash = (text: string) => parseConfig(text, ENV).hash;
    expect(hash(`# a comment\n${file({ limits: '\n  maxRunning: 20' })}`)).toBe(hash(file()));
    expect(hash(file({ limits: '{ maxRunning: 21 }' }))).not.toBe(hash(file()));
  });
});

describe('loadConfig', () => {
  test('reads the file that SLIPWAY_CONFIG names', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'slipway-config-'));
    try {
      const path = join(directory, 'slipway.yaml');
      await writeFile(path, file({ limits: '{ maxRunning: 7 }' }));
      expect((await loadConfig({ ...ENV, SLIPWAY_CONFIG: path })).file.limits.maxRunning).toBe(7);
      await writeFile(path, file({ limits: '{ maxRunning: 0 }' }));
      await expect(loadConfig({ ...ENV, SLIPWAY_CONFIG: path })).rejects.toThrow(
        `the configuration has a problem:\n  - ${path}: limits.maxRunning = 0`,
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('a file that is not there is one problem among those of the environment', async () => {
    const failure = await loadConfig({ SLIPWAY_CONFIG: '/nowhere/config.yaml' }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConfigError);
    expect((failure as ConfigError).problems).toEqual([
      "/nowhere/config.yaml: cannot be read (ENOENT: no such file or directory, open '/nowhere/config.yaml'). Mount it, or name another by SLIPWAY_CONFIG",
      'AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_SAS_URL are both not set. Set one of them, from a Secret',
      'SLIPWAY_NAMESPACE is not set: must be the namespace that Jobs are created in. Set it from metadata.namespace',
    ]);
  });
});
