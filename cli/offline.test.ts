/** `slipway config check` and `slipway explain` as people run them, without a cluster or with a fake one. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import { ServiceError } from '../lib/errors.ts';
import type { ApiRequest } from '../operator/jobs/api.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { EPOCH, VirtualClock } from '../testing/virtual-clock.ts';
import type { ClusterOptions } from './cluster.ts';
import { runProgram } from './program.ts';

const CONFIG = `
queues: [{ name: acme-tasks }, { name: globex-tasks, encoding: base64 }]
runner: { image: registry.example/runner:1 }
limits: { maxRunning: 2 }
taskTypes: { echo: {}, resize: { image: registry.example/resize, security: baseline } }
`;
const MESSAGE = '{"task_id":"t-1","task_type":"echo","payload":{"a":1}}';

interface SetUp {
  readonly files?: Readonly<Record<string, string>>;
  readonly api?: (request: ApiRequest) => unknown;
  readonly account?: string;
  readonly columns?: number;
}

function setUp({ files = {}, api, account, columns }: SetUp = {}) {
  const all: Readonly<Record<string, string>> = { 'config.yaml': CONFIG, 'message.json': `${MESSAGE}\n`, ...files };
  const requests: ApiRequest[] = [];
  return {
    requests,
    run: async (...args: readonly string[]) => {
      let out = '';
      let err = '';
      const clock = new VirtualClock();
      const code = await runProgram(args, {
        out: (text) => {
          out += text;
        },
        err: (text) => {
          err += text;
        },
        colour: columns !== undefined,
        columns,
        clock,
        stopping: new AbortController().signal,
        connect: () => new FakeQueues(clock, []),
        connectIfNamed: () => undefined,
        connectCluster: () => 78,
        readText: async (path) => all[path] ?? { problem: `${path} cannot be read` },
        openCluster: ({ namespace = 'theirs' }: ClusterOptions) =>
          api === undefined
            ? { problem: 'no kubeconfig' }
            : {
                namespace,
                others: [],
                server: 'https://cluster.test',
                api: {
                  request: async (request) => {
                    requests.push(request);
                    return api(request);
                  },
                  lines: () => {
                    throw new Error('nothing is watched');
                  },
                },
              },
        storageAccess: () =>
          account === undefined
            ? { kind: 'invalid', problem: 'not set' }
            : { kind: 'connection-string', account, secret: { reveal: () => '' } as never },
        inspectQueues: () => {
          throw new Error('no queue is looked at');
        },
      });
      return { code, out, err };
    },
  };
}

describe('config check', () => {
  test('a good file: its queues, clients, types, and warnings', async () => {
    const { code, out, err } = await setUp().run('config', 'check', 'config.yaml');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^config\.yaml is good\.\n/);
    expect(out).toMatch(/^globex-tasks +globex +base64$/m);
    expect(out).toMatch(/^TYPE +TRIES +RUNS +GRACE +STARTS +WAITS +CPU +MEMORY +SECURITY +WEBHOOK$/m);
    expect(out).toMatch(/^echo +3 +30m +30s +10m +1h +1 +2Gi +restricted +auto$/m);
    expect(out).toMatch(/^resize +1 .* baseline +auto$/m);
    expect(out).toMatch(/^registry\.example\/runner:1 +slipway +echo$/m);
    expect(out).toContain('Warning: image registry.example/resize has neither tag nor digest');
    expect(out).toContain('Warning: taskTypes.resize.security is baseline');
    expect(out).not.toContain('\u001b');
  });

  test('with discovery alone: how queues are found, in place of an empty table', async () => {
    const text = `discovery: { exclude: [old-tasks] }\n${CONFIG.replace(/^queues.*$/m, '')}`;
    const { code, out } = await setUp({ files: { 'config.yaml': text } }).run('config', 'check', 'config.yaml');
    expect(code).toBe(0);
    expect(out).not.toContain('QUEUE');
    expect(out).toMatch(/^discovery +the account's queues \*-tasks but old-tasks, looked for every 15 s$/m);
  });

  test.each([
    ['backend: aci', 'all types'],
    ['', 'no type'],
  ])('with a resource group and "%s": what runs there', async (backend, which) => {
    const aci =
      'aci: { subscriptionId: 22222222-2222-4222-8222-222222222222, resourceGroup: tasks, location: westeurope }';
    const head = CONFIG.split('taskTypes')[0];
    const files = { 'config.yaml': `${head}taskTypes: { echo: {} }\n${aci}\n${backend}\n` };
    const { out } = await setUp({ files }).run('config', 'check', 'config.yaml');
    const where = 'on Azure Container Instances, in resource group tasks in westeurope';
    expect(out).toMatch(new RegExp(`^aci +${which} ${where}$`, 'm'));
  });

  test('no line passes the width of a terminal', async () => {
    const { out } = await setUp({ columns: 100 }).run('config', 'check', 'config.yaml');
    const plain = stripVTControlCharacters(out);
    expect(plain).not.toBe(out);
    expect(Math.max(...plain.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  test.each([
    ['image: registry.example/x:latest', 'image registry.example/x:latest is latest'],
    ['image: "registry.example:5000/x"', 'has neither tag nor digest'],
    ['image: r/x:1, attempts: 2', 'taskTypes.t.attempts is 2'],
    ['webhook: task', 'taskTypes.t.webhook is task'],
    ['env: [{ name: DB_PASSWORD, value: hunter2 }]', 'DB_PASSWORD is given as a literal value'],
  ])('a type with %s is warned of', async (settings, words) => {
    const files = { 'config.yaml': `${CONFIG.split('taskTypes')[0]}taskTypes: { t: { ${settings} } }` };
    const { code, out } = await setUp({ files }).run('config', 'check', 'config.yaml');
    expect(code).toBe(0);
    expect(out).toContain(words);
    expect(out).not.toContain('hunter2');
  });

  test.each([
    ['webhook: { allow: [0.0.0.0/0] }', 'webhook.allow has 0.0.0.0/0'],
    ['lease: { shared: true }', 'lease.shared is set'],
    ['poison: { format: original }', 'poison.format is original'],
    ['ttl: { failedSeconds: 0 }', 'ttl.failedSeconds is 0'],
  ])('%s is warned of', async (setting, words) => {
    const { out } = await setUp({ files: { 'config.yaml': `${CONFIG}${setting}\n` } }).run(
      ...['config', 'check', 'config.yaml'],
    );
    expect(out).toContain(`Warning: ${words}`);
  });

  test('nothing risky, no warning', async () => {
    const text =
      'queues: [{ name: a-tasks }]\nrunner: { image: "r/x@sha256:a" }\ntaskTypes: { echo: {} }\nwebhook: { signingSecret: { name: a, key: b } }';
    const { out } = await setUp({ files: { 'config.yaml': text } }).run('config', 'check', 'config.yaml', '--json');
    expect(JSON.parse(out)).toMatchObject({ good: true, form: 'config', warnings: [], problems: [] });
  });

  test('every problem of a wrong file, and exit code 78', async () => {
    const files = { 'config.yaml': 'queues: []\nlimits: { maxRuning: 1 }\ntaskTypes: { echo: { attempts: 0 } }' };
    const at = setUp({ files });
    const { code, out, err } = await at.run('config', 'check', 'config.yaml');
    expect({ code, out }).toEqual({ code: 78, out: '' });
    expect(err).toMatch(/^config\.yaml has 4 problems:\n- limits has the unknown setting/);
    expect(err).toContain('- taskTypes.echo.attempts = 0: is too small. Use 1 or more\n');
    const json = await at.run('config', 'check', 'config.yaml', '--json');
    expect(json).toMatchObject({ code: 78, err: '' });
    expect((JSON.parse(json.out) as { problems: unknown[] }).problems).toHaveLength(4);
  });

  test('a values file of the chart: its config is judged, and that is said', async () => {
    const values = 'storage: { existingSecret: s }\nconfig: { queues: [{ name: a-tasks }], runner: { image: r/x:1 } }';
    const files = { 'values.yaml': values, 'bad.yaml': values.replace('a-tasks', 'A') };
    const at = setUp({ files });
    const good = await at.run('config', 'check', 'values.yaml');
    expect(good.code).toBe(0);
    expect(good.out).toContain('It is a values file of the chart');
    expect(good.out).toMatch(/^document-processing /m);
    const bad = await at.run('config', 'check', 'bad.yaml');
    expect(bad.code).toBe(78);
    expect(bad.err).toContain('bad.yaml under config: queues[0].name = "A"');
  });

  test('a file that is not there, one that is no YAML, standard input', async () => {
    const at = setUp({ files: { 'x.yaml': 'a: [', '-': CONFIG } });
    expect(await at.run('config', 'check', 'none.yaml')).toMatchObject({
      code: 78,
      err: expect.stringContaining('none.yaml cannot be read'),
    });
    expect(await at.run('config', 'check', 'x.yaml')).toMatchObject({
      code: 78,
      err: expect.stringContaining('is not YAML'),
    });
    expect((await at.run('config', 'check', '-')).out).toMatch(/^standard input is good/);
  });
});

describe('explain', () => {
  const explain = (...args: readonly string[]) => ['explain', 'message.json', '--config', 'config.yaml', ...args];

  test('a message that would become a Job: its settings, what was not asked, and the Job', async () => {
    const { code, out } = await setUp().run(...explain());
    expect(code).toBe(0);
    expect(out).toMatch(/^The message would become the Job acme-echo-[a-z2-7]{12}\.$/m);
    expect(out).toMatch(/^Message: +plain JSON, 54 bytes$/m);
    expect(out).toMatch(/^Runs: +up to 3 times, 30m each;/m);
    expect(out).toContain('No cluster was asked');
    expect(out).toContain('not known is the storage account (--account) nor');
    const job = parse(out.slice(out.indexOf('apiVersion:'))) as { metadata: { namespace?: string } };
    expect(job.metadata.namespace).toBeUndefined();
  });

  test('base64, by the encoding of its queue', async () => {
    const base64 = Buffer.from(MESSAGE).toString('base64');
    const at = setUp({ files: { 'message.json': base64 } });
    expect((await at.run(...explain('--queue', 'globex-tasks'))).out).toMatch(
      /^Message: +JSON from base64, 72 bytes$/m,
    );
    const plain = await setUp().run(...explain('--queue', 'globex-tasks'));
    expect(plain).toMatchObject({
      code: 1,
      out: expect.stringContaining('is malformed: message is not canonical base64'),
    });
  });

  test.each([
    ['{"task_id":7,"task_type":"echo"}', 'malformed', 'message is malformed: task_id must be a string, got a number'],
    ['{', 'malformed', 'message is malformed: message is neither JSON'],
    [
      '{"task_id":"t","task_type":"nope"}',
      'unknown-type',
      'message is of unknown type: task_type "nope" is not configured',
    ],
  ])('%s is %s', async (text, verdict, sentence) => {
    const at = setUp({ files: { 'message.json': text } });
    const shown = await at.run(...explain());
    expect(shown.code).toBe(1);
    expect(shown.out).toContain(sentence);
    expect(shown.out).toContain('goes to acme-tasks-poison');
    const json = await at.run(...explain('--json'));
    expect(JSON.parse(json.out)).toMatchObject({ verdict, queue: 'acme-tasks' });
    const manifest = await at.run(...explain('--manifest'));
    expect(manifest).toMatchObject({ code: 1, out: '', err: expect.stringContaining(sentence) });
  });

  test('a queue that nobody receives from', async () => {
    const { code, out } = await setUp().run(...explain('--queue', 'other-tasks'));
    expect(code).toBe(1);
    expect(out).toContain('would not be received: the queue other-tasks is not configured');
  });

  test('no queue, where only discovery knows them', async () => {
    const config = 'discovery: {}\nrunner: { image: "r:1" }\ntaskTypes: { echo: {} }';
    const { code, out } = await setUp({ files: { 'config.yaml': config } }).run(...explain());
    expect(code).toBe(1);
    expect(out).toContain('Say which one it is in: --queue NAME');
    expect(out).toMatch(
      /^Then: +stays where it is\. Discovery takes the account's queues \*-tasks, as far .*; --queue NAME says which$/m,
    );
    expect(out).not.toContain('Configured: ');
  });

  test('a queue that discovery leaves out, beside one that is configured', async () => {
    const at = setUp({ files: { 'config.yaml': `${CONFIG}discovery: { exclude: [old-*] }` } });
    const { code, out } = await at.run(...explain('--queue', 'old-tasks'));
    expect(code).toBe(1);
    expect(out).toContain('the queue old-tasks is not configured, nor one that discovery takes.');
    expect(out).toMatch(
      /^Then: .*Configured: acme-tasks, globex-tasks\. Discovery takes .* \*-tasks but old-\*, .* CLIENT-tasks$/m,
    );
    const json = await at.run(...explain('--queue', 'old-tasks', '--json'));
    expect(JSON.parse(json.out)).toMatchObject({ verdict: 'not-received', discovery: { exclude: ['old-*'] } });
    expect((await at.run(...explain('--queue', 'new-tasks'))).code).toBe(0);
  });

  test('the Job of a CI type keeps the namespace that the configuration gives it', async () => {
    const ci = 'ci: { images: registry.example.com/ci, namespace: ci-tasks }';
    const types = `{ ci: { ${ci} }, ci-here: { ${ci.replace(', namespace: ci-tasks', '')} } }`;
    const message = (type: string) =>
      JSON.stringify({
        task_id: '1',
        task_type: type,
        payload: { repository: 'https://git.example.com/a.git', ref: 'main', test: { command: 'make' } },
      });
    const namespaceOf = async (type: string) => {
      const files = { 'config.yaml': `${CONFIG.replace(/^taskTypes.*$/m, '')}taskTypes: ${types}` };
      const { code, out } = await setUp({ files: { ...files, 'message.json': message(type) } }).run(
        ...explain('--manifest'),
      );
      expect(code).toBe(0);
      return (parse(out) as { metadata: { namespace?: string } }).metadata.namespace;
    };
    expect(await namespaceOf('ci')).toBe('ci-tasks');
    expect(await namespaceOf('ci-here')).toBeUndefined();
  });

  describe('--format arm', () => {
    const aci =
      'aci: { subscriptionId: 11111111-2222-3333-4444-555555555555, resourceGroup: tasks, location: westeurope }';
    const arm = (config: string) =>
      setUp({ files: { 'config.yaml': config } }).run(...explain('--format', 'arm', '--message-id', 'm-1'));

    test('is the container group as a deployment template', async () => {
      const { code, out, err } = await arm(`${CONFIG}${aci}`);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const [group] = JSON.parse(out).resources;
      expect(group).toMatchObject({
        type: 'Microsoft.ContainerInstance/containerGroups',
        location: 'westeurope',
        tags: { 'slipway-message': 'm-1' },
      });
      const { environmentVariables } = group.properties.containers[0].properties;
      expect(environmentVariables[0]).toEqual({ name: 'TASK_DATA', secureValue: MESSAGE });
    });

    test('says where it would be made is not known, or what cannot be done there', async () => {
      expect(await arm(CONFIG)).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringContaining('the configuration has no aci: set aci.subscriptionId'),
      });
      expect(await arm(`${CONFIG.replace('echo: {}', 'echo: { nodeSelector: { a: b } }')}${aci}`)).toMatchObject({
        code: 1,
        out: '',
        err: "slipway: the pod template's spec.nodeSelector: ACI has no nodes. Remove it for this type\n",
      });
    });
  });

  test('--manifest is the Job alone; account and id give its true name', async () => {
    const { code, out } = await setUp({ account: 'acme' }).run(...explain('--manifest', '--message-id', 'm-1'));
    expect(code).toBe(0);
    expect(parse(out)).toMatchObject({
      kind: 'Job',
      metadata: { annotations: { [ANNOTATION.account]: 'acme', [ANNOTATION.messageId]: 'm-1' } },
    });
    const told = await setUp({ account: 'acme' }).run(...explain('--message-id', 'm-1'));
    expect(told.out).not.toContain('is an example');
  });

  test.each([
    [['explain', 'message.json']],
    [['explain']],
    [explain('--json', '--manifest')],
    [explain('--format', 'arm', '--json')],
    [explain('--format', 'yaml')],
  ])('%j is not understood', async (args) => expect((await setUp().run(...args)).code).toBe(2));

  test('a wrong configuration, and a kubeconfig that is none', async () => {
    const files = { 'config.yaml': 'queues: 3' };
    expect(await setUp({ files }).run(...explain())).toMatchObject({ code: 78, out: '' });
    expect(await setUp().run(...explain('--cluster'))).toMatchObject({ code: 78, err: 'slipway: no kubeconfig\n' });
  });

  describe('with a cluster', () => {
    const job = (type: string, more: object = {}) => ({
      metadata: { name: 'x', labels: { [LABEL.taskType]: type }, annotations: {} },
      spec: {},
      ...more,
    });
    const answers =
      (jobs: readonly object[], readyz: () => unknown, create: () => unknown = () => ({})) =>
      ({ method, path, query }: ApiRequest): unknown => {
        if (path.endsWith('/jobs') && method === 'POST') {
          expect(query).toMatchObject({ dryRun: 'All' });
          return create();
        }
        if (path.endsWith('/jobs')) return { items: jobs };
        if (path.endsWith('/pods')) return { items: [{ metadata: { name: 'operator-1' } }] };
        if (path.endsWith('/proxy/readyz')) return readyz();
        if (path.endsWith('/events'))
          return {
            items: [{ message: 'Task type echo is paused, its messages are kept: bad', lastTimestamp: 'then' }],
          };
        throw new ServiceError('not-found', 'NotFound', `${method} ${path} was refused: no such Job`);
      };
    const ready = (detail: string) => () => ({ checks: [{ name: 'task types', detail }] });

    test('the cap is full: it waits', async () => {
      const finished = job('echo', { status: { conditions: [{ type: 'Complete', status: 'True' }] } });
      const suspended = job('echo', { spec: { suspend: true } });
      const api = answers([job('echo'), job('resize'), finished, suspended], ready('all accepted by the API server'));
      const { code, out } = await setUp({ api, account: 'acme' }).run(...explain('-n', 'jobs', '--message-id', 'm-1'));
      expect(code).toBe(0);
      expect(out).toMatch(/^Slots: +2 of 2 tasks run \(limits\.maxRunning\): the message waits in its queue/m);
      expect(out).toMatch(/^Its Job: +none yet/m);
      expect(out).toMatch(/^Operator: +the type is not paused/m);
      expect(out).not.toContain('No cluster was asked');
    });

    test('its type is paused, as readiness says, or else an Event', async () => {
      const paused = answers([], ready('paused: resize: x; echo: the API server refuses its Job'));
      expect((await setUp({ api: paused }).run(...explain('--cluster'))).out).toMatch(
        /^Operator: +the type is paused, its messages are kept: the API server refuses its Job$/m,
      );
      const unread = answers([], () => {
        throw new ServiceError('forbidden', 'Forbidden', 'GET x was refused: no');
      });
      expect((await setUp({ api: unread }).run(...explain('--cluster'))).out).toMatch(
        /^Operator: .*its Event of then says/m,
      );
    });

    test.each([
      ['invalid', 'bad', 1],
      ['forbidden', 'unknown', 0],
      ['unknown', 'unknown', 0],
    ] as const)('a dry run that ends as %s', async (kind, state, exit) => {
      const refuse = () => {
        throw new ServiceError(kind, 'Code', 'POST /jobs was refused: because');
      };
      const api = answers([], ready('all'), refuse);
      const { code, out } = await setUp({ api }).run(...explain('--cluster', '--json'));
      expect(code).toBe(exit);
      const told = JSON.parse(out) as { cluster: unknown[] };
      expect(told.cluster).toContainEqual({ about: 'admission', state, text: expect.stringContaining('because') });
    });

    test('a Job that is there', async () => {
      const settled = {
        metadata: { creationTimestamp: new Date(EPOCH).toISOString(), labels: { [LABEL.state]: 'settled' } },
      };
      const others = answers([], ready('all'));
      const api = (request: ApiRequest) => (/\/jobs\/acme-echo-/.test(request.path) ? settled : others(request));
      const { out } = await setUp({ api, account: 'acme' }).run(...explain('--cluster', '--message-id', 'm-1'));
      expect(out).toMatch(/^Its Job: +made .* and settled: the message would only be deleted$/m);
    });
  });
});

test.each([['config', 'check'], ['explain'], ['doctor'], ['compare']])('%s --help has examples', async (...command) => {
  const { code, out } = await setUp().run(...command, '--help');
  expect(code).toBe(0);
  expect(out).toMatch(new RegExp(`Examples:\\n {2}slipway ${command.join(' ')}`));
});
