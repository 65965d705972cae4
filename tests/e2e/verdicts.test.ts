/**
 * Every verdict about a pod that does not start, or is killed, on a real node: what the scheduler, the kubelet and the runtime really say
 * and do. Each is told on the Job, as an Event, by webhook, in the poison copy and by a metric, with one category and one hint.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Category, HINTS } from '#/contract/diagnosis.ts';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import type { Outcome } from '#/operator/jobs/outcome.ts';
import type { RawJob, RawPod } from '#/operator/jobs/records.ts';
import { eventually } from '#/testing/eventually.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';

const QUEUE = 'acme-tasks';
/** A start timeout that a test can wait for; what the tasks themselves may take is long, so that no deadline does the operator's work. */
const START_S = 10;
/** How long the Job of a failed task stays. */
const FAILED_TTL_S = 7200;

interface Case {
  /** Settings of the task type; the image is a busybox that runs as root, and no runner of ours. */
  readonly settings: object;
  readonly category: Category;
  readonly message: RegExp;
  readonly attempts: number;
  /** Reason of the Job's condition: that of Kubernetes when attempts are used up, or of the deadline by which the operator ends a Job. */
  readonly ended: 'BackoffLimitExceeded' | 'DeadlineExceeded';
}

const shell = (script: string) => ({ args: ['sh', '-c', script] });

const withVolume = (source: object) => ({
  spec: {
    volumes: [{ name: 'extra', ...source }],
    containers: [{ name: 'task', volumeMounts: [{ name: 'extra', mountPath: '/extra' }] }],
  },
});

/** Task types by name, each with what becomes of its task. */
const cases = (registry: string): Readonly<Record<string, Case>> => ({
  'no-image': {
    settings: { image: `${registry}/nothing:1`, startTimeoutSeconds: START_S, attempts: 2 },
    category: 'ImagePull',
    message: /nothing:1.*not found/,
    attempts: 2,
    ended: 'BackoffLimitExceeded',
  },
  'bad-name': {
    settings: { image: `${registry}/UPPER/case:1` },
    category: 'InvalidImage',
    message: /^InvalidImageName: /,
    attempts: 1,
    ended: 'DeadlineExceeded',
  },
  'no-secret': {
    settings: { envFrom: [{ secretRef: { name: 'nothing' } }], startTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /^CreateContainerConfigError: secret "nothing" not found$/,
    attempts: 1,
    ended: 'BackoffLimitExceeded',
  },
  'no-volume': {
    settings: { podTemplate: withVolume({ configMap: { name: 'nothing' } }), startTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /^the pod has had a node for 10 s .*no container of it runs \(ContainerCreating\)/,
    attempts: 1,
    ended: 'BackoffLimitExceeded',
  },
  // The runtime refuses a group without a user, before there is a container that could say why it waits.
  'no-sandbox': {
    settings: { podTemplate: { spec: { securityContext: { runAsUser: null } } }, startTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /^the pod has had a node for 10 s .*no container of it runs \(ContainerCreating\)/,
    attempts: 1,
    ended: 'BackoffLimitExceeded',
  },
  'root-image': {
    settings: { podTemplate: { spec: { securityContext: { runAsUser: null, runAsGroup: null } } } },
    category: 'ContainerConfig',
    message: /runAsNonRoot.*; security: baseline in the task type would allow it$/,
    attempts: 1,
    ended: 'DeadlineExceeded',
  },
  'writes-root': {
    settings: shell('echo x >/etc/motd'),
    category: 'TaskFailed',
    message: /exit code 1; it was refused a right.*security: baseline/,
    attempts: 1,
    ended: 'BackoffLimitExceeded',
  },
  'no-command': {
    settings: { command: ['/nothing'] },
    category: 'ContainerConfig',
    message: /no such file or directory/,
    attempts: 1,
    ended: 'BackoffLimitExceeded',
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
    ended: 'BackoffLimitExceeded',
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
    ended: 'BackoffLimitExceeded',
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
    ended: 'BackoffLimitExceeded',
  },
  'no-node': {
    settings: { nodeSelector: { nowhere: 'true' }, unschedulableTimeoutSeconds: START_S },
    category: 'Unschedulable',
    message: /^0\/1 nodes are available/,
    attempts: 1,
    ended: 'DeadlineExceeded',
  },
  'too-big': {
    settings: { resources: { cpu: '100' }, unschedulableTimeoutSeconds: START_S },
    category: 'QuotaExceeded',
    message: /exceeded quota: tasks/,
    attempts: 0,
    ended: 'DeadlineExceeded',
  },
  'no-account': {
    settings: { serviceAccountName: 'nobody', unschedulableTimeoutSeconds: START_S },
    category: 'ContainerConfig',
    message: /serviceaccount "nobody" not found/,
    attempts: 0,
    ended: 'DeadlineExceeded',
  },
  forbidden: {
    settings: { ...shell('true'), security: 'baseline' },
    category: 'InvalidSpec',
    message: /violates PodSecurity "restricted/,
    attempts: 0,
    ended: 'DeadlineExceeded',
  },
});

const LATE = [{ secretRef: { name: 'late' } }];
/** Task types of the tests that step in. */
const OTHERS = {
  'registry-away': { image: '10.255.0.1:1/nothing:1', startTimeoutSeconds: START_S },
  // One runs for longer than a note stands at least, the other is done before.
  'late-secret': { ...shell('sleep 40; test "$LATE" = yes'), envFrom: LATE, webhook: 'operator' },
  'late-secret-short': { ...shell('test "$LATE" = yes'), envFrom: LATE, webhook: 'operator' },
  evictable: { ...shell('sleep 8'), graceSeconds: 1, webhook: 'operator' },
  // Says that it still runs, to the host of its webhook.
  survivor: {
    ...shell(
      `sleep 10; wget -q -O /dev/null $(echo "$TASK_DATA" | sed 's/.*webhook_url":"//; s/".*/-lives/'); sleep 8`,
    ),
    webhook: 'operator',
  },
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
    ttl: { completedSeconds: 3600, failedSeconds: FAILED_TTL_S },
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

/** A Job with what only tests look at. */
type SeenJob = RawJob & { status?: { failed?: number } };
interface SeenEvent {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly name: string };
}

async function list<T>(...args: readonly string[]): Promise<readonly T[]> {
  return (await installation.node.get<{ items: T[] }>(...args, '-n', installation.namespace)).items;
}

const ofType = (type: string) => `slipway.dev/task-type=${type}`;
const podsOf = (type: string) => list<RawPod>('pods', '-l', ofType(type));

/** The one Job of a type. */
async function jobOf(type: string): Promise<SeenJob> {
  const jobs = await list<SeenJob>('jobs', '-l', ofType(type));
  expect(jobs, type).toHaveLength(1);
  return jobs[0]!;
}

const nameOf = ({ metadata }: RawJob | RawPod) => metadata?.name ?? '';
const annotation = (job: RawJob, key: string) => job.metadata?.annotations?.[key];
const outcomeOn = (job: RawJob) => JSON.parse(annotation(job, ANNOTATION.outcome) ?? 'null') as Outcome | null;
/** The reason of the condition by which a Job has failed; undefined for any other. */
const failedBy = ({ status }: RawJob) => status?.conditions?.find(({ type }) => type === 'Failed')?.reason;

/** The one Job of each type, all of them settled. */
async function allSettled(types: readonly string[]): Promise<readonly SeenJob[]> {
  return eventually(
    async () => {
      const jobs = await list<SeenJob>('jobs', '-l', `slipway.dev/task-type in (${types.join()})`);
      const byType = types.map((type) => jobs.filter(({ metadata }) => metadata?.labels?.[LABEL.taskType] === type));
      expect(byType.map(({ length }) => length)).toEqual(types.map(() => 1));
      const waiting = types.filter((_, at) => annotation(byType[at]![0]!, ANNOTATION.settled) === undefined);
      expect(waiting, 'types whose Jobs are not settled').toEqual([]);
      return byType.flat();
    },
    180_000,
    1000,
  );
}

async function settled(type: string): Promise<SeenJob> {
  return (await allSettled([type]))[0]!;
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

/** Kills the kubelet, does `work`, and starts it again whatever comes of that. */
async function withoutKubelet<T>(work: () => Promise<T>): Promise<T> {
  await installation.node.killKubelet();
  try {
    return await work();
  } finally {
    await installation.node.startKubelet();
  }
}

const requestsAt = (path: string) => installation.sink.requests.filter((request) => request.path === path);
const webhooksOf = (type: string) =>
  requestsAt(`/${type}`).map(({ body, headers }) => ({
    id: headers['webhook-id'],
    ...webhookBodySchema.parse(JSON.parse(body)),
  }));

async function metrics(): Promise<string> {
  const [operator] = await list<RawPod>('pods', '-l', 'app.kubernetes.io/component!=task');
  const path = `/api/v1/namespaces/${installation.namespace}/pods/${nameOf(operator!)}:8080/proxy/metrics`;
  return installation.node.kubectl(['get', '--raw', path]);
}

const settledMetric = (type: string, status: string, category: Category) =>
  `slipway_tasks_settled_total{client="acme",type="${type}",status="${status}",category="${category}"} 1`;

describe.concurrent('side by side', () => {
  test('I7: every trouble ends its task with its own category, told everywhere', { timeout: 400_000 }, async () => {
    const table = cases(installation.node.registry);
    const types = Object.keys(table);
    await put(...types);
    const jobs = await allSettled(types);
    const poison = await installation.queues.poison(QUEUE);
    const events = await list<SeenEvent>('events');
    const counted = await metrics();
    for (const [at, [type, { category, message, attempts, ended }]] of Object.entries(table).entries()) {
      const job = jobs[at]!;
      const told = { category, message: expect.stringMatching(message), hint: HINTS[category] };
      const outcome = outcomeOn(job);
      expect(outcome, type).toMatchObject({ status: 'failed', diagnosis: told });
      expect(outcome?.attempts, type).toHaveLength(attempts);
      expect(failedBy(job), type).toBe(ended);
      if (ended === 'BackoffLimitExceeded') expect(job.status?.failed, type).toBe(attempts);
      expect(job.spec?.ttlSecondsAfterFinished, type).toBeGreaterThanOrEqual(FAILED_TTL_S);
      expect(webhooksOf(type), type).toMatchObject([
        { status: 'failed', error: { code: category, message: told.message, hint: told.hint } },
      ]);
      const copies = poison.filter(({ id }) => id === annotation(job, ANNOTATION.messageId));
      expect(copies, type).toMatchObject([{ diagnosis: told, attempts: outcome?.attempts }]);
      const said = events.filter(
        ({ reason, involvedObject }) => reason === category && involvedObject.name === nameOf(job),
      );
      expect(said, type).toContainEqual(
        expect.objectContaining({
          type: 'Warning',
          message: expect.stringContaining(`The task failed: ${outcome?.diagnosis.message}`.slice(0, 900)),
        }),
      );
      expect(counted, type).toContain(settledMetric(type, 'failed', category));
    }
  });

  test('a registry that does not answer: the pod is made anew and no attempt used up, until somebody cancels', {
    timeout: 300_000,
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
    expect(job.status?.failed ?? 0).toBe(0);
    expect(annotation(job, ANNOTATION.attempts)).toBeUndefined();
    expect(annotation(job, ANNOTATION.diagnosis)).toContain('"ImagePull"');
    await installation.kubectl('annotate', 'job', nameOf(job), `${ANNOTATION.cancel}=the registry is gone`);
    expect(outcomeOn(await settled('registry-away'))).toMatchObject({
      status: 'cancelled',
      diagnosis: { category: 'Cancelled', message: 'the task was cancelled: the registry is gone' },
    });
    expect(webhooksOf('registry-away')).toMatchObject([{ status: 'failed', error: { code: 'Cancelled' } }]);
    expect(await podsOf('registry-away')).toEqual([]);
    expect(await metrics()).toContain(settledMetric('registry-away', 'cancelled', 'Cancelled'));
  });

  test('a Secret that comes late: the note goes, and the task completes', { timeout: 200_000 }, async () => {
    const types = ['late-secret', 'late-secret-short'];
    const noteOn = async (type: string) => annotation(await jobOf(type), ANNOTATION.diagnosis);
    await put(...types);
    for (const type of types)
      await eventually(async () => expect(await noteOn(type)).toContain('secret \\"late\\" not found'), 60_000, 500);
    await installation.kubectl('create', 'secret', 'generic', 'late', '--from-literal=LATE=yes');
    await eventually(async () => expect(await noteOn('late-secret')).toBeUndefined());
    const pod = await running('late-secret');
    for (const job of await allSettled(types)) {
      expect(annotation(job, ANNOTATION.diagnosis)).toBeUndefined();
      expect(job.status?.failed ?? 0).toBe(0);
    }
    expect((await podsOf('late-secret')).map(nameOf)).toEqual([nameOf(pod)]);
    for (const type of types) expect(webhooksOf(type), type).toMatchObject([{ status: 'completed' }]);
  });

  test('an eviction uses up no attempt: another pod does the task', { timeout: 200_000 }, async () => {
    await put('evictable');
    const pod = nameOf(await running('evictable'));
    const { namespace, node } = installation;
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace } };
    await node.kubectl(['create', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`, '-f', '-'], {
      input: JSON.stringify(eviction),
    });
    const job = await settled('evictable');
    expect(outcomeOn(job)).toMatchObject({ status: 'completed', attempts: [{ exitCode: 0 }] });
    expect(job.status?.failed ?? 0).toBe(0);
    expect((await podsOf('evictable')).map(nameOf)).not.toContain(pod);
    expect(webhooksOf('evictable')).toMatchObject([{ status: 'completed' }]);
  });
});

describe('a kubelet that is killed', () => {
  test('and started again: the same container goes on, and is reported once', { timeout: 120_000 }, async () => {
    await put('survivor');
    const pod = await running('survivor');
    await withoutKubelet(async () => {
      expect(requestsAt('/survivor-lives'), 'it was killed too late').toEqual([]);
      await eventually(() => expect(requestsAt('/survivor-lives')).toHaveLength(1));
    });
    const job = await settled('survivor');
    expect(outcomeOn(job)).toMatchObject({ status: 'completed', attempts: [{ exitCode: 0 }] });
    const after = await podsOf('survivor');
    expect(after.map(nameOf)).toEqual([nameOf(pod)]);
    const startedAt = pod.status?.containerStatuses?.[0]?.state?.running?.startedAt;
    expect(startedAt).toBeDefined();
    expect(after[0]?.status?.containerStatuses?.[0]?.state?.terminated?.startedAt).toBe(startedAt);
    expect(webhooksOf('survivor')).toMatchObject([{ status: 'completed' }]);
    expect(requestsAt('/survivor-lives')).toHaveLength(1);
  });

  test('and stays away while its pod is to go: that is told, and nothing is ended', { timeout: 240_000 }, async () => {
    await put('lost');
    const pod = nameOf(await running('lost'));
    await withoutKubelet(async () => {
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
      expect(job.spec?.activeDeadlineSeconds).toBeGreaterThan(3600);
      expect(await podsOf('lost')).toHaveLength(1);
      expect(webhooksOf('lost')).toEqual([]);
      expect(await list<SeenEvent>('events', '--field-selector', 'reason=NodeLost')).toMatchObject([
        {
          type: 'Warning',
          message: expect.stringContaining(`kubectl delete pod -n ${installation.namespace} ${pod} --force`),
        },
      ]);
    });
    const job = await settled('lost');
    expect(outcomeOn(job)).toMatchObject({ status: 'failed' });
    expect(failedBy(job)).toBe('BackoffLimitExceeded');
    expect(webhooksOf('lost')).toMatchObject([{ status: 'failed' }]);
  });
});

test('security: baseline lets an image of root run where the namespace allows it', { timeout: 120_000 }, async () => {
  const { node, namespace } = installation;
  await node.kubectl(['label', '--overwrite', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=baseline']);
  await put('root');
  expect(outcomeOn(await settled('root'))).toMatchObject({ status: 'completed' });
  expect(webhooksOf('root')).toMatchObject([{ status: 'completed' }]);
});

test('I2: in the end no message is left, and each task that failed, and no other, has its poison copy', async () => {
  console.log(await installation.kubectl('get', 'jobs'));
  const jobs = await list<SeenJob>('jobs');
  const types = [...Object.keys(cases(installation.node.registry)), ...Object.keys(OTHERS)];
  expect(jobs.map(({ metadata }) => metadata?.labels?.[LABEL.taskType]).sort()).toEqual(types.sort());
  expect(await installation.queues.count(QUEUE)).toBe(0);
  const failed = jobs.filter((job) => outcomeOn(job)?.status === 'failed');
  const copies = (await installation.queues.poison(QUEUE)).map(({ id }) => id);
  expect(copies.sort()).toEqual(failed.map((job) => annotation(job, ANNOTATION.messageId)).sort());
});
