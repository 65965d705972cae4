/**
 * I1 to I8 under SIGKILL: the operator is killed at each of its steps and started again, on a real API server and a real queue service, and
 * the end is the one that an undisturbed run has. Each case has a queue and an installation of its own.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ciResultSchema } from '#/contract/ci-result.ts';
import { ANNOTATION, installationId, LABEL } from '#/contract/identity.ts';
import { webhookBodySchema } from '#/contract/webhook.ts';
import type { CheckpointName } from '#/operator/checkpoint.ts';
import type { JobRecord, RawPod } from '#/operator/jobs/records.ts';
import { AZURITE_ACCOUNT, type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import { installRights } from '#/testing/installation.ts';
import { expectOneLifeEach, type JobHistory, watchJobHistory } from '#/testing/job-history.ts';
import { type Ending, endPod, stages } from '#/testing/kwok.ts';
import { type LogLine, type OperatorProcess, startOperator } from '#/testing/operator-process.ts';
import { type Behaviour, CI_COMMIT } from '#/testing/pod-status.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const NAMESPACE = 'crash';
/** Where CI tasks have their Jobs. */
const CI = 'crash-ci';
/** The operator has to send every webhook: of a success because the runner still owes it, of a failure always. */
const ENDINGS = {
  succeed: { as: 'completed-owed' },
  fail: { as: 'failed' },
  'succeed-one-by-one': { as: 'completed-owed' },
  'fail-at-once': { as: 'root-refused' },
  'fail-to-start': { as: 'image-missing' },
  'succeed-ci': { as: 'ci-passed' },
  // Failing tests are a result: its Job has Failed, its task has not.
  'succeed-ci-red': { as: 'ci-tests-failed' },
  'fail-ci': { as: 'ci-build-failed' },
} as const satisfies Record<string, Ending>;
/** These run until the test ends their pods. */
const LATE = { 'succeed-late': 'completed-owed', 'fail-late': 'failed' } as const satisfies Record<string, Behaviour>;
type Kind = keyof typeof ENDINGS | keyof typeof LATE | 'malformed';

const TASK_TYPES = Object.fromEntries(
  Object.keys({ ...ENDINGS, ...LATE }).map((type) => [
    type,
    type === 'succeed-one-by-one'
      ? { maxRunning: 1 }
      : type.includes('-ci')
        ? { ci: { namespace: CI, images: 'registry.example.test/ci' } }
        : {},
  ]),
);

/** Which messages come by which step. A lease is renewed, and a message adopted, only while its task runs. */
const CASES: Readonly<Record<CheckpointName, readonly Kind[]>> = {
  received: ['succeed', 'fail', 'malformed', 'succeed-ci'],
  created: ['succeed', 'fail', 'succeed-ci-red'],
  started: ['succeed-one-by-one'],
  adopted: ['succeed-late', 'fail-late'],
  'receipt-patched': ['succeed-late', 'fail-late'],
  ended: ['fail-at-once'],
  'pod-removed': ['fail-to-start'],
  recorded: ['succeed', 'fail', 'succeed-ci', 'succeed-ci-red', 'fail-ci'],
  poisoned: ['fail', 'malformed', 'fail-ci'],
  deleted: ['succeed', 'fail', 'malformed', 'succeed-ci-red'],
  'webhook-sent': ['succeed', 'fail', 'malformed', 'succeed-ci-red'],
  settled: ['succeed', 'fail', 'succeed-ci-red'],
};

let resources: AsyncDisposableStack;
let azurite: Azurite;
let queues: TestQueues;
let sink: WebhookSink;
let cluster: ControlPlane;
let kubeconfig: string;
let histories: readonly JobHistory[];

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

describe.skipIf(theirs)(
  "killed and started again (its pods end as the test says, so not on a cluster of one's own)",
  () => {
    beforeAll(async () => {
      await using starting = new AsyncDisposableStack();
      azurite = starting.use(await startAzurite({ blob: false }));
      sink = starting.use(await startWebhookSink());
      cluster = starting.use(await startControlPlane({ stages: stages(ENDINGS) }));
      const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-')));
      await cluster.kubectl(['create', 'namespace', CI]);
      kubeconfig = await installRights(cluster, NAMESPACE, directory.path, { taskTypes: TASK_TYPES });
      queues = testQueues(azurite.connectionString);
      histories = [NAMESPACE, CI].map((namespace) => starting.use(watchJobHistory(cluster.kubeconfig, namespace)));
      resources = starting.move();
    });
    afterAll(() => resources.disposeAsync());

    for (const [step, kinds] of Object.entries(CASES) as [CheckpointName, readonly Kind[]][]) {
      test.concurrent.each(kinds)(`at the step "${step}", a message of type %s`, async (kind) => {
        await using installation = await install(`${step}-${kind}`);
        // The second of two is held back until the first one has ended.
        const sent = step === 'started' ? [kind, kind] : [kind];
        for (const one of sent) await installation.put(one);
        if (step === 'adopted') {
          await installation.killAt('created');
          await giveBack(installation);
        }
        await installation.killAt(step);
        // Back at once, the operator still has the lease; back late, the message is anybody's again.
        const stillThere = ['created', 'adopted', 'receipt-patched', 'recorded', 'poisoned'].includes(step);
        if (stillThere && kind.startsWith('fail')) await giveBack(installation);
        const before = installation.jobs();
        const operator = await installation.start();
        await installation.endLate(sent);
        await installation.ended(sent);
        // The Job is settled once: one that was settled when the operator was killed is not touched again.
        if (step === 'settled') expect(installation.jobs()).toEqual(before);
        expect(await operator.stop()).toBe(0);
        await installation.expectEnd(sent);
      });
    }

    test.concurrent('of two replicas one works, and the other takes over when that one is killed', async () => {
      await using installation = await install('two');
      const quick: readonly Kind[] = ['succeed', 'fail', 'succeed', 'fail', 'malformed', 'succeed'];
      const ci: readonly Kind[] = ['succeed-ci', 'fail-ci', 'succeed-ci-red'];
      const kinds: readonly Kind[] = [...quick, ...ci, 'succeed-late', 'fail-late', 'succeed-late', 'succeed'];
      const [one, other] = [await installation.start('one'), await installation.start('other')];
      for (const kind of kinds) await installation.put(kind);
      const isCreated = ({ msg }: LogLine) => msg.startsWith('the Job was created');
      await one.waitFor('its first Job', isCreated);
      expect(other.lines.filter(isCreated)).toEqual([]);
      await one.kill();
      await other.waitFor('its turn', ({ msg }) => msg.startsWith('this replica leads'));
      await installation.put('succeed');
      await installation.endLate(kinds);
      await installation.ended([...kinds, 'succeed']);
      expect(await other.stop()).toBe(0);
      await installation.expectEnd([...kinds, 'succeed']);
    });
  },
);

/** A queue, and operators for it. */
interface Installation extends AsyncDisposable {
  readonly queue: string;
  /** Its Jobs in their last versions. */
  jobs(): readonly JobRecord[];
  put(kind: Kind): Promise<void>;
  start(podName?: string): Promise<OperatorProcess>;
  /** Starts an operator and kills it when it has taken the step. */
  killAt(step: CheckpointName): Promise<void>;
  /** Ends the pods of those of these messages that run until then. */
  endLate(kinds: readonly Kind[]): Promise<void>;
  /** Waits until all is done about these messages. */
  ended(kinds: readonly Kind[]): Promise<void>;
  /** The end that every run must have. */
  expectEnd(kinds: readonly Kind[]): Promise<void>;
}

async function install(name: string): Promise<Installation> {
  const queue = `${name}-tasks`;
  const installation = installationId(AZURITE_ACCOUNT, NAMESPACE, name);
  await queues.create(queue);
  const started = new AsyncDisposableStack();
  const begin = async (args: readonly string[] = [], podName = 'operator-0') =>
    started.use(
      await startOperator({
        env: { SLIPWAY_POD_NAME: podName },
        kubeconfig,
        namespace: NAMESPACE,
        connectionString: azurite.connectionString,
        entry: 'tests/control-plane/stopped-operator.ts',
        args,
        config: {
          installation: name,
          queues: [{ name: queue }],
          polling: { minIntervalSeconds: 0.2, maxIntervalSeconds: 1 },
          lease: { firstSeconds: 5, renewSeconds: 10 },
          runner: { image: 'example.test/runner:1' },
          defaults: { attempts: 1, startTimeoutSeconds: 10 },
          taskTypes: TASK_TYPES,
          webhook: { allow: ['127.0.0.1'] },
        },
      }),
    );
  const versions = () =>
    histories
      .flatMap((history) => history.versions)
      .filter(({ labels }) => labels[LABEL.installation] === installation);
  const jobs = () => [...new Map(versions().map((job) => [job.uid, job])).values()];
  return {
    queue,
    jobs,
    async start(podName) {
      const operator = await begin([], podName);
      await operator.port;
      return operator;
    },
    put: (kind) =>
      queues.put(queue, {
        task_id: kind === 'malformed' ? 7 : 't',
        task_type: kind,
        payload: kind.includes('-ci')
          ? { repository: 'https://git.example.test/a.git', commit: CI_COMMIT, test: { command: 'true' } }
          : {},
        webhook_url: `${sink.url}/${name}`,
      }),
    async killAt(step) {
      await using operator = await begin([step]);
      await operator.waitFor(`the step "${step}"`, ({ msg }) => msg === `reached ${step}`);
    },
    async endLate(kinds) {
      const isLate = (type = ''): type is keyof typeof LATE => type in LATE;
      await eventually(async () => {
        const { items } = await cluster.get<{ items: RawPod[] }>(
          'pods',
          ...['-n', NAMESPACE, '-l', `${LABEL.installation}=${installation}`, '--field-selector=status.phase=Running'],
        );
        for (const { metadata } of items) {
          const type = metadata?.labels?.[LABEL.taskType];
          if (isLate(type)) await endPod(cluster, NAMESPACE, metadata?.name ?? '', LATE[type]);
        }
        const ended = jobs().filter(({ labels, end }) => isLate(labels[LABEL.taskType]) && end !== undefined);
        expect(ended).toHaveLength(kinds.filter(isLate).length);
      });
    },
    async ended(kinds) {
      const tasks = kinds.filter((kind) => kind !== 'malformed').length;
      await eventually(async () => {
        expect(jobs().filter(({ settled }) => settled)).toHaveLength(tasks);
        expect(await queues.count(queue)).toBe(0);
      }, 90_000);
    },
    async expectEnd(kinds) {
      const tasks = kinds.filter((kind) => kind !== 'malformed');
      const failing = kinds.filter((kind) => !kind.startsWith('succeed'));
      expect(await queues.count(queue)).toBe(0);
      expectOneLifeEach(versions(), tasks.length);

      const poison = await queues.poison(queue);
      const copies = new Set(poison.map(({ id }) => id));
      expect(copies.size).toBe(failing.length);

      const posts = sink.requests.filter(({ path }) => path === `/${name}`);
      const bodies = posts.map(({ body }) => webhookBodySchema.parse(JSON.parse(body)));
      const reports = bodies.map(({ status }) => status);
      const ids = new Map(posts.map(({ headers }, at) => [headers['webhook-id'], reports[at]]));
      expect([...ids.values()].sort()).toEqual(
        kinds.map((kind) => (kind.startsWith('succeed') ? 'completed' : 'failed')).sort(),
      );
      // What the containers said is told whole, whenever the operator was killed.
      const results = bodies.flatMap(({ result }) => {
        const parsed = ciResultSchema.safeParse(result);
        return parsed.success ? [parsed.data] : [];
      });
      const ofCi = kinds.filter((kind) => kind.includes('-ci'));
      expect(new Set(results.map(({ conclusion }) => conclusion))).toEqual(
        new Set(ofCi.map((kind) => (kind === 'succeed-ci' ? 'success' : 'failure'))),
      );
      for (const result of results) expect(result).toMatchObject({ commit: CI_COMMIT, tests: { tests: 2, failed: 1 } });
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

/** Makes the message of the only Job visible again, as if its lease had ended. */
async function giveBack({ queue, jobs }: Installation): Promise<void> {
  const job = await eventually(() => {
    expect(jobs()).toHaveLength(1);
    return jobs()[0]!;
  });
  const { [ANNOTATION.messageId]: id = '', [ANNOTATION.popReceipt]: receipt = '' } = job.annotations;
  await queues.service.getQueueClient(queue).updateMessage(id, receipt, undefined, 0);
}
