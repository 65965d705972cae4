import { describe, expect, test } from 'vitest';
import { ANNOTATION, LABEL, POD_ANNOTATION, STATE } from '../../contract/identity.ts';
import { testPod } from '../../testing/jobs.ts';
import { type Behaviour, behaviours } from '../../testing/pod-status.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import {
  fullJob,
  JOB_NAME_LABEL,
  jobRecord,
  podRecord,
  type RawJob,
  type RawPod,
  type TaskContainer,
} from './records.ts';

/** A Job as the API server gives it, with much that is not kept. */
const raw: RawJob = {
  metadata: {
    name: 'acme-echo-abc',
    uid: 'uid-1',
    resourceVersion: '4711',
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { [LABEL.state]: STATE.active, other: 'x' },
    annotations: { [ANNOTATION.messageId]: 'm-1', 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
  },
  spec: {
    suspend: false,
    parallelism: 1,
    backoffLimit: 2,
    template: { metadata: { annotations: { [POD_ANNOTATION.taskData]: '{"task_id":"t"}' } } },
  },
  status: { startTime: '2026-01-01T00:00:05Z' },
};

describe('jobRecord', () => {
  test('keeps what is used, and no other annotation than ours', () => {
    expect(jobRecord(raw)).toEqual({
      name: 'acme-echo-abc',
      namespace: '',
      uid: 'uid-1',
      resourceVersion: '4711',
      labels: { [LABEL.state]: STATE.active, other: 'x' },
      annotations: { [ANNOTATION.messageId]: 'm-1' },
      createdAt: EPOCH,
      startedAt: EPOCH + 5000,
      deleting: false,
      suspended: false,
      parallelism: 1,
      attempts: 3,
      end: undefined,
      ttlSeconds: undefined,
      settled: false,
    });
  });

  test('keeps no task data: ten thousand Jobs must fit into memory', () => {
    expect(JSON.stringify(jobRecord(raw))).not.toContain('task_id');
    expect(fullJob(raw).taskData).toBe('{"task_id":"t"}');
  });

  test('survives a server that leaves everything out', () => {
    expect(jobRecord({})).toMatchObject({ name: '', attempts: 7, parallelism: 1, end: undefined, settled: false });
    expect(fullJob({}).taskData).toBe('');
    expect(podRecord({})).toMatchObject({ name: '', phase: 'Unknown', task: undefined, disrupted: false });
  });

  test('knows a Job that is settled, suspended, held by parallelism, or being deleted', () => {
    expect(jobRecord({ metadata: { labels: { [LABEL.state]: STATE.settled } } }).settled).toBe(true);
    expect(jobRecord({ spec: { suspend: true } }).suspended).toBe(true);
    expect(jobRecord({ spec: { parallelism: 0 } }).parallelism).toBe(0);
    expect(jobRecord({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }).deleting).toBe(true);
    expect(jobRecord({ spec: { ttlSecondsAfterFinished: 0 } }).ttlSeconds).toBe(0);
  });

  const at = '2026-01-01T00:00:00Z';
  const condition = (type: string, status = 'True') => ({
    type,
    status,
    reason: 'R',
    message: 'M',
    lastTransitionTime: at,
  });
  test.each([
    ['Complete is an end', [condition('Complete')], 'complete'],
    ['Failed is an end', [condition('Failed')], 'failed'],
    ['Complete after its forerunner', [condition('SuccessCriteriaMet'), condition('Complete')], 'complete'],
    ['Failed after its forerunner', [condition('FailureTarget'), condition('Failed')], 'failed'],
  ])('%s', (_, conditions, kind) => {
    expect(jobRecord({ status: { conditions } }).end).toEqual({ kind, at: EPOCH, reason: 'R', message: 'M' });
  });

  test('an end by used-up attempts that its own deletion used up is none', () => {
    const job = (reason: string, deletionTimestamp?: string) =>
      jobRecord({
        metadata: deletionTimestamp === undefined ? {} : { deletionTimestamp },
        status: { conditions: [{ ...condition('Failed'), reason }] },
      });
    expect(job('BackoffLimitExceeded', at)).toMatchObject({ deleting: true, end: undefined });
    expect(job('BackoffLimitExceeded', '2026-01-01T00:00:01Z').end?.kind).toBe('failed');
    expect(job('BackoffLimitExceeded').end?.kind).toBe('failed');
    expect(job('DeadlineExceeded', at).end?.kind).toBe('failed');
  });

  test.each([
    ['a forerunner: pods may still run', [condition('SuccessCriteriaMet'), condition('FailureTarget')]],
    ['a condition that is not true', [condition('Complete', 'False'), condition('Failed', 'Unknown')]],
    ['being suspended', [condition('Suspended')]],
    ['no condition', []],
  ])('no end is %s', (_, conditions) => expect(jobRecord({ status: { conditions } }).end).toBeUndefined());
});

describe('podRecord, of what a real kubelet reports', () => {
  const ended = (exitCode: number, reason: string, message = expect.any(String)): TaskContainer => ({
    kind: 'terminated',
    exitCode,
    reason,
    message,
    startedAt: EPOCH,
    finishedAt: EPOCH,
  });
  const waiting = (reason: string): TaskContainer => ({ kind: 'waiting', reason, message: expect.any(String) });
  const expected: {
    readonly [behaviour in Behaviour]: readonly [phase: string, task: TaskContainer | undefined, reason?: string];
  } = {
    running: ['Running', { kind: 'running', startedAt: EPOCH }],
    'completed-owed': ['Succeeded', ended(0, 'Completed', expect.stringContaining('"webhook":"owed"'))],
    'completed-delivered': ['Succeeded', ended(0, 'Completed', expect.stringContaining('"webhook":"delivered"'))],
    'completed-foreign': ['Succeeded', ended(0, 'Completed', '')],
    failed: ['Failed', ended(1, 'Error', expect.stringContaining('the handler threw'))],
    'failed-foreign': ['Failed', ended(1, 'Error', '')],
    timeout: ['Failed', ended(1, 'Error', expect.stringContaining('TaskTimedOut'))],
    permanent: ['Failed', ended(65, 'Error', expect.stringContaining('BadData'))],
    oom: ['Failed', ended(137, 'OOMKilled', '')],
    deadline: ['Failed', ended(137, 'Error', ''), 'DeadlineExceeded'],
    evicted: ['Failed', ended(143, 'Error', '')],
    'storage-evicted': ['Failed', ended(137, 'Error', ''), 'Evicted'],
    'image-missing': ['Pending', waiting('ErrImagePull')],
    'image-name-invalid': ['Pending', waiting('InvalidImageName')],
    'config-missing': ['Pending', waiting('CreateContainerConfigError')],
    'root-refused': ['Pending', waiting('CreateContainerConfigError')],
    'command-missing': ['Failed', { ...ended(128, 'StartError'), startedAt: 0 } as TaskContainer],
    unschedulable: ['Pending', undefined],
  };

  test.each(behaviours)('%s', (behaviour) => {
    const [phase, task, reason = ''] = expected[behaviour];
    expect(testPod(behaviour)).toMatchObject({ phase, reason, jobName: 'acme-echo-abcdefghijkl' });
    expect(testPod(behaviour).task).toEqual(task);
  });

  test('only an eviction by API, a drain or a preemption is a disruption', () => {
    expect(behaviours.filter((behaviour) => testPod(behaviour).disrupted)).toEqual(['evicted']);
  });

  test('the container named task counts, no other', () => {
    const containerStatuses = [
      { name: 'init', state: { terminated: { exitCode: 65 } } },
      { name: 'task', state: { terminated: { exitCode: 0, startedAt: null, finishedAt: null } } },
      { name: 'sidecar', state: { terminated: { exitCode: 1 } } },
    ];
    const pod = podRecord({ metadata: { labels: { [JOB_NAME_LABEL]: 'j' } }, status: { containerStatuses } });
    expect(pod.task).toMatchObject({ kind: 'terminated', exitCode: 0, startedAt: undefined, finishedAt: undefined });
    expect(podRecord({ status: { containerStatuses: [{ name: 'task', state: {} }] } }).task).toBeUndefined();
  });
});

test('of a CI task’s pod the ends of its other containers are kept, and the digest of what the node pulled', () => {
  const digest = `sha256:${'ab'.repeat(32)}`;
  const ended = {
    exitCode: 0,
    reason: 'Completed',
    startedAt: '2026-01-01T00:00:00Z',
    finishedAt: '2026-01-01T00:00:05Z',
  };
  const raw: RawPod = {
    metadata: { labels: { 'slipway.dev/kind': 'ci' } },
    status: {
      initContainerStatuses: [
        { name: 'report', state: { running: { startedAt: '2026-01-01T00:00:00Z' } } },
        { name: 'clone', state: { terminated: { ...ended, message: 'commit' } } },
        { name: 'build', state: { waiting: { reason: 'PodInitializing' } } },
      ],
      containerStatuses: [{ name: 'task', imageID: `registry.example.com/ci/app@${digest}` }],
    },
  };
  expect(podRecord(raw).ci).toMatchObject({
    clone: { exitCode: 0, message: 'commit' },
    digest,
    begunAt: Date.UTC(2026, 0, 1),
  });
  expect(Object.keys(podRecord(raw).ci ?? {})).toEqual(['clone', 'digest', 'begunAt']);
  expect(podRecord({ ...raw, metadata: {} })).not.toHaveProperty('ci');
});
