import { describe, expect, test } from 'vitest';
import { testConfig } from '../../testing/jobs.ts';
import {
  judgeLimitRanges,
  judgePodSecurity,
  judgeQuotas,
  type LimitRange,
  type ResourceQuota,
  shapesOf,
} from './namespace.ts';

const shapes = shapesOf(
  testConfig('taskTypes: { echo: {}, big: { resources: { memory: 4Gi, cpu: 500m }, security: baseline } }'),
);
const quota = (hard: Record<string, string>, more: object = {}, used: Record<string, string> = {}): ResourceQuota => ({
  metadata: { name: 'q' },
  spec: { hard, ...more },
  status: { used },
});
const judgedQuota = (one: ResourceQuota, defaults = {}) => judgeQuotas([one], shapes, defaults, 'jobs')[0];

test('what a type asks for is read from its rendered pod, patches included', () => {
  const config = testConfig(`
taskTypes:
  patched:
    podTemplate: { spec: { containers: [{ name: task, resources: { limits: { cpu: "3" } } }, { name: side, image: x }] } }
`);
  expect(shapesOf(config)[0]?.containers).toEqual([
    { requests: { cpu: '1', memory: '2Gi' }, limits: { memory: '2Gi', cpu: '3' } },
    { requests: {}, limits: {} },
  ]);
});

describe('quotas', () => {
  test.each([
    ['none at all', undefined, 'OK'],
    ['one with room', quota({ 'requests.memory': '8Gi', pods: '10' }), 'OK'],
    ['one less than the largest type', quota({ 'requests.memory': '3Gi' }), 'PROBLEM'],
    ['the short names', quota({ memory: '1Gi' }), 'PROBLEM'],
    ['no pods', quota({ pods: '0' }), 'PROBLEM'],
    ['no Jobs', quota({ 'count/jobs.batch': '0' }), 'PROBLEM'],
    ['Jobs enough', quota({ 'count/jobs.batch': '100', 'count/secrets': '0' }), 'OK'],
    ['full now', quota({ 'requests.memory': '8Gi' }, {}, { 'requests.memory': '6Gi' }), 'UNKNOWN'],
    ['for pods without an end', quota({ pods: '0' }, { scopes: ['NotTerminating'] }), 'OK'],
    ['for pods with an end', quota({ pods: '0' }, { scopes: ['Terminating'] }), 'PROBLEM'],
    ['by a selector', quota({ pods: '0' }, { scopeSelector: {} }), 'UNKNOWN'],
    ['a CPU limit demanded', quota({ 'limits.cpu': '100' }), 'PROBLEM'],
  ])('%s', (_, one, state) => {
    const [finding] = judgeQuotas(one === undefined ? [] : [one], shapes, {}, 'jobs');
    expect(finding?.state).toBe(state);
  });

  test('the command raises to what is used and one task more', () => {
    const finding = judgedQuota(
      quota({ 'requests.memory': '3Gi', cpu: '100m' }, {}, { 'requests.memory': '128Mi', cpu: '50m' }),
    );
    expect(finding?.command).toBe(
      `kubectl -n jobs patch resourcequota q --type=merge -p '{"spec":{"hard":{"requests.memory":"4224Mi","cpu":"1050m"}}}'`,
    );
  });

  test('a limit range that gives a CPU limit satisfies a quota that demands one', () => {
    expect(judgedQuota(quota({ 'limits.cpu': '100' }), { cpu: '2' })?.state).toBe('OK');
    expect(judgedQuota(quota({ 'limits.cpu': '1' }), { cpu: '2' })?.state).toBe('PROBLEM');
  });
});

describe('limit ranges', () => {
  const range = (...limits: NonNullable<NonNullable<LimitRange['spec']>['limits']>): LimitRange => ({
    metadata: { name: 'r' },
    spec: { limits },
  });
  test.each([
    ['wide enough', range({ type: 'Container', max: { memory: '4Gi', cpu: '1' }, min: { cpu: '500m' } }), undefined],
    ['about volumes', range({ type: 'PersistentVolumeClaim', max: { storage: '1' } }), undefined],
    ['too low', range({ type: 'Container', max: { memory: '3Gi' } }), [['/spec/limits/0/max/memory', '4Gi']]],
    ['too low for the pod', range({ type: 'Pod', max: { cpu: '900m' } }), [['/spec/limits/0/max/cpu', '1']]],
    ['too high', range({ type: 'Container', min: { memory: '3Gi' } }), [['/spec/limits/0/min/memory', '2Gi']]],
    [
      'a default limit below the request',
      range({ type: 'Pod' }, { type: 'Container', default: { cpu: '200m', memory: '1Mi' } }),
      [['/spec/limits/1/default/cpu', '1']],
    ],
  ])('%s', (_, one, changes) => {
    const [finding] = judgeLimitRanges([one], shapes, 'jobs');
    expect(finding?.state).toBe(changes === undefined ? 'OK' : 'PROBLEM');
    const patch = changes?.map(([path, value]) => ({ op: 'replace', path, value }));
    if (patch !== undefined)
      expect(finding?.command).toBe(`kubectl -n jobs patch limitrange r --type=json -p '${JSON.stringify(patch)}'`);
  });
});

test.each([
  [undefined, 'OK'],
  ['privileged', 'OK'],
  ['baseline', 'OK'],
  ['restricted', 'PROBLEM'],
])('pod security %s with a baseline type: %s', (level, state) => {
  expect(judgePodSecurity(level, shapes, 'jobs').state).toBe(state);
  expect(judgePodSecurity(level, shapesOf(testConfig()), 'jobs').state).toBe('OK');
});
