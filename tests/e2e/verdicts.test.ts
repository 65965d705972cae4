/**
 * Every verdict about a pod that does not start, or is killed, on a real node: what the scheduler, the kubelet and the runtime really say
 * and do. Each is told on the Job, as an Event, by webhook, in the poison copy and by a metric, with one category and one hint.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Category, HINTS } from '#/contract/diagnosis.ts';
import { ANNOTATION } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import type { Outcome } from '#/operator/jobs/outcome.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { eventually } from '#/testing/eventually.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';

const QUEUE = 'acme-tasks';
/** A start timeout that a test can wait for; what the tasks themselves may take is long, so that no deadline does the operator's work. */
const START_S = 10;

interface Case {
  /** Settings of the task type; the image is a busybox that runs as root, and no runner of ours. */
  readonly settings: object;
  readonly category: Category;
  readonly message: RegExp;
  readonly attempts: number;
}

const shell = (script: string) => ({ args: ['sh', '-c', script] });

/** Task types by name, each with what becomes of its task. */
const cases = (registry: string): Readonly<Record<string, Case>> => ({
  'no-image': {
    settings: { image: `${registry}/nothing:1`, startTimeoutSeconds: START_S, attempts: 2 },
    category: 'ImagePull',
    message: /nothing:1.*not found/,
    attempts: 2,
  },
  'bad-name': {
    settings: { image: `${registry}/UPPER/case:1` },
    category: 'InvalidImage',
    message: /^InvalidImageName: /,
    attempts: 1,
  },
  'no-secret': {
    settings: { envFrom: [{ secretRef: { name: 'nothing' } }], startTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /^CreateContainerConfigError: secret "nothing" not found$/,
    attempts: 1,
  },
  'root-image': {
    settings: { podTemplate: { spec: { securityContext: { runAsUser: null, runAsGroup: null } } } },
    category: 'ContainerConfig',
    message: /runAsNonRoot.*; security: baseline in the task type would allow it$/,
    attempts: 1,
  },
  'writes-root': {
    settings: shell('echo x >/etc/motd'),
    category: 'TaskFailed',
    message: /exit code 1; it was refused a right.*security: baseline/,
    attempts: 1,
  },
  'no-command': {
    settings: { command: ['/nothing'] },
    category: 'ContainerConfig',
    message: /no such file or directory/,
    attempts: 1,
  },
  memory: {
    settings: {
      ...shell('sleep 2; exec dd if=/dev/zero of=/dev/null bs=200M count=2'),
      resources: { memory: '32Mi' },
      attempts: 2,
    },
    category: 'OutOfMemory',
    message: /exit code 137/,
    attempts: 2,
  },
  deadline: {
    settings: {
      ...shell("trap '' TERM; while :; do sleep 1; done"),
      startTimeoutSeconds: START_S,
      timeoutSeconds: 5,
      graceSeconds: 1,
    },
    category: 'TaskTimedOut',
    message: /^the pod passed its deadline/,
    attempts: 1,
  },
  'disk-full': {
    settings: {
      ...shell('dd if=/dev/zero of=/tmp/big bs=1M count=20; exec sleep 300'),
      resources: { ephemeralStorage: '4Mi' },
      graceSeconds: 1,
    },
    category: 'Evicted',
    message: /ephemeral/,
    attempts: 1,
  },
  'no-node': {
    settings: { nodeSelector: { nowhere: 'true' }, unschedulableTimeoutSeconds: START_S },
    category: 'Unschedulable',
    message: /^0\/1 nodes are available/,
    attempts: 1,
  },
  'too-big': {
    settings: { resources: { cpu: '100' }, unschedulableTimeoutSeconds: START_S },
    category: 'QuotaExceeded',
    message: /exceeded quota: tasks/,
    attempts: 0,
  },
  'no-account': {
    settings: { serviceAccountName: 'nobody', unschedulableTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /serviceaccount "nobody" not found/,
    attempts: 0,
  },
  forbidden: {
    settings: { ...shell('true'), security: 'baseline' },
    category: 'InvalidSpec',
    message: /violates PodSecurity "restricted/,
    attempts: 0,
  },
});

/** Task types of the tests that step in. */
const OTHERS = {
  'registry-away': { image: '10.255.0.1:1/nothing:1', startTimeoutSeconds: START_S },
  'late-secret': { ...shell('test "$LATE" = yes'), envFrom: [{ secretRef: { name: 'late' } }], webhook: 'operator' },
  evictable: { ...shell('sleep 8'), graceSeconds: 1, webhook: 'operator' },
  survivor: { ...shell('sleep 15'), webhook: 'operator' },
  lost: { ...shell('sleep 600'), graceSeconds: 1 },
  root: { ...shell('test "$(id -u)" = 0 && echo x >/etc/motd'), security: 'baseline', webhook: 'operator' },
};

let installation: NodeInstallation;

beforeAll(async () => {
  installation = await installOnNode({ queues: [QUEUE], config: configOf });
  await installation.node.apply({
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'tasks', namespace: installation.namespace },
    spec: { hard: { 'requests.cpu': '50' } },
  });
}, 900_000);

afterAll(() => installation?.[Symbol.asyncDispose](), 60_000);

function configOf({ registry }: RealNode): object {
  const settings = {
    ...Object.fromEntries(Object.entries(cases(registry)).map(([type, one]) => [type, one.settings])),
    ...OTHERS,
  };
  return {
    defaults: { timeoutSeconds: 3600, resources: { cpu: '10m', memory: '64Mi' } },
    polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
    limits: { maxRunning: 40 },
    ttl: { completedSeconds: 3600 },
    taskTypes: Object.fromEntries(
      Object.entries(settings).map(([type, one]) => [
        type,
        { image: `${registry}/busybox:1`, runner: 'foreign', ...one },
      ]),
    ),
  };
}

/** Puts a task whose type is its name. */
async function put(...types: readonly string[]): Promise<void> {
  const { queues, sink } = installation;
  for (const type of types)
    await queues.put(QUEUE, { task_id: type, task_type: type, payload: {}, webhook_url: `${sink.url}/${type}` });
}

async function jobOf(type: string): Promise<RawJob> {
  const { items } = await installation.node.get<{ items: RawJob[] }>(
    'jobs',
    '-n',
    installation.namespace,
    '-l',
    `slipway.dev/task-type=${type}`,
  );
  expect(items, type).toHaveLength(1);
  return items[0]!;
}

async function podsOf(type: string): Promise<readonly RawPod[]> {
  const selector = `slipway.dev/task-type=${type}`;
  return (await installation.node.get<{ items: RawPod[] }>('pods', '-n', installation.namespace, '-l', selector)).items;
}

const nameOf = ({ metadata }: RawJob | RawPod) => metadata?.name ?? '';
const annotation = (job: RawJob, key: string) => job.metadata?.annotations?.[key];

async function settled(type: string): Promise<RawJob> {
  return eventually(
    async () => {
      const job = await jobOf(type);
      expect(annotation(job, ANNOTATION.settled), type).toBeDefined();
      return job;
    },
    120_000,
    1000,
  );
}

async function running(type: string): Promise<RawPod> {
  return eventually(
    async () => {
      const [pod] = await podsOf(type);
      expect(pod?.status?.phase, type).toBe('Running');
      return pod!;
    },
    60_000,
    500,
  );
}

const outcomeOn = (job: RawJob) => JSON.parse(annotation(job, ANNOTATION.outcome) ?? 'null') as Outcome | null;
const webhooksOf = (type: string) =>
  installation.sink.requests
    .filter(({ path }) => path === `/${type}`)
    .map(({ body, headers }) => ({ id: headers['webhook-id'], ...webhookBodySchema.parse(JSON.parse(body)) }));

async function metrics(): Promise<string> {
  const [pod = ''] = (
    await installation.kubectl('get', 'pods', '-l', 'app.kubernetes.io/component!=task', '-o', 'name')
  ).split('\n');
  const path = `/api/v1/namespaces/${installation.namespace}/${pod.replace('pod/', 'pods/')}:8080/proxy/metrics`;
  return installation.node.kubectl(['get', '--raw', path]);
}

test('I7: every trouble ends its task with its own category, told everywhere', { timeout: 400_000 }, async () => {
  const table = cases(installation.node.registry);
  await put(...Object.keys(table));
  const jobs = new Map<string, RawJob>();
  await Promise.all(Object.keys(table).map(async (type) => jobs.set(type, await settled(type))));
  console.log(await installation.kubectl('get', 'jobs'));

  const poison = await installation.queues.poison(QUEUE);
  const counted = await metrics();
  for (const [type, { category, message, attempts }] of Object.entries(table)) {
    const job = jobs.get(type)!;
    const told = { category, message: expect.stringMatching(message), hint: HINTS[category] };
    expect(outcomeOn(job), type).toMatchObject({ status: 'failed', diagnosis: told });
    expect(outcomeOn(job)?.attempts, type).toHaveLength(attempts);
    expect(webhooksOf(type), type).toMatchObject([
      { status: 'failed', error: { code: category, message: expect.stringMatching(message), hint: HINTS[category] } },
    ]);
    const copy = poison.find(({ id }) => id === annotation(job, ANNOTATION.messageId));
    expect(copy, type).toMatchObject({ diagnosis: told, attempts: outcomeOn(job)?.attempts });
    const events = await installation.kubectl(
      'get',
      'events',
      '--field-selector',
      `involvedObject.name=${nameOf(job)}`,
    );
    expect(events, type).toMatch(new RegExp(`Warning +${category} +.*The task failed: `));
    const line = `slipway_tasks_settled_total{client="acme",type="${type}",status="failed",category="${category}"} 1`;
    expect(counted, type).toContain(line);
  }
  expect(poison).toHaveLength(Object.keys(table).length);
  expect(await installation.queues.count(QUEUE)).toBe(0);
});

describe('what passes uses up no attempt', () => {
  test('a registry that does not answer: the pod is made anew, until somebody cancels the task', {
    timeout: 200_000,
  }, async () => {
    await put('registry-away');
    const seen = new Set<string>();
    await eventually(
      async () => {
        for (const pod of await podsOf('registry-away')) seen.add(nameOf(pod));
        expect(seen.size).toBeGreaterThan(1);
      },
      120_000,
      500,
    );
    const job = await jobOf('registry-away');
    expect(job.status?.conditions ?? []).toEqual([]);
    expect(annotation(job, ANNOTATION.diagnosis)).toContain('"ImagePull"');
    await installation.kubectl('annotate', 'job', nameOf(job), `${ANNOTATION.cancel}=the registry is gone`);
    expect(outcomeOn(await settled('registry-away'))).toMatchObject({
      status: 'cancelled',
      diagnosis: { category: 'Cancelled', message: 'the task was cancelled: the registry is gone' },
    });
    expect(webhooksOf('registry-away')).toMatchObject([{ status: 'failed', error: { code: 'Cancelled' } }]);
    expect((await installation.queues.poison(QUEUE)).map(({ original }) => original).join()).not.toContain(
      'registry-away',
    );
    expect(await podsOf('registry-away')).toEqual([]);
  });

  test('a Secret that comes late: the note goes, and the task completes', { timeout: 120_000 }, async () => {
    await put('late-secret');
    await eventually(
      async () =>
        expect(annotation(await jobOf('late-secret'), ANNOTATION.diagnosis)).toContain('secret \\"late\\" not found'),
      60_000,
      500,
    );
    await installation.kubectl('create', 'secret', 'generic', 'late', '--from-literal=LATE=yes');
    const job = await settled('late-secret');
    expect(annotation(job, ANNOTATION.diagnosis)).toBeUndefined();
    expect(webhooksOf('late-secret')).toMatchObject([{ status: 'completed' }]);
  });

  test('an eviction: another pod does the task', { timeout: 120_000 }, async () => {
    await put('evictable');
    const pod = nameOf(await running('evictable'));
    const { namespace, node } = installation;
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace } };
    await node.kubectl(['create', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`, '-f', '-'], {
      input: JSON.stringify(eviction),
    });
    const job = await settled('evictable');
    expect(outcomeOn(job)).toMatchObject({ status: 'completed', attempts: [{ exitCode: 0 }] });
    expect((await podsOf('evictable')).map(nameOf)).not.toEqual([pod]);
    expect(webhooksOf('evictable')).toMatchObject([{ status: 'completed' }]);
  });
});

describe('a kubelet that is killed', () => {
  test('and started again: the task goes on, and is reported once', { timeout: 120_000 }, async () => {
    await put('survivor');
    const pod = nameOf(await running('survivor'));
    await installation.node.killKubelet();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    await installation.node.startKubelet();
    const job = await settled('survivor');
    expect(outcomeOn(job)).toMatchObject({ status: 'completed', attempts: [{ exitCode: 0 }] });
    expect((await podsOf('survivor')).map(nameOf)).toEqual([pod]);
    expect(webhooksOf('survivor')).toMatchObject([{ status: 'completed' }]);
  });

  test('and stays away while its pod is to go: that is told, and nothing is ended', { timeout: 240_000 }, async () => {
    await put('lost');
    const pod = nameOf(await running('lost'));
    await installation.node.killKubelet();
    await installation.kubectl('delete', 'pod', pod, '--wait=false');
    const job = await eventually(
      async () => {
        const seen = await jobOf('lost');
        expect(annotation(seen, ANNOTATION.diagnosis)).toContain('"NodeLost"');
        return seen;
      },
      120_000,
      1000,
    );
    expect(job.status?.conditions ?? []).toEqual([]);
    expect(await installation.kubectl('get', 'events', '--field-selector', 'reason=NodeLost')).toContain(
      `kubectl delete pod ${pod} --force`,
    );
    await installation.node.startKubelet();
    expect(outcomeOn(await settled('lost'))).toMatchObject({ status: 'failed' });
  });
});

test('security: baseline lets an image of root run where the namespace allows it', { timeout: 120_000 }, async () => {
  const { node, namespace } = installation;
  await node.kubectl(['label', '--overwrite', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=baseline']);
  await put('root');
  expect(outcomeOn(await settled('root'))).toMatchObject({ status: 'completed' });
  expect(webhooksOf('root')).toMatchObject([{ status: 'completed' }]);
});
