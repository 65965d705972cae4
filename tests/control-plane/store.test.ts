/** The local Job store is held to the real API server: the same calls on both, and the same to be seen. */
import { KubeConfig, type V1Job } from '@kubernetes/client-node';
import { expect, onTestFinished, test } from 'vitest';
import { ANNOTATION, LABEL, STATE } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import { ServiceError } from '#/lib/errors.ts';
import { createLog } from '#/lib/log.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { createKubernetesStore } from '#/operator/jobs/kubernetes.ts';
import { manifest } from '#/operator/jobs/manifest.ts';
import type { JobRecord, PodRecord } from '#/operator/jobs/records.ts';
import type { JobStore } from '#/operator/jobs/store.ts';
import type { RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore } from '#/operator/local/store.ts';
import { startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { testConfig, testPolicy, testTask } from '#/testing/jobs.ts';
import { type Ending, stages } from '#/testing/kwok.ts';
import { podStatus } from '#/testing/pod-status.ts';

const NAMESPACE = 'store';
const ENDINGS: Readonly<Record<string, Ending>> = {
  succeed: { as: 'completed-owed' },
  fail: { as: 'failed' },
  permanent: { as: 'permanent' },
};
const config = testConfig('taskTypes: { default: {} }', { SLIPWAY_NAMESPACE: NAMESPACE });

/** The Job of a message of its own; `forever` is the type of tasks that do not end. */
function job(name: string, taskType: string, attempts = 1, spec: Partial<NonNullable<V1Job['spec']>> = {}): V1Job {
  const task = testTask();
  const made = manifest(
    { ...task, taskType, message: { ...task.message, id: name } },
    { ...testPolicy(config, taskType), attempts },
    { namespace: NAMESPACE, instance: 'slipway', installation: config.installation, configHash: 'h' },
  );
  return { ...made, spec: { ...made.spec!, ...spec } };
}

/** What KWOK's stages do to a pod, done by the local store. */
const asStaged: RunPod = async (pod, life) => {
  const ending = ENDINGS[pod.metadata.labels[LABEL.taskType] ?? ''];
  life.started();
  if (ending === undefined) {
    await new Promise((resolve) => life.stopping.addEventListener('abort', resolve));
    return { exitCode: 143 };
  }
  const [container] = podStatus(ending.as)['containerStatuses'] as {
    state: { terminated: { exitCode: number; reason: string; message: string } };
  }[];
  return container!.state.terminated;
};

/** A store, and what a follower has seen of it. */
interface Subject {
  readonly store: JobStore;
  job(name: string): JobRecord | undefined;
  /** Pods that are there, oldest first. */
  pods(name: string): readonly PodRecord[];
}

function follow(store: JobStore): Subject {
  const jobs = new Map<string, JobRecord>();
  const pods = new Map<string, PodRecord>();
  const stop = new AbortController();
  const following = store.follow((one) => {
    if (one.kind === 'job') jobs.set(one.job.name, one.job);
    if (one.kind === 'job-gone') jobs.delete(one.job.name);
    if (one.kind === 'pod') pods.set(one.pod.name, one.pod);
    if (one.kind === 'pod-gone') pods.delete(one.pod.name);
  }, stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await following;
  });
  const of = (name: string) => [...pods.values()].filter(({ jobName }) => jobName === name);
  return { store, job: (name) => jobs.get(name), pods: (name) => of(name).sort((a, b) => a.createdAt - b.createdAt) };
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
  await eventually(() => expect(pods(name).filter(({ phase }) => phase === 'Running')).toEqual([]));
  const message = end.message.replace(/pod \S+/, 'pod *');
  return {
    end: { kind: end.kind, reason: end.reason, message },
    pods: pods(name).map(({ phase, reason, disrupted, task }) => ({
      phase,
      reason,
      disrupted,
      task: task?.kind === 'terminated' ? { ...task, startedAt: '*', finishedAt: '*' } : task,
    })),
  };
}

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
};

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

test.skipIf(theirs)("the local store and the API server do the same (not on a cluster of one's own)", async () => {
  await using cluster = await startControlPlane({ stages: stages(ENDINGS) });
  await cluster.kubectl(['create', 'namespace', NAMESPACE]);
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(cluster.kubeconfig);
  const clock = systemClock;
  await using local = createLocalStore({ clock, runPod: asStaged, firstBackoffMs: 10 });
  const real = createKubernetesStore(createKubernetesApi(kubeConfig, clock), {
    namespace: NAMESPACE,
    installation: config.installation,
    clock,
    log: createLog('silent', {}),
  });
  const [onServer, here] = [follow(real), follow(local)];
  const tried = await Promise.all(
    Object.entries(CASES).map(async ([name, run]) => ({ name, server: await run(onServer), local: await run(here) })),
  );
  const transcript = (side: 'server' | 'local') => Object.fromEntries(tried.map((one) => [one.name, one[side]]));
  expect(transcript('local')).toEqual(transcript('server'));
});
