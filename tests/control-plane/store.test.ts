/** The local Job store is held to the real API server: the same calls on both, and the same to be seen. */
import { KubeConfig, type V1Job } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ANNOTATION, LABEL, STATE } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import { ServiceError } from '#/lib/errors.ts';
import { createLog } from '#/lib/log.ts';
import { createKubernetesApi, type KubernetesApi } from '#/operator/jobs/api.ts';
import { createKubernetesStore } from '#/operator/jobs/kubernetes.ts';
import { manifest } from '#/operator/jobs/manifest.ts';
import type { JobRecord, PodRecord } from '#/operator/jobs/records.ts';
import type { JobStore, Observation } from '#/operator/jobs/store.ts';
import type { RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { testConfig, testPolicy, testTask } from '#/testing/jobs.ts';
import { type Ending, endPod, stages } from '#/testing/kwok.ts';
import { podStatus } from '#/testing/pod-status.ts';

const NAMESPACE = 'store';
/** A namespace where no pod is admitted as long as its quota stands. */
const FULL = 'full';
const QUOTA = {
  spec: { hard: { pods: '0' } },
  refusal: 'exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0',
};
const ENDINGS: Readonly<Record<string, Ending>> = {
  succeed: { as: 'completed-owed' },
  fail: { as: 'failed' },
  permanent: { as: 'permanent' },
  stuck: { as: 'image-missing' },
};
const config = testConfig('taskTypes: { default: {} }', { SLIPWAY_NAMESPACE: NAMESPACE });

/** The Job of a message of its own; `forever` is the type of tasks that end when the test says so. */
function job(
  name: string,
  taskType: string,
  attempts = 1,
  spec: Partial<NonNullable<V1Job['spec']>> = {},
  namespace = NAMESPACE,
): V1Job {
  const task = testTask();
  const made = manifest(
    { ...task, taskType, message: { ...task.message, id: name } },
    { ...testPolicy(config, taskType), attempts },
    { namespace, instance: 'slipway', installation: config.installation, configHash: 'h' },
  );
  return { ...made, spec: { ...made.spec!, ...spec } };
}

/** The same for a Job whose pods get no node. */
function jobWithoutNode(name: string, attempts = 1): V1Job {
  const made = job(name, 'succeed', attempts);
  const { template } = made.spec!;
  const spec = { ...template.spec!, nodeSelector: { nowhere: 'true' } };
  return { ...made, spec: { ...made.spec!, template: { ...template, spec } } };
}

/** What a scheduler was recorded to say about such a pod. */
const [{ message: NO_NODE }] = podStatus('unschedulable')['conditions'] as [{ message: string }];

/** A store, what a follower has seen of it, and what others do in it. */
interface Subject {
  readonly store: JobStore;
  /** The store for the namespace with the quota. */
  readonly full: JobStore;
  job(name: string): JobRecord | undefined;
  /** Pods that are there, oldest first. */
  pods(name: string): readonly PodRecord[];
  /** What was seen last of a pod, also when it is gone. */
  last(pod: PodRecord): PodRecord;
  /** Whether a Job was reported gone. */
  gone(name: string): boolean;
  /** Ends a running pod with success. */
  finish(pod: PodRecord): Promise<void>;
  /** Deletes a Job as a person does, in the background. */
  remove(name: string): Promise<void>;
  liftQuota(): Promise<void>;
}

type Stores = Pick<Subject, 'store' | 'full'>;
type Hands = Pick<Subject, 'finish' | 'remove' | 'liftQuota'>;

function follow({ store, full }: Stores, hands: Hands): Subject {
  const jobs = new Map<string, JobRecord>();
  const pods = new Map<string, PodRecord>();
  const last = new Map<string, PodRecord>();
  const gone = new Set<string>();
  const stop = new AbortController();
  const observe = (one: Observation) => {
    if (one.kind === 'job') jobs.set(one.job.name, one.job);
    if (one.kind === 'job-gone') jobs.delete(one.job.name);
    if (one.kind === 'job-gone') gone.add(one.job.name);
    if (one.kind === 'pod') pods.set(one.pod.name, one.pod);
    if (one.kind === 'pod-gone') pods.delete(one.pod.name);
    if (one.kind === 'pod' || one.kind === 'pod-gone') last.set(one.pod.uid, one.pod);
  };
  const following = [...new Set([store, full])].map((each) => each.follow(observe, stop.signal));
  onTestFinished(async () => {
    stop.abort();
    await Promise.all(following);
  });
  const of = (name: string) => [...pods.values()].filter(({ jobName }) => jobName === name);
  return {
    ...hands,
    store,
    full,
    job: (name) => jobs.get(name),
    pods: (name) => of(name).sort((a, b) => a.createdAt - b.createdAt),
    last: ({ uid }) => last.get(uid)!,
    gone: (name) => gone.has(name),
  };
}

/** What a recorded status says of its container. */
interface RecordedContainer {
  readonly state: {
    readonly waiting?: { readonly reason: string; readonly message: string };
    readonly terminated?: { readonly exitCode: number; readonly reason: string; readonly message: string };
  };
}

/** A local store whose pods do what KWOK's stages make of them on the server. */
function openLocal(): Subject & AsyncDisposable {
  const finished = new Map<string, () => void>();
  const runPod: RunPod = async (pod, life) => {
    const ending = ENDINGS[pod.metadata.labels[LABEL.taskType] ?? ''];
    const [container] = podStatus(ending?.as ?? 'completed-owed')['containerStatuses'] as [RecordedContainer];
    const { waiting, terminated } = container.state;
    if (waiting !== undefined) {
      life.waiting(waiting.reason, waiting.message);
      await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
      return undefined;
    }
    life.started();
    if (ending === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      finished.set(pod.metadata.name, resolve);
      life.stopping.addEventListener('abort', () => resolve());
      await promise;
      if (life.stopping.aborted) return { exitCode: 143 };
    }
    return terminated;
  };
  let quota = true;
  const store = createLocalStore({
    clock: systemClock,
    runPod,
    firstBackoffMs: 10,
    admit: ({ metadata }) => (quota && metadata.namespace === FULL ? QUOTA.refusal : undefined),
    schedule: ({ spec }) => (spec['nodeSelector'] === undefined ? undefined : NO_NODE),
  });
  const subject = follow(
    { store, full: store },
    {
      finish: async ({ name }) => finished.get(name)?.(),
      remove: async (name) => store.remove(name),
      liftQuota: async () => {
        quota = false;
      },
    },
  );
  return { ...subject, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** An API server's store; the cluster's namespaces must be there. */
function openServer(cluster: ControlPlane): Subject {
  const api = apiOf(cluster);
  return follow(
    { store: kubernetesStore(api, NAMESPACE), full: kubernetesStore(api, FULL) },
    {
      finish: ({ name }) => endPod(cluster, NAMESPACE, name, 'completed-owed'),
      remove: async (name) => {
        await cluster.kubectl(['-n', NAMESPACE, 'delete', 'job', name, '--cascade=background', '--wait=false']);
      },
      liftQuota: async () => {
        await cluster.kubectl(['-n', FULL, 'delete', 'resourcequota', 'none']);
      },
    },
  );
}

function apiOf(cluster: ControlPlane): KubernetesApi {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(cluster.kubeconfig);
  return createKubernetesApi(kubeConfig, systemClock);
}

function kubernetesStore(api: KubernetesApi, namespace: string): JobStore {
  const log = createLog('silent', {});
  return createKubernetesStore(api, { namespace, installation: config.installation, clock: systemClock, log });
}

/** How a call is refused. */
async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return error instanceof ServiceError ? `${error.kind} ${error.code}` : String(error);
  }
  return 'accepted';
}

/** A Job that has ended, with its pods, as far as they can be the same twice. */
async function ended({ job, pods }: Subject, name: string): Promise<object> {
  const end = await eventually(() => {
    expect(job(name)?.end).toBeDefined();
    return job(name)!.end!;
  });
  // The end and the last words of a pod come by two watches.
  await eventually(() =>
    expect(pods(name).filter(({ phase, deletedBy }) => phase === 'Running' || deletedBy !== undefined)).toEqual([]),
  );
  const message = end.message.replace(/pod \S+/, 'pod *');
  return {
    end: { kind: end.kind, reason: end.reason, message },
    pods: pods(name).map(comparable),
  };
}

/** A pod, as far as it can be the same twice. */
function comparable({ phase, reason, disrupted, deletedBy, stageSince, unschedulable, task }: PodRecord): object {
  return {
    phase,
    reason,
    disrupted,
    deleted: deletedBy !== undefined,
    scheduled: stageSince !== undefined,
    unschedulable,
    task: task?.kind === 'terminated' ? { ...task, startedAt: '*', finishedAt: '*' } : task,
  };
}

/** Waits for a running pod of the Job, other than one that was seen before. */
function runningPod({ pods }: Subject, name: string, before?: PodRecord): Promise<PodRecord> {
  return eventually(() => {
    const pod = pods(name).find(({ uid }) => uid !== before?.uid);
    expect(pod?.task?.kind).toBe('running');
    return pod!;
  });
}

/** Waits for a pod of the Job that has got no node, other than one that was seen before. */
function podWithoutNode({ pods }: Subject, name: string, before?: PodRecord): Promise<PodRecord> {
  return eventually(() => {
    const pod = pods(name).find(({ uid }) => uid !== before?.uid);
    expect(pod?.unschedulable).toBeDefined();
    return pod!;
  });
}

/** Waits until a pod is gone; gives what was seen of it last. */
async function lastWords({ pods, last }: Subject, pod: PodRecord): Promise<object> {
  await eventually(() => expect(pods(pod.jobName).filter(({ uid }) => uid === pod.uid)).toEqual([]));
  return comparable(last(pod));
}

/** Long enough for a controller to do what it should not. */
const aWhile = () => systemClock.sleep(3000, new AbortController().signal);

/** Waits until the controllers have written what they have to write about a Job that goes on. */
async function untilCalm(store: JobStore, name: string): Promise<void> {
  const version = async () => (await store.get(name))?.record.resourceVersion;
  await eventually(async () => {
    const before = await version();
    await systemClock.sleep(2000, new AbortController().signal);
    expect(await version()).toBe(before);
  });
}

type Case = (subject: Subject) => Promise<unknown>;

const CASES: Readonly<Record<string, Case>> = {
  'a new Job': async ({ store }) => {
    const { uid, resourceVersion, createdAt, ...created } = await store.create(job('new', 'forever'));
    const full = await store.get(created.name);
    return { created, taskData: full?.taskData, none: await store.get('none') };
  },
  'a name that is taken': async ({ store }) => {
    await store.create(job('taken', 'forever'));
    return refusal(store.create(job('taken', 'forever')));
  },
  'what is refused': async ({ store }) => {
    const good = job('refused', 'forever');
    const { template } = good.spec!;
    const bad: readonly V1Job[] = [
      { ...good, metadata: { ...good.metadata, name: 'Not A Name' } },
      { ...good, metadata: { ...good.metadata, labels: { a: 'not a value' } } },
      job('refused', 'forever', 1, { template: { ...template, spec: { ...template.spec!, restartPolicy: 'Always' } } }),
      job('refused', 'forever', 1, { template: { ...template, spec: { ...template.spec!, containers: [] } } }),
      job('refused', 'forever', 1, { activeDeadlineSeconds: -1 }),
    ];
    const answers = await Promise.all(bad.flatMap((one) => [refusal(store.dryRun(one)), refusal(store.create(one))]));
    return { answers, dryRun: await refusal(store.dryRun(good)), made: await store.get(good.metadata!.name!) };
  },
  patches: async ({ store }) => {
    const { name } = await store.create(job('patched', 'forever'));
    await untilCalm(store, name);
    const first = await store.patch(name, {
      labels: { [LABEL.state]: STATE.settled },
      annotations: { [ANNOTATION.settled]: 'now', [ANNOTATION.popReceipt]: null },
      ttlSeconds: 60,
    });
    const { resourceVersion } = first;
    const same = await store.patch(name, { annotations: { [ANNOTATION.settled]: 'now' } });
    const second = await store.patch(name, { resourceVersion, annotations: { [ANNOTATION.settled]: 'then' } });
    return {
      first: [first.settled, first.ttlSeconds, first.annotations],
      unchanged: same.resourceVersion === resourceVersion,
      rises: BigInt(second.resourceVersion) > BigInt(resourceVersion),
      stale: await refusal(store.patch(name, { resourceVersion, annotations: { [ANNOTATION.settled]: 'never' } })),
      none: await refusal(store.patch('none', { ttlSeconds: 1 })),
      negative: await refusal(store.patch(name, { ttlSeconds: -1 })),
    };
  },
  'a Job that succeeds': async (subject) => ended(subject, (await subject.store.create(job('a', 'succeed'))).name),
  'a Job that uses up its attempts': async (subject) =>
    ended(subject, (await subject.store.create(job('b', 'fail', 2))).name),
  'a Job that fails for good': async (subject) =>
    ended(subject, (await subject.store.create(job('c', 'permanent', 3))).name),
  'a Job that passes its deadline': async (subject) => {
    const { name } = await subject.store.create(job('d', 'forever', 1, { activeDeadlineSeconds: 2 }));
    return ended(subject, name);
  },
  'a Job whose time to live is over': async (subject) => {
    const { name } = await subject.store.create(job('e', 'succeed'));
    await ended(subject, name);
    await subject.store.patch(name, { ttlSeconds: 1 });
    return eventually(async () => {
      const left = { job: await subject.store.get(name), pods: subject.pods(name) };
      expect(left).toEqual({ job: undefined, pods: [] });
      return left;
    });
  },
  'a deadline patched on a running Job': async (subject) => {
    const { name } = await subject.store.create(job('f', 'forever', 3));
    const pod = await runningPod(subject, name);
    await systemClock.sleep(1000, new AbortController().signal);
    const { deadlineSeconds } = await subject.store.patch(name, { activeDeadlineSeconds: 1 });
    return { deadlineSeconds, ...(await ended(subject, name)), words: await lastWords(subject, pod) };
  },
  'a deadline patched on the Job of a pod without a node': async (subject) => {
    const { name } = await subject.store.create(jobWithoutNode('g', 3));
    const pod = comparable(await podWithoutNode(subject, name));
    await subject.store.patch(name, { activeDeadlineSeconds: 1 });
    return { pod, ...(await ended(subject, name)) };
  },
  'a deadline patched on a suspended Job': async (subject) => {
    const { store } = subject;
    const { name, suspended } = await store.create(job('h', 'succeed', 1, { suspend: true }));
    await store.patch(name, { activeDeadlineSeconds: 1 });
    await aWhile();
    const still = (await store.get(name))!.record;
    const { parallelism } = await store.patch(name, { suspend: false, parallelism: 0, activeDeadlineSeconds: 1 });
    const seen = { suspended, ended: still.end, started: still.startedAt, parallelism };
    return { ...seen, ...(await ended(subject, name)) };
  },
  'a Job that is suspended and resumed': async (subject) => {
    const { store, job: current } = subject;
    const { name } = await store.create(job('i', 'forever'));
    const first = await runningPod(subject, name);
    await systemClock.sleep(1000, new AbortController().signal);
    const before = current(name)!.startedAt!;
    await store.patch(name, { suspend: true });
    const words = await lastWords(subject, first);
    await aWhile();
    const { suspended, startedAt, end } = (await store.get(name))!.record;
    const none = subject.pods(name).length;
    await store.patch(name, { suspend: false });
    const second = await runningPod(subject, name, first);
    const resumed = (await store.get(name))!.record;
    await subject.finish(second);
    return {
      words,
      held: { suspended, none, end, sameStart: startedAt === before },
      resumed: { suspended: resumed.suspended, later: resumed.startedAt! > before },
      ...(await ended(subject, name)),
    };
  },
  // Kubernetes 1.35 judges a resumed Job by its old start before it gets a new one.
  'a Job that is resumed when its deadline, counted from its first start, has passed': async (subject) => {
    const { store } = subject;
    const { name } = await store.create(job('j', 'forever'));
    const pod = await runningPod(subject, name);
    await store.patch(name, { suspend: true });
    await lastWords(subject, pod);
    await store.patch(name, { activeDeadlineSeconds: 1 });
    await aWhile();
    const held = (await store.get(name))!.record.end;
    await store.patch(name, { suspend: false });
    return { held, ...(await ended(subject, name)) };
  },
  'a Job that was made suspended': async (subject) => {
    const { store } = subject;
    const { name, createdAt } = await store.create(job('t', 'succeed', 1, { suspend: true }));
    await aWhile();
    const { startedAt } = (await store.get(name))!.record;
    await store.patch(name, { suspend: false });
    const end = await ended(subject, name);
    return { held: startedAt, later: subject.job(name)!.startedAt! > createdAt, ...end };
  },
  'a Job held by its parallelism': async (subject) => {
    const { store, job: current } = subject;
    const { name } = await store.create(job('k', 'forever'));
    const first = await runningPod(subject, name);
    const before = current(name)!.startedAt;
    await store.patch(name, { parallelism: 0 });
    const words = await lastWords(subject, first);
    await aWhile();
    const none = subject.pods(name).length;
    const { parallelism } = await store.patch(name, { parallelism: 1 });
    const second = await runningPod(subject, name, first);
    const sameStart = (await store.get(name))!.record.startedAt === before;
    await subject.finish(second);
    return { words, none, parallelism, sameStart, ...(await ended(subject, name)) };
  },
  'a deleted pod, with an attempt left': async (subject) => {
    const { name } = await subject.store.create(job('l', 'forever', 2));
    const first = await runningPod(subject, name);
    await subject.store.deletePod(first);
    const words = await lastWords(subject, first);
    await subject.store.deletePod(first);
    await subject.finish(await runningPod(subject, name, first));
    return { words, ...(await ended(subject, name)) };
  },
  'a deleted pod that was the last attempt': async (subject) => {
    const { name } = await subject.store.create(job('m', 'forever'));
    const first = await runningPod(subject, name);
    await subject.store.deletePod(first);
    return { words: await lastWords(subject, first), ...(await ended(subject, name)) };
  },
  'a deleted pod that cannot start': async (subject) => {
    const { name } = await subject.store.create(job('u', 'stuck'));
    const first = await eventually(() => {
      const [pod] = subject.pods(name);
      expect(pod?.task).toMatchObject({ kind: 'waiting', reason: 'ErrImagePull' });
      return pod!;
    });
    await subject.store.deletePod(first);
    const words = await lastWords(subject, first);
    return { first: comparable(first), words, ...(await ended(subject, name)) };
  },
  'a deleted pod without a node': async (subject) => {
    const { name } = await subject.store.create(jobWithoutNode('n'));
    const first = await podWithoutNode(subject, name);
    await subject.store.deletePod(first);
    return { words: await lastWords(subject, first), ...(await ended(subject, name)) };
  },
  'an evicted pod': async (subject) => {
    const { name } = await subject.store.create(job('o', 'forever'));
    const first = await runningPod(subject, name);
    await subject.store.evictPod(first);
    const words = await lastWords(subject, first);
    await subject.store.evictPod(first);
    await subject.finish(await runningPod(subject, name, first));
    return { words, ...(await ended(subject, name)) };
  },
  'an evicted pod without a node': async (subject) => {
    const { name } = await subject.store.create(jobWithoutNode('p'));
    const first = await podWithoutNode(subject, name);
    await subject.store.evictPod(first);
    const words = await lastWords(subject, first);
    await podWithoutNode(subject, name, first);
    return { words, end: (await subject.store.get(name))!.record.end };
  },
  'a pod of another uid': async (subject) => {
    const { store } = subject;
    const { name } = await store.create(job('q', 'forever'));
    const pod = await runningPod(subject, name);
    const another = { ...pod, uid: '00000000-0000-0000-0000-000000000000' };
    await store.deletePod(another);
    await store.evictPod(another);
    await aWhile();
    const unharmed = comparable(subject.last(pod));
    await subject.finish(pod);
    return { unharmed: { ...unharmed, task: '*' }, ...(await ended(subject, name)) };
  },
  'pods that are refused, and are made when they are not': async (subject) => {
    const { full } = subject;
    const created = await full.create(job('r', 'succeed', 1, {}, FULL));
    const said = await eventually(async () => {
      const text = await full.podRefusal(created);
      expect(text).toBeDefined();
      return text!;
    });
    const { end, startedAt } = (await full.get(created.name))!.record;
    const none = subject.pods(created.name).length;
    await subject.liftQuota();
    return {
      said: said.replace(/pods "[^"]*"/, 'pods *'),
      named: said.includes(created.name),
      refused: { end, started: startedAt !== undefined, none },
      another: await full.podRefusal({ name: created.name, uid: 'another' }),
      ...(await ended(subject, created.name)),
    };
  },
  'a Job that somebody deletes': async (subject) => {
    const { name } = await subject.store.create(job('s', 'forever'));
    const pod = await runningPod(subject, name);
    const before = subject.gone(name);
    await subject.remove(name);
    await eventually(() => expect(subject.gone(name)).toBe(true));
    const left = await subject.store.get(name);
    const { phase } = (await lastWords(subject, pod)) as PodRecord;
    return { before, left, phase };
  },
};

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;
let cluster: ControlPlane;

beforeAll(async () => {
  if (theirs) return;
  cluster = await startControlPlane({ stages: stages(ENDINGS) });
  for (const namespace of [NAMESPACE, FULL]) {
    await cluster.kubectl(['create', 'namespace', namespace]);
    // A pod that comes before its service account is refused.
    await cluster.kubectl(['-n', namespace, 'wait', '--for=create', 'serviceaccount/default', '--timeout=30s']);
  }
  const metadata = { name: 'none', namespace: FULL };
  await cluster.apply({ apiVersion: 'v1', kind: 'ResourceQuota', metadata, spec: QUOTA.spec });
  const refuses = ['wait', '--for=jsonpath={.status.hard.pods}=0', 'resourcequota/none', '--timeout=30s'];
  await cluster.kubectl(['-n', FULL, ...refuses]);
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

test.skipIf(theirs)("the local store and the API server do the same (not on a cluster of one's own)", async () => {
  await using here = openLocal();
  const onServer = openServer(cluster);
  const tried = await Promise.all(
    Object.entries(CASES).map(async ([name, run]) => {
      const [server, local] = [await run(onServer), await run(here)];
      return { name, server, local };
    }),
  );
  const transcript = (side: 'server' | 'local') => Object.fromEntries(tried.map((one) => [one.name, one[side]]));
  expect(transcript('local')).toEqual(transcript('server'));
});

/** A kind that the server learns after its start. It then cannot tell what happened before: no watch of it can begin at version 1. */
const LATE = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'lates.slipway.test' },
  spec: {
    group: 'slipway.test',
    scope: 'Namespaced',
    names: { plural: 'lates', kind: 'Late' },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
  },
};

test.skipIf(theirs)(
  'a 410 of the server, led onto the first watch by a wrapper, brings a new list, and nothing is unknown',
  async () => {
    await cluster.apply(LATE);
    await cluster.kubectl(['wait', '--for=condition=Established', `crd/${LATE.metadata.name}`, '--timeout=60s']);
    const path = `/apis/slipway.test/v1/namespaces/${NAMESPACE}/lates`;
    const api = apiOf(cluster);
    await eventually(() => api.request({ method: 'GET', path }));
    let first = true;
    const answers: string[] = [];
    const lines: KubernetesApi['lines'] = async function* (request) {
      const led = first;
      first = false;
      const asked = led ? { ...request, path, query: { ...request.query, resourceVersion: '1' } } : request;
      for await (const line of api.lines(asked)) {
        if (led) answers.push(line);
        yield line;
      }
    };
    const heard: Observation[] = [];
    const stop = new AbortController();
    const store = kubernetesStore({ ...api, lines }, NAMESPACE);
    const following = store.follow((one) => heard.push(one), stop.signal);
    const lists = () => heard.filter(({ kind }) => kind === 'listed');
    await eventually(() => expect(lists()).toHaveLength(2));
    expect(answers.map((line) => JSON.parse(line))).toMatchObject([{ type: 'ERROR', object: { code: 410 } }]);
    const { name } = await store.create(job('after', 'forever'));
    await eventually(() => expect(heard.some((one) => one.kind === 'job' && one.job.name === name)).toBe(true));
    expect(heard.filter(({ kind }) => kind === 'unknown')).toEqual([]);
    stop.abort();
    await following;
  },
);

test.skipIf(theirs)('an eviction that a disruption budget forbids is throttled, and the pod goes on', async () => {
  const subject = openServer(cluster);
  const { name } = await subject.store.create(job('guarded', 'forever'));
  const pod = await runningPod(subject, name);
  const matchLabels = { 'batch.kubernetes.io/job-name': name };
  await cluster.apply({
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name, namespace: NAMESPACE },
    spec: { minAvailable: 1, selector: { matchLabels } },
  });
  expect(await refusal(subject.store.evictPod(pod))).toBe('throttled TooManyRequests');
  expect(comparable(subject.last(pod))).toMatchObject({ phase: 'Running', disrupted: false, deleted: false });
});
