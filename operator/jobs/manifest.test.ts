import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { ANNOTATION, jobName, LABEL, POD_ANNOTATION } from '../../contract/identity.ts';
import { RUNNER_ENV } from '../../contract/runner-abi.ts';
import { ciBuild, ciPolicy } from '../../testing/ci-policy.ts';
import { testConfig, testPolicy, testTask } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import { jobDeadlineSeconds, type ManifestContext, manifest, podDeadlineSeconds, type TaskInHand } from './manifest.ts';
import { jobRecord, type RawJob } from './records.ts';

const context: ManifestContext = {
  namespace: 'slipway',
  instance: 'slipway',
  installation: 'ofghueamd543',
  configHash: '0123456789ab',
};

const echo = testPolicy(testConfig(), 'echo');
const everything = `
runner: { image: registry.example/runner:1, imagePullPolicy: Always, imagePullSecrets: [registry] }
webhook: { format: result, allow: [backend.prod.svc, 10.0.0.0/8], signingSecret: { name: webhook, key: secret } }
taskTypes:
  document-processing:
    command: [/worker]
    args: [--fast]
    attempts: 5
    timeoutSeconds: 600
    graceSeconds: 60
    startTimeoutSeconds: 120
    unschedulableTimeoutSeconds: 300
    resources: { cpu: 500m, memory: 4Gi, ephemeralStorage: 10Gi }
    env:
      - { name: LOG_LEVEL, value: debug }
      - { name: OPENAI_API_KEY, valueFrom: { secretKeyRef: { name: openai, key: key } } }
      - { name: REGION, valueFrom: { configMapKeyRef: { name: region, key: name } } }
    envFrom:
      - { prefix: DB_, secretRef: { name: database } }
      - { configMapRef: { name: settings } }
    serviceAccountName: worker
    nodeSelector: { pool: tasks }
    tolerations: [{ key: tasks, operator: Exists }]
    webhook: operator
`;
const patched = `
taskTypes:
  patched:
    podTemplate:
      metadata: { labels: { azure.workload.identity/use: "true" } }
      spec:
        automountServiceAccountToken: true
        securityContext: { fsGroup: null }
        containers:
          - name: task
            env: [{ name: EXTRA, value: x }]
            volumeMounts: [{ name: cache, mountPath: /cache }]
        volumes: [{ name: cache, emptyDir: { sizeLimit: 1Gi } }]
`;

function render(config: string, type: string, changes: Partial<TaskInHand> = {}) {
  return manifest(testTask({ taskType: type, ...changes }), testPolicy(testConfig(config), type), context);
}

/** Every text in the value, with its path. */
function texts(value: unknown, path = ''): (readonly [path: string, text: string])[] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => texts(item, `${path}/${key}`));
}

describe('a Job as it is rendered', () => {
  test.each([
    ['echo-default', render('taskTypes: { echo: {} }', 'echo')],
    [
      'foreign-image',
      render('taskTypes: { legacy: { image: "registry.example/legacy:2" } }', 'legacy', {
        webhookUrl: 'https://backend.example/hook',
      }),
    ],
    ['everything-set', render(everything, 'document-processing', { encoding: 'base64' })],
    ['pod-template-patch', render(patched, 'patched')],
    [
      'security-baseline',
      render('taskTypes: { root: { image: "registry.example/root:1", security: baseline } }', 'root'),
    ],
    ['ci', manifest(testTask({ taskType: 'ci', ci: ciBuild() }), ciPolicy(), context)],
  ])('%s', async (name, job) => {
    await expect(stringify(job, { lineWidth: 0 })).toMatchFileSnapshot(`golden/${name}.yaml`);
  });

  test('of a CI type is in the type’s namespace, and what tests exit with is final unless they are to be retried', () => {
    const of = (test: object) => manifest(testTask({ taskType: 'ci', ci: ciBuild() }), ciPolicy({ test }), context);
    expect(of({}).metadata).toMatchObject({ namespace: 'ci', labels: { [LABEL.kind]: 'ci' } });
    const final = { containerName: 'task', operator: 'NotIn', values: [0] };
    const rules = (job: ReturnType<typeof of>) =>
      job.spec?.podFailurePolicy?.rules.map(({ onExitCodes }) => onExitCodes);
    expect(rules(of({}))).toEqual([undefined, final]);
    expect(rules(of({ retry: true }))).toEqual([undefined]);
    expect(() => manifest(testTask({ taskType: 'ci' }), ciPolicy(), context)).toThrow('has no build');
  });

  test('of a CI type takes a sidecar by podTemplate: it starts when the image is built, before the tests', () => {
    const postgres = { name: 'postgres', image: 'postgres:18', restartPolicy: 'Always' };
    const policy = ciPolicy({}, { podTemplate: { spec: { initContainers: [postgres], hostAliases: [] } } });
    const { spec } = manifest(testTask({ taskType: 'ci', ci: ciBuild() }), policy, context).spec?.template ?? {};
    expect(spec?.initContainers?.map(({ name }) => name)).toEqual(['report', 'clone', 'build', 'postgres']);
    expect(spec?.initContainers?.at(-1)).toEqual(postgres);
  });

  test('of a CI type has the time of clone and build besides', () => {
    const { timeoutSeconds, graceSeconds, startTimeoutSeconds } = ciPolicy();
    const policy = ciPolicy({ builder: { timeoutSeconds: 77 } });
    expect(podDeadlineSeconds(policy)).toBe(startTimeoutSeconds + 77 + timeoutSeconds + graceSeconds);
  });

  test('I10: is a function of the task, its policy and its context', () => {
    expect(manifest(testTask(), echo, context)).toEqual(manifest(testTask(), echo, context));
  });

  test('I1: has the name of its message, whatever delivery brought it', () => {
    const again = testTask({ message: { ...testTask().message, popReceipt: 'receipt-9', dequeueCount: 9 } });
    const names = [testTask(), again].map((task) => manifest(task, echo, context).metadata?.name);
    const ref = { account: again.account, queue: again.queue, messageId: again.message.id };
    expect(names).toEqual([jobName(ref, 'echo'), jobName(ref, 'echo')]);
  });

  test('I4: has no time to live', () => {
    for (const job of [
      render(everything, 'document-processing'),
      render(patched, 'patched'),
      manifest(testTask(), echo, context),
    ])
      expect(job.spec).not.toHaveProperty('ttlSecondsAfterFinished');
  });

  test('carries all that a new operator needs to go on with its message', () => {
    const job = manifest(testTask({ webhookUrl: 'https://b.example/h' }), echo, context);
    const record = jobRecord(JSON.parse(JSON.stringify(job)) as RawJob);
    expect(record.annotations).toEqual({
      [ANNOTATION.account]: 'devstoreaccount1',
      [ANNOTATION.queue]: 'acme-tasks',
      [ANNOTATION.client]: 'acme',
      [ANNOTATION.messageId]: testTask().message.id,
      [ANNOTATION.popReceipt]: 'receipt-1',
      [ANNOTATION.leaseUntil]: '2026-01-01T00:01:00.000Z',
      [ANNOTATION.dequeueCount]: '1',
      [ANNOTATION.expiresOn]: '2026-01-08T00:00:00.000Z',
      [ANNOTATION.insertedOn]: '2026-01-01T00:00:00.000Z',
      [ANNOTATION.encoding]: 'plain',
      [ANNOTATION.configHash]: '0123456789ab',
      [ANNOTATION.startTimeout]: '600',
      [ANNOTATION.unschedulableTimeout]: '3600',
      [ANNOTATION.security]: 'restricted',
      [ANNOTATION.webhookMode]: 'runner',
      [ANNOTATION.webhookUrl]: 'https://b.example/h',
      [ANNOTATION.rate]: '{"vcpu":1,"gib":2}',
    });
    expect(record).toMatchObject({
      attempts: 3,
      suspended: false,
      parallelism: 1,
      settled: false,
      ttlSeconds: undefined,
    });
    expect(record.labels[LABEL.installation]).toBe(context.installation);
  });
});

describe('I9: what a message says', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
    fc.constantFrom(
      '$(OPENAI_API_KEY)',
      '$$',
      '$$(HOME)',
      '"; rm -rf /',
      '../../x',
      '__proto__',
      'a\nb: c',
      '`id`',
      '🚢',
    ),
  );
  const task = fc
    .record({ taskId: hostile, taskType: hostile, webhookUrl: hostile, data: hostile })
    .map(({ data, ...rest }) => testTask({ ...rest, taskData: JSON.stringify({ task_id: data }) }));

  test('reaches the container by reference only, byte for byte', () => {
    fc.assert(
      fc.property(task, (any) => {
        const job = manifest(any, echo, context);
        const pod = job.spec?.template;
        expect(pod?.metadata?.annotations).toEqual({
          [POD_ANNOTATION.taskData]: any.taskData,
          [POD_ANNOTATION.taskId]: any.taskId,
          [POD_ANNOTATION.taskType]: any.taskType,
          [POD_ANNOTATION.rate]: '{"vcpu":1,"gib":2}',
        });
        // With another message only the name, labels and annotations differ: nothing that Kubernetes would expand or run.
        const plain = manifest(testTask(), echo, context);
        expect(pod?.spec).toEqual(plain.spec?.template.spec);
        expect({ ...job.spec, template: {} }).toEqual({ ...plain.spec, template: {} });
      }),
    );
  });

  test('gives label values that are valid', () => {
    fc.assert(
      fc.property(task, (any) => {
        const { metadata, spec } = manifest(any, echo, context);
        for (const labels of [metadata?.labels, spec?.template.metadata?.labels])
          for (const [label, value] of Object.entries(labels ?? {}))
            expect(value, label).toMatch(/^(?=.{0,63}$)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/);
      }),
    );
  });

  test('is in no variable by value: of these the message’s own is not among', () => {
    const job = manifest(testTask(), echo, context);
    const env = job.spec?.template.spec?.containers[0]?.env ?? [];
    const byReference = env.filter(({ valueFrom }) => valueFrom?.fieldRef !== undefined).map(({ name }) => name);
    expect(byReference).toEqual([RUNNER_ENV.taskData, RUNNER_ENV.taskId, RUNNER_ENV.taskType, RUNNER_ENV.rate]);
    expect(env.filter(({ value }) => value !== undefined).map(({ name, value }) => [name, value])).toEqual([
      [RUNNER_ENV.clientId, 'acme'],
      [RUNNER_ENV.taskTimeout, '1800'],
      [RUNNER_ENV.maxAttempts, '3'],
      [RUNNER_ENV.webhookId, expect.stringMatching(/^[0-9a-f]{32}$/)],
      [RUNNER_ENV.webhookFormat, 'slipway'],
    ]);
  });
});

test('I9: secrets are in the Job by name only', () => {
  const secrets = {
    SLIPWAY_WEBHOOK_SECRET: `whsec_${'c2VjcmV0'.repeat(4)}`,
    AZURE_STORAGE_CONNECTION_STRING: 'AccountName=acme;AccountKey=a2V5a2V5',
  };
  const config = testConfig(everything, secrets);
  const job = manifest(testTask(), testPolicy(config, 'document-processing'), context);
  const env = job.spec?.template.spec?.containers[0]?.env ?? [];
  expect(env.find(({ name }) => name === RUNNER_ENV.webhookSecret)).toEqual({
    name: RUNNER_ENV.webhookSecret,
    valueFrom: { secretKeyRef: { name: 'webhook', key: 'secret' } },
  });
  for (const [path, text] of texts(job)) {
    expect(text, path).not.toContain('c2VjcmV0');
    expect(text, path).not.toContain('a2V5a2V5');
  }
});

test('what only our runner understands is not given to a foreign image', () => {
  const job = render('webhook: { allow: [b] }\ntaskTypes: { legacy: { image: "x:1" } }', 'legacy');
  const container = job.spec?.template.spec?.containers[0];
  expect(container?.env?.map(({ name }) => name)).toEqual([
    RUNNER_ENV.taskData,
    RUNNER_ENV.taskId,
    RUNNER_ENV.taskType,
    RUNNER_ENV.clientId,
    RUNNER_ENV.taskTimeout,
    RUNNER_ENV.maxAttempts,
    RUNNER_ENV.webhookId,
  ]);
  expect(container?.securityContext).not.toHaveProperty('readOnlyRootFilesystem');
});

test.each([
  ['{}', 'runner'],
  ['{ webhook: operator }', 'operator'],
  ['{ webhook: task }', 'none'],
  ['{ image: "x:1" }', 'exit-0'],
  ['{ image: "x:1", webhook: operator }', 'operator'],
  ['{ image: "x:1", runner: slipway }', 'runner'],
])('a type %s is reported by: %s', (settings, mode) => {
  const job = render(`taskTypes: { t: ${settings} }`, 't');
  expect(job.metadata?.annotations?.[ANNOTATION.webhookMode]).toBe(mode);
});

describe('deadlines', () => {
  test('a pod’s covers start, task and grace', () => {
    expect(podDeadlineSeconds(echo)).toBe(600 + 1800 + 30);
    expect(manifest(testTask(), echo, context).spec?.template.spec?.activeDeadlineSeconds).toBe(2430);
  });

  test('a Job’s covers every attempt with its wait for a node, the back-offs between, and an hour for disruptions', () => {
    expect(jobDeadlineSeconds({ ...echo, attempts: 1 })).toBe(2430 + 3600 + 3600);
    expect(jobDeadlineSeconds({ ...echo, attempts: 3 })).toBe(3 * 6030 + (10 + 20) + 3600);
    expect(jobDeadlineSeconds({ ...echo, attempts: 9 })).toBe(
      9 * 6030 + (10 + 20 + 40 + 80 + 160 + 320 + 600 + 600) + 3600,
    );
    expect(manifest(testTask(), echo, context).spec?.activeDeadlineSeconds).toBe(3 * 6030 + 30 + 3600);
  });
});

test('times of the message are in UTC, and a message without expiry has one far away', () => {
  const message = { ...testTask().message, expiresOn: Date.UTC(9999, 11, 31), insertedOn: EPOCH };
  const job = manifest(testTask({ message }), echo, context);
  expect(job.metadata?.annotations?.[ANNOTATION.expiresOn]).toBe('9999-12-31T00:00:00.000Z');
});
