/**
 * The operator under the chart's own rights, with a proxy before the API server and one before the queues, which break
 * calls on the wire, go away, or fall silent. What came of it is looked at past the proxies.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ANNOTATION, installationId, LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import { systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { createKubernetesStore } from '#/operator/jobs/kubernetes.ts';
import { manifest } from '#/operator/jobs/manifest.ts';
import type { JobRecord, RawPod } from '#/operator/jobs/records.ts';
import type { Observation } from '#/operator/jobs/store.ts';
import { AZURITE_ACCOUNT, type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { faultPlan, faultSeeds, type PlannedOperation } from '#/testing/fault-plan.ts';
import { type Fault, type FaultProxy, faultName } from '#/testing/fault-proxy.ts';
import {
  type ApiProxy,
  apiError,
  azureError,
  type QueueProxy,
  startApiProxy,
  startQueueProxy,
  watchError,
} from '#/testing/fault-servers.ts';
import { installRights } from '#/testing/installation.ts';
import { expectOneLifeEach, type JobHistory, watchJobHistory } from '#/testing/job-history.ts';
import { testConfig, testPolicy, testTask } from '#/testing/jobs.ts';
import { type Ending, endPod, stages } from '#/testing/kwok.ts';
import { type LogLine, type OperatorProcess, startOperator } from '#/testing/operator-process.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'faults';
/** Tasks of type `held` run until the test ends their pods. */
const ENDINGS = {
  succeed: { as: 'completed-owed' },
  fail: { as: 'failed' },
  slow: { as: 'completed-owed', afterMs: 12_000 },
} as const satisfies Record<string, Ending>;
type TaskType = keyof typeof ENDINGS | 'held';
const MAX_RUNNING = 12;

const HANG: Fault = { kind: 'hang' };
const RESET: Fault = { kind: 'reset' };
const LOST_REPLY: Fault = { kind: 'lost-reply' };
const TRUNCATE: Fault = { kind: 'truncate' };

/**
 * What the API server does. A call that hangs takes half a minute, and of list and watch all else waits for it: hence
 * not everywhere.
 */
const API_FAULTS: Readonly<Record<string, PlannedOperation>> = {
  'dryRun jobs': { faults: [apiError(500), RESET, LOST_REPLY], first: 1 },
  'create jobs': {
    faults: [apiError(403), apiError(429), apiError(500), apiError(503), HANG, RESET, LOST_REPLY, TRUNCATE],
    first: 1,
  },
  'patch jobs': {
    faults: [apiError(403), apiError(429), apiError(500), apiError(503), HANG, RESET, LOST_REPLY, TRUNCATE],
    first: 1,
  },
  'get jobs': { faults: [apiError(500), HANG, RESET, LOST_REPLY, TRUNCATE], first: 1 },
  'list jobs': { faults: [apiError(500), apiError(410), RESET, TRUNCATE], first: 1 },
  'list pods': { faults: [apiError(500), apiError(410), LOST_REPLY], first: 1 },
  'watch jobs': { faults: [watchError(410), { kind: 'half-open', lines: 2 }, RESET, TRUNCATE], first: 1 },
  'watch pods': { faults: [watchError(410), apiError(500), TRUNCATE], first: 1 },
  'create events': { faults: [apiError(500), LOST_REPLY], first: 1 },
};
const QUEUE_FAULTS: Readonly<Record<string, PlannedOperation>> = {
  receive: { faults: [azureError(500), azureError(503), HANG, RESET, LOST_REPLY], first: 0.5 },
  renew: { faults: [azureError(500), azureError(400, 'PopReceiptMismatch'), HANG, RESET, LOST_REPLY], first: 1 },
  remove: { faults: [azureError(503), azureError(404, 'MessageNotFound'), HANG, RESET, LOST_REPLY], first: 1 },
  put: { faults: [azureError(500), HANG, RESET, LOST_REPLY, TRUNCATE], first: 1 },
};

let resources: AsyncDisposableStack;
let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let cluster: ControlPlane;
/** Of the operator's own service account. */
let kubeconfig: string;
let history: JobHistory;

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

describe.skipIf(theirs)("behind proxies (pods end as the test says, so not on a cluster of one's own)", () => {
  beforeAll(async () => {
    await using starting = new AsyncDisposableStack();
    azurite = starting.use(await startAzurite({ blob: false }));
    sink = starting.use(await startWebhookSink());
    cluster = starting.use(await startControlPlane({ stages: stages(ENDINGS) }));
    const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-')));
    kubeconfig = await installRights(cluster, NAMESPACE, directory.path);
    queues = testQueues(azurite.connectionString);
    history = starting.use(watchJobHistory(cluster.kubeconfig, NAMESPACE));
    resources = starting.move();
  });
  afterAll(() => resources.disposeAsync());

  test.concurrent.each(faultSeeds(1))(
    'I1 I2 I3 I5 I7 I8: 40 messages come to their one end through faults of every kind, an outage and a silence (seed %i)',
    async (seed) => {
      await using site = await install('storm', MAX_RUNNING);
      const { api, queueProxy } = site;
      const apiPlan = faultPlan({
        proxy: api,
        operations: API_FAULTS,
        seed,
        afterwards: { share: 0.1, calls: 100 },
      });
      const queuePlan = faultPlan({
        proxy: queueProxy,
        operations: QUEUE_FAULTS,
        seed,
        afterwards: { share: 0.2, calls: 50 },
      });
      api.use(apiPlan.script);
      queueProxy.use((request) => {
        const fault = queuePlan.script(request);
        // Events are made of lost leases.
        const more = request.operation === 'renew' && apiPlan.left('create events').length > 0;
        return fault ?? (more ? azureError(400, 'PopReceiptMismatch') : undefined);
      });

      await site.put(...times(10, 'succeed'), ...times(4, 'fail'), ...times(3, 'slow'), ...times(3, 'held'));
      await site.putText(...MALFORMED);
      const operator = await site.start();
      await eventually(() => expect([...apiPlan.left(), ...queuePlan.left()]).toEqual([]), 150_000);
      for (const [proxy, planned] of [
        [api, API_FAULTS],
        [queueProxy, QUEUE_FAULTS],
      ] as const)
        for (const [operation, { faults }] of Object.entries(planned))
          for (const fault of faults)
            expect(proxy.injected(faultName(fault), operation), `${faultName(fault)} of ${operation}`).toBeGreaterThan(
              0,
            );
      // A message may come late, after a lost lease: its pod too is to end.
      await site.endAllHeldPods();
      await site.ended();

      // An outage: every connection breaks, those that are there too.
      api.use(() => RESET);
      api.resetConnections();
      await site.lost(operator);
      await site.put(...times(5, 'succeed'), ...times(2, 'fail'));
      await expectStandstill(site, operator, 7);
      api.use(undefined);
      await site.ended();

      // A silence: every connection stays, and nothing more comes. What is received before that is noticed is kept.
      api.use(() => HANG);
      api.silence();
      await site.put(...times(4, 'succeed'));
      await site.lost(operator);
      const waiting = await queues.count(site.queue);
      await site.put(...times(3, 'succeed'), 'slow');
      await expectStandstill(site, operator, waiting + 4);
      api.use(undefined);
      api.resetConnections();
      await site.ended();

      await site.expectEnd();
      expectNothingReceivedBlindly(operator.lines, queueProxy);
      expect(operator.lines.filter(({ level }) => level === 'error')).toEqual([]);
      expect(await operator.stop()).toBe(0);
    },
  );

  test.concurrent('I5 I6: a failed list is not zero Jobs: nothing is created beyond the cap during an API outage', async () => {
    await using site = await install('capped', 3);
    const { api, queueProxy } = site;
    await site.put(...times(8, 'held'));
    const first = await site.start();
    await eventually(() => expect(site.unfinished()).toHaveLength(3));
    // Jobs can be made all the time; what there is cannot be seen.
    const blind = () => {
      const faults = [apiError(500), apiError(503), RESET, LOST_REPLY, TRUNCATE];
      let calls = 0;
      api.use(({ operation }) => (/^(list|watch) /.test(operation) ? faults[calls++ % faults.length] : undefined));
      api.resetConnections();
    };
    blind();
    await site.lost(first);
    await expectStandstill(site, first, 8);
    await first.kill();
    // Nor does one that has never seen anything.
    const since = { api: api.requests.length, queue: queueProxy.requests.length };
    const second = await site.start();
    await eventually(() => {
      const asked = operations(api, since.api);
      expect(asked.filter((operation) => operation === 'list jobs').length).toBeGreaterThan(4);
      expect(asked).toContain('dryRun jobs');
    });
    expect(operations(api, since.api)).not.toContain('create jobs');
    expect(operations(queueProxy, since.queue)).not.toContain('receive');
    expect(site.unfinished()).toHaveLength(3);

    api.use(undefined);
    await second.waitFor('a known view', ({ msg, jobs }) => msg === 'the Jobs are known' && jobs === 3);
    await site.endHeldPods(1);
    await eventually(() => expect(site.jobs()).toHaveLength(4));
    await site.endAllHeldPods();
    await site.ended();
    expect(site.mostUnfinished()).toBe(3);
    await site.expectEnd();
    expectNothingReceivedBlindly(second.lines, queueProxy);
  });

  test.concurrent('I1: a create whose answer is lost makes one Job', async () => {
    await using site = await install('lost-create', 10);
    const lost = new Set<string>();
    site.api.use(({ operation }) => {
      if (operation !== 'create jobs' || lost.size > 2) return undefined;
      lost.add(`${lost.size}`);
      return LOST_REPLY;
    });
    await site.put('succeed', 'fail', 'slow');
    await site.start();
    await site.ended();
    expect(site.api.injected('lost-reply', 'create jobs')).toBe(3);
    await site.expectEnd();
  });

  test.concurrent('I5: a watch that loses events silently is made good by the relist', async () => {
    await using api = await startApiProxy(kubeconfig);
    const config = new KubeConfig();
    config.loadFromFile(api.kubeconfig);
    const settings = testConfig('taskTypes: { default: {} }', { SLIPWAY_NAMESPACE: NAMESPACE });
    const store = createKubernetesStore(createKubernetesApi(config, systemClock), {
      namespace: NAMESPACE,
      installation: settings.installation,
      clock: systemClock,
      log: createLog('silent', {}),
      // The list comes when the watch that is under way then has ended: 25 s.
      relistMs: 1000,
    });
    api.use(({ operation }) =>
      operation.startsWith('watch ')
        ? { kind: 'edit-lines', edit: (line) => (/^\{"type":"(MODIFIED|DELETED)"/.test(line) ? undefined : line) }
        : undefined,
    );
    const seen: Observation[] = [];
    const stop = new AbortController();
    const following = store.follow((observation) => void seen.push(observation), stop.signal);
    onTestFinished(async () => {
      stop.abort();
      await following;
    });
    await eventually(() => expect(seen).toMatchObject([{ kind: 'listed' }]));
    const task = testTask();
    const name = (type: string) => `${type}-unseen`;
    for (const taskType of ['succeed', 'held'])
      await store.create(
        manifest(
          { ...task, taskType, message: { ...task.message, id: name(taskType) } },
          testPolicy(settings, taskType),
          { namespace: NAMESPACE, instance: 'slipway', installation: settings.installation, configHash: 'h' },
        ),
      );
    const ofMessage = (id: string) => (one: JobRecord) => one.annotations[ANNOTATION.messageId] === id;
    const [finished, deleted] = [ofMessage(name('succeed')), ofMessage(name('held'))];
    const last = () => history.versions.findLast(finished);
    await eventually(() => expect(last()?.end).toMatchObject({ kind: 'complete' }));
    const going = await eventually(() => history.versions.findLast(deleted)!);
    await cluster.kubectl(['delete', '-n', NAMESPACE, `job/${going.name}`]);

    const listed = await eventually(() => {
      const lists = seen.flatMap((one) => (one.kind === 'listed' ? [one] : []));
      const relist = lists.slice(1).find(({ jobs }) => jobs.find(finished)?.end !== undefined && !jobs.some(deleted));
      expect(relist).toBeDefined();
      return relist!;
    });
    expect(listed.pods).toMatchObject([{ phase: 'Succeeded' }]);
    // The watch told of neither, nor that anything was wrong.
    const told = seen.slice(0, seen.indexOf(listed));
    expect(told.filter((one) => one.kind === 'job' && one.job.end !== undefined)).toEqual([]);
    expect(told.filter(({ kind }) => kind === 'job-gone' || kind === 'unknown')).toEqual([]);
    expect(api.injected('edit-lines', 'watch jobs')).toBeGreaterThan(0);
    expect(api.injected('edit-lines', 'watch pods')).toBeGreaterThan(0);
  });
});

const MALFORMED = [
  'no json',
  '{"task_type": "succeed"}',
  '{"task_id": 7, "task_type": "succeed"}',
  '{"task_id": "m", "task_type": "nobody-knows"}',
  '[]',
];

interface Task {
  readonly task_id: string;
  readonly task_type: TaskType;
  readonly webhook_url: string;
}

/** An installation with a queue, whose operators reach everything through proxies. */
interface Site extends AsyncDisposable {
  readonly queue: string;
  readonly api: ApiProxy;
  readonly queueProxy: QueueProxy;
  /** Starts an operator and waits until it runs. */
  start(): Promise<OperatorProcess>;
  put(...types: readonly TaskType[]): Promise<void>;
  putText(...texts: readonly string[]): Promise<void>;
  /** Its Jobs in their last versions. */
  jobs(): readonly JobRecord[];
  unfinished(): readonly JobRecord[];
  /** The most Jobs that were unfinished at one moment. */
  mostUnfinished(): number;
  /** Ends pods of type `held` that run, successfully. */
  endHeldPods(atMost?: number): Promise<void>;
  /** The same, until all that was put has ended. */
  endAllHeldPods(): Promise<void>;
  /** Waits until the operator says that it has lost contact, after the last time that it said it had it. */
  lost(operator: OperatorProcess): Promise<void>;
  /** Waits until everything that was put is done. */
  ended(): Promise<void>;
  /** The end that every run must have. */
  expectEnd(): Promise<void>;
}

async function install(name: string, maxRunning: number): Promise<Site> {
  await using starting = new AsyncDisposableStack();
  const queue = `${name}-tasks`;
  const installation = installationId(AZURITE_ACCOUNT, NAMESPACE, name);
  await queues.create(queue);
  const api = starting.use(await startApiProxy(kubeconfig));
  const queueProxy = starting.use(await startQueueProxy(azurite.connectionString));
  const tasks: Task[] = [];
  const texts: string[] = [];
  const versions = () => history.versions.filter(({ labels }) => labels[LABEL.installation] === installation);
  const jobs = () => [...new Map(versions().map((job) => [job.uid, job])).values()];
  const unfinished = () => jobs().filter(({ end }) => end === undefined);
  const resources = starting.move();

  async function endHeldPods(atMost = Number.POSITIVE_INFINITY): Promise<void> {
    const { items } = await cluster.get<{ items: RawPod[] }>(
      'pods',
      ...['-n', NAMESPACE, '-l', `${LABEL.taskType}=held,${LABEL.installation}=${installation}`],
      '--field-selector=status.phase=Running',
    );
    for (const { metadata } of items.slice(0, atMost))
      await endPod(cluster, NAMESPACE, metadata?.name ?? '', 'completed-owed');
  }

  return {
    queue,
    api,
    queueProxy,
    async start() {
      const operator = resources.use(
        await startOperator({
          kubeconfig: api.kubeconfig,
          namespace: NAMESPACE,
          connectionString: queueProxy.connectionString,
          config: {
            installation: name,
            queues: [{ name: queue }],
            limits: { maxRunning },
            polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 0.5 },
            lease: { firstSeconds: 10, renewSeconds: 10 },
            runner: { image: 'example.test/runner:1' },
            defaults: { attempts: 1 },
            taskTypes: Object.fromEntries([...Object.keys(ENDINGS), 'held'].map((type) => [type, {}])),
            webhook: { allow: ['127.0.0.1'] },
          },
        }),
      );
      await operator.port;
      return operator;
    },
    async put(...types) {
      const added = types.map((task_type, at) => {
        const task_id = `${name}-${tasks.length + at}`;
        return { task_id, task_type, webhook_url: `${sink.url}/${task_id}` };
      });
      tasks.push(...added);
      await queues.put(queue, ...added);
    },
    async putText(...added) {
      texts.push(...added);
      await queues.put(queue, ...added);
    },
    jobs,
    unfinished,
    mostUnfinished() {
      const now = new Set<string>();
      return versions().reduce((most, { uid, end }) => {
        if (end === undefined) now.add(uid);
        else now.delete(uid);
        return Math.max(most, now.size);
      }, 0);
    },
    endHeldPods,
    async endAllHeldPods() {
      await eventually(async () => {
        await endHeldPods();
        expect(jobs().filter(({ end }) => end !== undefined)).toHaveLength(tasks.length);
      }, 120_000);
    },
    async lost(operator) {
      const known = operator.lines.findLastIndex(isKnown);
      await operator.waitFor('the loss of contact', (line) => isLost(line) && operator.lines.indexOf(line) > known);
    },
    async ended() {
      await eventually(async () => {
        expect(jobs().filter(({ settled }) => settled)).toHaveLength(tasks.length);
        expect(await queues.count(queue)).toBe(0);
      }, 120_000);
    },
    async expectEnd() {
      expectOneLifeEach(versions(), tasks.length);
      const failing = tasks.filter(({ task_type }) => task_type === 'fail').map((task) => JSON.stringify(task));
      // Copies with one id count as one.
      const copies = new Map((await queues.poison(queue)).map((envelope) => [envelope.id, envelope.original]));
      expect([...copies.values()].toSorted()).toEqual([...texts, ...failing].toSorted());
      for (const { task_id, task_type } of tasks) {
        const posts = sink.requests.filter(({ path }) => path === `/${task_id}`);
        expect(new Set(posts.map(({ headers }) => headers['webhook-id'])).size, task_id).toBe(1);
        const status = task_type === 'fail' ? 'failed' : 'completed';
        for (const { body } of posts)
          expect(webhookBodySchema.parse(JSON.parse(body)), task_id).toMatchObject({ task_id, status });
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/**
 * For some seconds the operator is not ready, and nothing is received, created or taken from the queue, although slots
 * are free.
 */
async function expectStandstill({ queue, jobs }: Site, operator: OperatorProcess, waiting: number): Promise<void> {
  const before = jobs().length;
  const readyz = await fetch(`http://127.0.0.1:${await operator.port}/readyz`);
  expect(readyz.status).toBe(503);
  expect(await readyz.text()).toContain('jobs');
  await systemClock.sleep(6000, new AbortController().signal);
  expect(await queues.count(queue)).toBe(waiting);
  expect(jobs()).toHaveLength(before);
}

/**
 * No queue was asked while the operator said that it does not know what runs. A call may be on its way when it notices.
 */
function expectNothingReceivedBlindly(lines: readonly LogLine[], { requests }: QueueProxy): void {
  const ON_ITS_WAY_MS = 2500;
  const receives = requests.filter(({ operation }) => operation === 'receive');
  const turns = lines.filter((line) => line.msg === 'the operator starts' || isLost(line) || isKnown(line));
  const blind = turns.flatMap((line, at) => {
    if (isKnown(line)) return [];
    const until = turns[at + 1];
    return [[timeOf(line) + ON_ITS_WAY_MS, until === undefined ? Number.POSITIVE_INFINITY : timeOf(until)] as const];
  });
  expect(blind).not.toEqual([]);
  expect(receives.filter(({ at }) => blind.some(([from, until]) => at > from && at < until))).toEqual([]);
}

const isLost = ({ msg }: LogLine) => msg.startsWith('contact to the API server is lost');
const isKnown = ({ msg }: LogLine) => msg === 'the Jobs are known';
const timeOf = (line: LogLine) => Date.parse(String(line['time']));
const operations = ({ requests }: FaultProxy, since: number) => requests.slice(since).map(({ operation }) => operation);

function times(count: number, type: TaskType): readonly TaskType[] {
  return Array.from({ length: count }, () => type);
}
