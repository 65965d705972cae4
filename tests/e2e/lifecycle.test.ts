/**
 * What an installation goes through, on a real node and with tasks that run meanwhile: its leader is deleted, it is upgraded, it is
 * uninstalled and installed under another name, and in the end its namespace goes. What all of that came to is looked at as a whole.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ANNOTATION, installationId, LABEL, POD_ANNOTATION } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { JOB_NAME_LABEL, type RawJob, type RawPod } from '#/operator/jobs/records.ts';
import { AZURITE_ACCOUNT } from '#/testing/azurite.ts';
import { eventually } from '#/testing/eventually.ts';
import { expectOneLifeEach, type JobHistory, watchJobHistory } from '#/testing/job-history.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation, RELEASE } from '#/testing/node-installation.ts';

const QUEUES = ['acme-tasks', 'globex-tasks'] as const;
const [ACME, GLOBEX] = QUEUES;
/** Shares no name with the first release: the identity of the installation is not made of it. */
const OTHER_RELEASE = 'harbour';
const SLOW_S = 45;
const TIMEOUT_S = 600;
const NEW_TIMEOUT_S = 900;

/** Tasks: their type and payload, and how many pods each takes. */
const KINDS = {
  quick: { type: 'quick', payload: {}, fails: false, pods: 1 },
  broken: { type: 'broken', payload: {}, fails: true, pods: 1 },
  slow: { type: 'slow', payload: {}, fails: false, pods: 1 },
  echo: { type: 'echo', payload: {}, fails: false, pods: 1 },
  'echo-failing': { type: 'echo', payload: { fail: 'told to fail' }, fails: true, pods: 2 },
  'echo-slow': { type: 'echo', payload: { sleepMs: 20_000 }, fails: false, pods: 1 },
} as const;
type Kind = keyof typeof KINDS;

interface Sent {
  readonly id: string;
  readonly queue: string;
  readonly kind: Kind;
}

/** A pod with what only tests look at. */
type SeenPod = Pick<RawPod, 'metadata'> & {
  readonly status?: {
    readonly phase?: string;
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
};
interface SeenLease {
  readonly metadata: { readonly uid: string };
  readonly spec: { readonly holderIdentity: string };
}

let installation: NodeInstallation;
let history: JobHistory;
const sent: Sent[] = [];

beforeAll(async () => {
  installation = await installOnNode({ queues: QUEUES, config: configOf, values: { replicas: 2 } });
  history = watchJobHistory(installation.node.kubeconfig, installation.namespace);
}, 900_000);

afterAll(async () => {
  try {
    await history?.[Symbol.asyncDispose]();
  } finally {
    await installation?.[Symbol.asyncDispose]();
  }
}, 60_000);

function configOf({ registry }: RealNode): object {
  const script = (text: string) => ({
    image: `${registry}/busybox:1`,
    runner: 'foreign',
    args: ['sh', '-c', text],
    webhook: 'operator',
  });
  return {
    queues: [],
    discovery: { intervalSeconds: 2 },
    defaults: {
      attempts: 2,
      timeoutSeconds: TIMEOUT_S,
      graceSeconds: 5,
      resources: { cpu: '20m', memory: '128Mi' },
    },
    polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
    limits: { maxRunning: 5 },
    ttl: { completedSeconds: 3600, failedSeconds: 3600 },
    taskTypes: {
      quick: script('true'),
      broken: script('exit 1'),
      slow: script(`sleep ${SLOW_S}`),
    },
  };
}

/** Puts tasks of these kinds into a queue. */
async function put(queue: string, ...kinds: readonly Kind[]): Promise<readonly Sent[]> {
  const { queues, sink } = installation;
  const put: Sent[] = [];
  for (const kind of kinds) {
    const one = { id: `${kind}-${sent.length}`, queue, kind };
    const { type, payload } = KINDS[kind];
    await queues.put(queue, { task_id: one.id, task_type: type, payload, webhook_url: `${sink.url}/${one.id}` });
    sent.push(one);
    put.push(one);
  }
  return put;
}

async function list<T>(...args: readonly string[]): Promise<readonly T[]> {
  return (await installation.node.get<{ items: T[] }>(...args, '-n', installation.namespace)).items;
}

const nameOf = ({ metadata }: RawJob | RawPod) => metadata?.name ?? '';
const annotation = ({ metadata }: Pick<RawJob | RawPod, 'metadata'>, key: string) => metadata?.annotations?.[key];
const operatorPods = async () => (await list<RawPod>('pods', '-l', 'app.kubernetes.io/component=operator')).map(nameOf);
const taskPods = () => list<SeenPod>('pods', '-l', JOB_NAME_LABEL);
const podsOf = (pods: readonly SeenPod[], { id }: Sent) =>
  pods.filter((pod) => annotation(pod, POD_ANNOTATION.taskId) === id);
const jobs = () => list<RawJob>('jobs');
/** The Jobs of a task: its id is short enough to be a label as it is. */
const jobsOf = (all: readonly RawJob[], { id }: Sent) =>
  all.filter(({ metadata }) => metadata?.labels?.[LABEL.taskId] === id);
const isSettled = (job: RawJob | undefined) => job !== undefined && annotation(job, ANNOTATION.settled) !== undefined;

/** Without it: rejects. */
async function lease(): Promise<SeenLease> {
  const { node, namespace } = installation;
  return node.get<SeenLease>('lease', `slipway-${installationId(AZURITE_ACCOUNT, namespace, '')}`, '-n', namespace);
}

/** The pod of each of these tasks, once its container runs. */
async function running(tasks: readonly Sent[]): Promise<readonly SeenPod[]> {
  return eventually(async () => {
    const pods = await taskPods();
    return tasks.map((task) => {
      const [pod] = podsOf(pods, task);
      expect(pod?.status?.phase, task.id).toBe('Running');
      return pod!;
    });
  });
}

/** What must stay the same of a pod that nobody touches. */
const lifeOf = (pod: SeenPod) => ({
  uid: pod.metadata?.uid,
  deleted: pod.metadata?.deletionTimestamp,
  restarts: pod.status?.containerStatuses?.map(({ restartCount }) => restartCount),
});

/** These pods are still there as they were, and no others beside them for their tasks. */
async function expectUntouched(tasks: readonly Sent[], before: readonly SeenPod[]): Promise<void> {
  const now = await taskPods();
  for (const [at, task] of tasks.entries())
    expect(podsOf(now, task).map(lifeOf), task.id).toEqual([
      { uid: before[at]?.metadata?.uid, deleted: undefined, restarts: [0] },
    ]);
}

/** Each of these tasks has its Job. */
async function started(tasks: readonly Sent[]): Promise<void> {
  await eventually(async () => {
    const all = await jobs();
    expect(tasks.filter((task) => jobsOf(all, task).length === 0).map(({ id }) => id)).toEqual([]);
  }, 90_000);
}

test('the leader is deleted: another replica goes on', { timeout: 120_000 }, async () => {
  const early = [...(await put(ACME, 'slow')), ...(await put(GLOBEX, 'slow'))];
  await put(ACME, 'quick', 'echo', 'broken', 'quick');
  await put(GLOBEX, 'echo-failing', 'quick', 'echo', 'quick');
  const pods = await running(early);
  const replicas = await operatorPods();
  expect(replicas).toHaveLength(2);
  const { holderIdentity: leader } = (await lease()).spec;
  expect(replicas).toContain(leader);
  expect((await jobs()).length, 'it is deleted too late').toBeLessThan(sent.length);

  await installation.kubectl('delete', 'pod', leader, '--wait=false');
  const late = await put(ACME, 'quick', 'echo', 'quick');
  // Mostly the one that stood by. The pod that is made for the deleted one may be as quick.
  await eventually(async () => {
    const { holderIdentity } = (await lease()).spec;
    expect(holderIdentity).not.toBe(leader);
    expect(await operatorPods()).toContain(holderIdentity);
  }, 30_000);
  await started(late);
  await started(sent);
  await expectUntouched(early, pods);
});

test('I10: an upgrade with other values replaces the operator and touches no task', { timeout: 120_000 }, async () => {
  const tasks = [...(await put(ACME, 'slow')), ...(await put(GLOBEX, 'slow', 'echo-slow'))];
  const pods = await running(tasks);
  const before = await operatorPods();
  await installation.upgrade(RELEASE, {
    replicas: 1,
    podAnnotations: { 'example.test/revision': '2' },
    config: { limits: { maxRunning: 12 }, taskTypes: { slow: { timeoutSeconds: NEW_TIMEOUT_S } } },
  });
  await eventually(async () => {
    const names = await operatorPods();
    expect(names).toHaveLength(1);
    expect(before).not.toContain(names[0]);
    expect((await lease()).spec.holderIdentity).toBe(names[0]);
  });
  await expectUntouched(tasks, pods);

  // The new values are for what comes now; what runs keeps its limits.
  const next = await put(ACME, 'slow');
  await started(next);
  const all = await jobs();
  const deadline = (task: Sent) => jobsOf(all, task)[0]?.spec?.activeDeadlineSeconds ?? Number.NaN;
  expect(deadline(next[0]!) - deadline(tasks[0]!)).toBe(NEW_TIMEOUT_S - TIMEOUT_S);
  await expectUntouched(tasks, pods);
});

test('uninstalled and installed under another name: what runs goes on and is adopted', {
  timeout: 240_000,
}, async () => {
  const tasks = [...(await put(ACME, 'slow', 'echo-slow')), ...(await put(GLOBEX, 'slow', 'echo-slow'))];
  const pods = await running(tasks);
  const { metadata } = await lease();

  await installation.uninstall(RELEASE);
  // Helm waits for the Deployment alone, whose pods end in their own time.
  await eventually(async () => expect(await operatorPods()).toEqual([]));
  expect((await installation.node.helm(['list', '-n', installation.namespace, '-q'])).trim()).toBe('');
  expect((await lease()).metadata.uid).toBe(metadata.uid);
  await expectUntouched(tasks, pods);

  // Some tasks end, and some messages come, while nobody is there.
  const meanwhile = [...(await put(ACME, 'quick', 'broken')), ...(await put(GLOBEX, 'echo'))];
  const ended = tasks.filter(({ kind }) => kind === 'echo-slow');
  await eventually(async () => {
    const all = await jobs();
    for (const task of ended) {
      const [job] = jobsOf(all, task);
      expect(job?.status?.conditions?.map(({ type }) => type)).toContain('Complete');
      expect(isSettled(job)).toBe(false);
    }
    expect(meanwhile.flatMap((task) => jobsOf(all, task))).toEqual([]);
  });

  await installation.install(OTHER_RELEASE, { config: { lease: { firstSeconds: 10, renewSeconds: 20 } } });
  expect((await lease()).metadata.uid).toBe(metadata.uid);
  await eventually(async () => expect(await operatorPods()).toContain((await lease()).spec.holderIdentity), 30_000);
  await eventually(
    async () => {
      const all = await jobs();
      const waiting = sent.filter((task) => !isSettled(jobsOf(all, task)[0]));
      expect(waiting.map(({ id }) => id)).toEqual([]);
    },
    150_000,
    1000,
  );
});

test('I7: in the end each message has had one Job with one life, and one outcome', { timeout: 60_000 }, async () => {
  console.log(await installation.kubectl('get', 'jobs'));
  const { queues, sink } = installation;
  expect(await Promise.all(QUEUES.map((queue) => queues.count(queue)))).toEqual([0, 0]);
  expectOneLifeEach([...history.versions], sent.length);

  const all = await jobs();
  expect(all).toHaveLength(sent.length);
  const failing = sent.filter(({ kind }) => KINDS[kind].fails);
  const copies = (await Promise.all(QUEUES.map((queue) => queues.poison(queue)))).flat();
  const messageIds = failing.flatMap((task) => jobsOf(all, task).map((job) => annotation(job, ANNOTATION.messageId)));
  expect([...new Set(copies.map(({ id }) => id))].sort()).toEqual(messageIds.sort());

  const pods = await taskPods();
  const ids: unknown[] = [];
  for (const task of sent) {
    const { fails, pods: attempts } = KINDS[task.kind];
    const posts = sink.requests.filter(({ path }) => path === `/${task.id}`);
    const reports = posts.map(({ body }) => webhookBodySchema.parse(JSON.parse(body)).status);
    expect([...new Set(reports)], task.id).toEqual([fails ? 'failed' : 'completed']);
    ids.push(...new Set(posts.map(({ headers }) => headers['webhook-id'])));
    // A Job that had lost a pod would have one more of them, and so would one that was made again.
    const lives = podsOf(pods, task).map((pod) => [pod.status?.phase, lifeOf(pod).restarts]);
    expect(lives, task.id).toEqual(Array.from({ length: attempts }, () => [fails ? 'Failed' : 'Succeeded', [0]]));
  }
  expect(new Set(ids).size).toBe(sent.length);
  expect(ids).toHaveLength(sent.length);
  console.log(`${sent.length} messages, ${sink.requests.length} webhooks, ${copies.length} poison copies`);
});

test('a namespace that is deleted goes, and no message of its tasks is lost', {
  timeout: 150_000,
}, async () => {
  const { node, namespace, queues, sink } = installation;
  const tasks = [...(await put(ACME, 'slow')), ...(await put(GLOBEX, 'slow'))];
  const pods = await running(tasks);
  expect(pods).toHaveLength(2);
  const copies = await Promise.all(QUEUES.map((queue) => queues.count(`${queue}-poison`)));

  await node.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  await eventually(async () => {
    expect(await node.kubectl(['get', 'namespace', namespace, '--ignore-not-found', '-o', 'name'])).toBe('');
  }, 60_000);
  // Both are still there; one that the operator could still hide when it stopped is seen again after ten minutes.
  expect(await Promise.all(QUEUES.map((queue) => queues.count(queue)))).toEqual([1, 1]);
  const visible = (await Promise.all(QUEUES.map((queue) => queues.texts(queue)))).flat();
  console.log(`of ${tasks.length} messages ${visible.length} visible at once`);
  expect(sink.requests.filter(({ path }) => tasks.some(({ id }) => path === `/${id}`))).toEqual([]);
  expect(await Promise.all(QUEUES.map((queue) => queues.count(`${queue}-poison`)))).toEqual(copies);
});
