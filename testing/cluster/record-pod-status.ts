/**
 * Runs one pod per behaviour on the real node and writes the status that the kubelet gave it to testing/golden/pod-status.
 *
 *     sudo npm exec -- node testing/cluster/record-pod-status.ts
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { formatCiReport } from '#/contract/ci-report.ts';
import { EXIT, formatReport, type RunnerReport, TERMINATION_LOG } from '#/contract/runner-abi.ts';
import { type RealNode, startNode } from '#/testing/node.ts';
import {
  type Behaviour,
  behaviours,
  CI_COMMIT,
  type CiBehaviour,
  ciBehaviours,
  fixed,
  type PodStatus,
  statusFile,
} from '#/testing/pod-status.ts';

const BUSYBOX = '10.255.0.1:5000/busybox:1';

interface Recipe {
  /** The container's shell script. */
  readonly script?: string;
  /** Merged into the container. */
  readonly container?: object;
  /** Merged into the pod's spec. */
  readonly spec?: object;
  /** Whether the status is the one to record. Default: the pod has ended. */
  readonly when?: (status: PodStatus) => boolean;
  /** Done once the pod runs. */
  readonly whenRunning?: (node: RealNode, name: string) => Promise<unknown>;
}

const ended = (status: PodStatus) => status.phase === 'Succeeded' || status.phase === 'Failed';
const running = (status: PodStatus) => JSON.stringify(status).includes('"running":{');
const waitingFor = (reason: string) => (status: PodStatus) => JSON.stringify(status).includes(`"reason":"${reason}"`);
const exits = (code: number, report: RunnerReport): Recipe => ({
  script: `printf %s '${formatReport(report)}' >${TERMINATION_LOG}; exit ${code}`,
});
const completed = { v: 1, status: 'completed', result: { echoed: true } } as const;
const failure = (code: string, message: string) => ({ v: 1, status: 'failed', error: { code, message } }) as const;

const collected = formatCiReport({
  v: 1,
  tests: { tests: 2, passed: 1, failed: 1, skipped: 0, failures: [], slowest: [] },
  artifacts: [],
  artifactCount: 0,
  problems: [],
});

/** The containers of a CI task by their names, policies and order; what they run says what those of operator/ci/pod.ts would. */
const ciPod = (scripts: { readonly build?: string; readonly task: string }): Recipe => {
  const container = (name: string, script: string, more: object = {}) => ({
    name,
    image: BUSYBOX,
    command: ['sh', '-c', script],
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ...more,
  });
  const waits = `trap 'printf %s "$COLLECTED" >${TERMINATION_LOG}; exit 0' TERM; while :; do sleep 0.1; done`;
  return {
    spec: {
      initContainers: [
        container('report', waits, { restartPolicy: 'Always', env: [{ name: 'COLLECTED', value: collected }] }),
        container('clone', `printf ${CI_COMMIT} >${TERMINATION_LOG}`),
        container('build', scripts.build ?? 'true'),
      ],
      containers: [container('task', scripts.task)],
    },
  };
};

const recipes: Record<Behaviour | CiBehaviour, Recipe> = {
  'ci-running': {
    ...ciPod({ task: 'sleep 60' }),
    when: ({ phase, containerStatuses }) => phase === 'Running' && running({ phase, containerStatuses }),
  },
  'ci-passed': ciPod({ task: 'true' }),
  'ci-tests-failed': ciPod({ task: 'echo one test failed; exit 3' }),
  'ci-build-failed': ciPod({
    build:
      'echo "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 7"; exit 1',
    task: 'true',
  }),

  running: { script: 'sleep 60', when: running },
  'completed-owed': exits(EXIT.done, { ...completed, webhook: 'owed' }),
  'completed-delivered': exits(EXIT.done, { ...completed, webhook: 'delivered' }),
  'completed-foreign': { script: 'exit 0' },
  failed: exits(EXIT.failed, { ...failure('TaskFailed', 'the handler threw'), webhook: 'none' }),
  'failed-foreign': { script: 'exit 1' },
  timeout: exits(EXIT.failed, { ...failure('TaskTimedOut', 'not done after 1800 s'), webhook: 'none' }),
  permanent: exits(EXIT.badData, { ...failure('BadData', 'payload.url: not a URL'), webhook: 'owed' }),
  // A container that dies within milliseconds of its start often has the reason Error instead.
  oom: {
    script: 'sleep 2; exec dd if=/dev/zero of=/dev/null bs=200M count=2',
    container: { resources: { limits: { memory: '32Mi' } } },
  },
  deadline: { script: 'exec sleep 60', spec: { activeDeadlineSeconds: 3, terminationGracePeriodSeconds: 1 } },
  evicted: {
    script: "trap 'exit 143' TERM; while :; do sleep 0.1; done",
    whenRunning: (node, name) =>
      node.kubectl(['create', '--raw', `/api/v1/namespaces/default/pods/${name}/eviction`, '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'default' } }),
      }),
  },
  'storage-evicted': {
    script: 'dd if=/dev/zero of=/big bs=1M count=20; exec sleep 120',
    container: { resources: { limits: { 'ephemeral-storage': '4Mi' } } },
  },
  'image-missing': { container: { image: '10.255.0.1:5000/nothing:1' }, when: waitingFor('ErrImagePull') },
  'image-name-invalid': { container: { image: 'Not An Image' }, when: waitingFor('InvalidImageName') },
  'config-missing': {
    container: { envFrom: [{ secretRef: { name: 'nothing' } }] },
    when: waitingFor('CreateContainerConfigError'),
  },
  'root-refused': {
    container: { securityContext: { runAsNonRoot: true } },
    when: waitingFor('CreateContainerConfigError'),
  },
  'command-missing': { container: { command: ['/nothing'] } },
  unschedulable: { spec: { nodeSelector: { nowhere: 'true' } }, when: waitingFor('Unschedulable') },
};

/** The pod of a behaviour. Its finalizer keeps it readable after its end, whoever deletes it. */
function pod(behaviour: Behaviour | CiBehaviour, image: string): object {
  const { script = 'true', container, spec } = recipes[behaviour];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: behaviour, namespace: 'default', finalizers: ['slipway.dev/recording'] },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      containers: [{ name: 'task', image, command: ['sh', '-c', script], ...container }],
      ...spec,
    },
  };
}

async function record(node: RealNode, behaviour: Behaviour | CiBehaviour): Promise<PodStatus> {
  const { when = ended, whenRunning } = recipes[behaviour];
  await node.apply(pod(behaviour, BUSYBOX));
  let pending = whenRunning;
  for (let tries = 0; tries < 600; tries++) {
    const { status } = await node.get<{ status: PodStatus }>(`pod/${behaviour}`, '-n', 'default');
    if (pending !== undefined && running(status)) {
      await pending(node, behaviour);
      pending = undefined;
    }
    if (when(status)) return normalise(status) as PodStatus;
    await setTimeout(200);
  }
  throw new Error(`${behaviour}: not seen within two minutes`);
}

/** What the API server and the kubelet copy from the pod's own spec: no part of a behaviour, and `qosClass` may not be changed. */
const ofSpec = new Set(['qosClass', 'resources', 'allocatedResources']);

/** Replaces what differs from run to run: times, addresses, ids, images. Leaves out what is {@link ofSpec}. */
function normalise(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => normalise(item, key));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([name]) => !ofSpec.has(name))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, item]) => [name, normalise(item, name)]),
    );
  }
  if (typeof value !== 'string') return value;
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return value.startsWith('1970') ? value : fixed.time;
  if (key === 'containerID' && value !== '') return fixed.containerID;
  if (key === 'imageID' && value !== '') return fixed.imageID;
  if (key === 'ip' || key === 'podIP' || key === 'hostIP')
    return value.startsWith('10.244.') ? fixed.podIP : fixed.hostIP;
  return value
    .replaceAll(BUSYBOX, fixed.image)
    .replaceAll('10.255.0.1:5000', 'registry.example')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, fixed.uid);
}

if (import.meta.main) {
  await using node = await startNode();
  await node.kubectl(['wait', '--for=create', 'serviceaccount/default', '-n', 'default', '--timeout=30s']);
  const statuses = await Promise.all(
    [...behaviours, ...ciBehaviours].map(async (behaviour) => [behaviour, await record(node, behaviour)] as const),
  );
  for (const [behaviour, status] of statuses) {
    await mkdir(new URL('.', statusFile(behaviour)), { recursive: true });
    await writeFile(statusFile(behaviour), `${JSON.stringify(status, null, 2)}\n`);
    process.stderr.write(`${behaviour}: ${status.phase}\n`);
  }
}
