import { describe, expect, test } from 'vitest';
import type { Category } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { iso } from '../../lib/clock.ts';
import { testJob, testPod } from '../../testing/jobs.ts';
import { type Behaviour, behaviours } from '../../testing/pod-status.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import { type PodRecord, podRecord } from './records.ts';
import { judgeStart, type Remedy, refusalTrouble, startLimits, waitingTrouble } from './start-trouble.ts';

const LIMITS = { startTimeoutSeconds: 600, unschedulableTimeoutSeconds: 3600 };
const START = 600_000;
const HOUR = 3_600_000;

type Verdict = readonly [category: Category, remedy: Remedy, dueAfterMs: number, message: RegExp];

/** What every recorded status of a pod comes to, a moment after it was seen: the trouble, what it calls for, and after which time. */
const TROUBLES: { readonly [behaviour in Behaviour]: Verdict | undefined } = {
  running: undefined,
  'completed-owed': undefined,
  'completed-delivered': undefined,
  'completed-foreign': undefined,
  failed: undefined,
  'failed-foreign': undefined,
  timeout: undefined,
  permanent: undefined,
  oom: undefined,
  deadline: undefined,
  evicted: undefined,
  'storage-evicted': undefined,
  'command-missing': undefined,
  'image-missing': ['ImagePull', 'use-attempt', START, /^ErrImagePull: .*not found$/],
  'image-name-invalid': ['InvalidImage', 'fail', 0, /^InvalidImageName: /],
  'config-missing': ['ContainerConfig', 'use-attempt', START, /^CreateContainerConfigError: secret "/],
  'root-refused': ['ContainerConfig', 'fail', 0, /runAsNonRoot.*; security: baseline in the task type would allow it$/],
  unschedulable: ['Unschedulable', 'fail', HOUR, /^0\/1 nodes are available/],
};

describe('the start of a pod, as real kubelets and the scheduler tell it', () => {
  test.each(behaviours)('%s', (behaviour) => {
    const pod = testPod(behaviour, 0);
    const { trouble } = judgeStart(pod, LIMITS, EPOCH);
    const expected = TROUBLES[behaviour];
    if (expected === undefined) return expect(trouble).toBeUndefined();
    const [category, remedy, dueAfterMs, message] = expected;
    expect(trouble).toMatchObject({ remedy, dueAt: EPOCH + dueAfterMs, diagnosis: { category } });
    expect(trouble?.diagnosis.message).toMatch(message);
  });

  const waiting = (reason: string, message = ''): PodRecord => ({
    ...testPod('image-missing', 0),
    task: { kind: 'waiting', reason, message },
    waiting: reason === 'ContainerCreating' ? undefined : { reason, message },
  });
  const back = 'Back-off pulling image "r/x:1": ErrImagePull: ';

  test.each<[what: string, reason: string, message: string, category: Category, remedy: Remedy]>([
    ['no such image', 'ImagePullBackOff', `${back}r/x:1: not found`, 'ImagePull', 'use-attempt'],
    ['no such tag', 'ErrImagePull', 'manifest unknown: manifest unknown', 'ImagePull', 'use-attempt'],
    ['unauthorised', 'ErrImagePull', 'pull access denied, may require authorization', 'ImagePull', 'use-attempt'],
    ['forbidden', 'ImagePullBackOff', `${back}unexpected status: 403 Forbidden`, 'ImagePull', 'use-attempt'],
    ['never to be pulled', 'ErrImageNeverPull', 'image is not present with pull policy', 'ImagePull', 'use-attempt'],
    ['a registry that is away', 'ImagePullBackOff', `${back}dial tcp: connection refused`, 'ImagePull', 'retry'],
    ['a registry without a name', 'ErrImagePull', 'dial tcp: lookup r: no such host', 'ImagePull', 'retry'],
    ['a registry that throttles', 'ErrImagePull', '429 Too Many Requests: toomanyrequests', 'ImagePull', 'retry'],
    ['nothing said', 'ImagePullBackOff', '', 'ImagePull', 'retry'],
    [
      'a user that is no number',
      'CreateContainerConfigError',
      'container has runAsNonRoot and image has non-numeric user (node), cannot verify',
      'ContainerConfig',
      'fail',
    ],
    [
      'a missing key',
      'CreateContainerConfigError',
      "couldn't find key a in Secret ns/b",
      'ContainerConfig',
      'use-attempt',
    ],
    ['a mount', 'CreateContainerError', 'failed to generate spec', 'ContainerConfig', 'use-attempt'],
  ])('%s', (_, reason, message, category, remedy) => {
    const { trouble } = judgeStart(waiting(reason, message), LIMITS, EPOCH);
    expect(trouble).toMatchObject({ remedy, diagnosis: { category } });
  });

  test('an ordinary stage of a start is none, until the start timeout has passed', () => {
    const pod = waiting('ContainerCreating');
    expect(judgeStart(pod, LIMITS, EPOCH + START - 1)).toEqual({ lookAt: EPOCH + START });
    expect(judgeStart(pod, LIMITS, EPOCH + START).trouble).toMatchObject({
      remedy: 'use-attempt',
      dueAt: EPOCH + START,
      diagnosis: { category: 'ContainerConfig', message: expect.stringContaining('(ContainerCreating)') },
    });
  });

  test('an init container that does not start is no less a trouble', () => {
    const metadata = { name: 'p', creationTimestamp: iso(EPOCH) };
    const waitingFor = (name: string, reason: string) => ({
      name,
      state: { waiting: { reason, message: 'not found' } },
    });
    const status = {
      phase: 'Pending',
      conditions: [{ type: 'PodScheduled', status: 'True', lastTransitionTime: iso(EPOCH) }],
      initContainerStatuses: [waitingFor('clone', 'ErrImagePull')],
      containerStatuses: [waitingFor('task', 'PodInitializing')],
    };
    expect(judgeStart(podRecord({ metadata, status }), LIMITS, EPOCH).trouble).toMatchObject({
      remedy: 'use-attempt',
      diagnosis: { category: 'ImagePull', message: 'ErrImagePull: not found' },
    });
  });

  test('the start timeout ends when a container of the pod has run: what comes then has deadlines of its own', () => {
    expect(judgeStart({ ...waiting('ContainerCreating'), begun: true }, LIMITS, EPOCH + HOUR)).toEqual({});
  });

  test('a container that does not start after an init container ran is a trouble from the end of that on', () => {
    const pod = { ...waiting('ErrImagePull', 'not found'), begun: true, stageSince: EPOCH + HOUR };
    expect(judgeStart(pod, LIMITS, EPOCH + HOUR).trouble).toMatchObject({ dueAt: EPOCH + HOUR + START });
  });

  test('a pod without a node that is not said to be unschedulable is just new', () => {
    const pod = { ...waiting(''), stageSince: undefined, task: undefined, waiting: undefined };
    expect(judgeStart(pod, LIMITS, EPOCH + HOUR)).toEqual({});
  });

  test('a pod that should be gone and is not says that its node is lost, which is told and not ended', () => {
    const pod = { ...testPod('running', 0), deletedBy: EPOCH };
    expect(judgeStart(pod, LIMITS, EPOCH)).toEqual({ lookAt: EPOCH + 60_000 });
    const { trouble } = judgeStart(pod, LIMITS, EPOCH + 60_000);
    expect(trouble).toMatchObject({ remedy: 'wait', diagnosis: { category: 'NodeLost' } });
    expect(trouble?.diagnosis.message).toContain(`kubectl delete pod -n ${pod.namespace} ${pod.name} --force`);
  });
});

describe('why Kubernetes makes no pod', () => {
  test.each<[text: string, category: Category, dueAfterMs: number]>([
    [
      'Error creating: pods "a-x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0',
      'QuotaExceeded',
      HOUR,
    ],
    ['Error creating: pods "a-x" is forbidden: failed quota: q: must specify cpu for: task', 'QuotaExceeded', HOUR],
    [
      'Error creating: pods "a-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
      'InvalidSpec',
      0,
    ],
    ['Error creating: Pod "a-x" is invalid: spec.containers[0].image: Required value', 'InvalidSpec', 0],
    [
      'Error creating: pods "a-x" is forbidden: error looking up service account s/w: serviceaccount "w" not found',
      'ContainerConfig',
      HOUR,
    ],
    ['Error creating: Internal error occurred: failed calling webhook "x": connection refused', 'BackendError', HOUR],
  ])('%s', (text, category, dueAfterMs) => {
    const trouble = refusalTrouble(text, LIMITS, EPOCH);
    expect(trouble).toMatchObject({ remedy: 'fail', dueAt: EPOCH + dueAfterMs, diagnosis: { category } });
    expect(trouble.diagnosis.message).toContain(text);
  });
});

test('the limits are those that the Job was made under', () => {
  const annotations = { [ANNOTATION.startTimeout]: '20', [ANNOTATION.unschedulableTimeout]: '30' };
  expect(startLimits(testJob({ annotations }))).toEqual({ startTimeoutSeconds: 20, unschedulableTimeoutSeconds: 30 });
  expect(startLimits(testJob())).toEqual(LIMITS);
});

test('an image that a CI task has built itself, and that cannot start, is its own fault and not its type’s', () => {
  const end = { exitCode: 0, reason: 'Completed', message: '', startedAt: 1, finishedAt: 2 };
  const waiting = { reason: 'CreateContainerError', message: 'no users found for nobody-there' };
  expect(waitingTrouble({ waiting, ci: { build: end } })).toMatchObject({
    diagnosis: { category: 'TaskFailed' },
    remedy: 'fail',
  });
  expect(waitingTrouble({ waiting, ci: {} })).toMatchObject({ diagnosis: { category: 'ContainerConfig' } });
  // Containerd's words, as a node with an index of another platform alone printed them.
  const platform = {
    reason: 'ErrImagePull',
    message:
      'rpc error: code = NotFound desc = failed to pull and unpack image "r/a:1": no match for platform in manifest: not found',
  };
  expect(waitingTrouble({ waiting: platform, ci: { build: end } })).toMatchObject({
    diagnosis: { category: 'TaskFailed', message: expect.stringContaining('for another platform') },
    remedy: 'fail',
  });
  // Of the builder's image it is the type's.
  expect(waitingTrouble({ waiting: platform, ci: {} })).toMatchObject({ diagnosis: { category: 'ImagePull' } });
  const noSecret = { reason: 'CreateContainerConfigError', message: 'secret "x" not found' };
  expect(waitingTrouble({ waiting: noSecret, ci: { build: end } })).toMatchObject({
    diagnosis: { category: 'ContainerConfig' },
  });
});
