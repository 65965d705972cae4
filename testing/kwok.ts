/**
 * Pods that "run" without a node: stages for KWOK, made from statuses that a real kubelet gave (pod-status.ts). A pod starts at once and
 * ends as its task type says.
 */
import { LABEL } from '#/contract/identity.ts';
import type { Cluster } from '#/testing/kubernetes.ts';
import { type Behaviour, type CiBehaviour, ciBehaviours, fixed, podStatus } from '#/testing/pod-status.ts';

/** How pods of a task type end, or, of one that never starts, what they wait for. */
export interface Ending {
  readonly as: Behaviour | CiBehaviour;
  /** Run time. Default: none. */
  readonly afterMs?: number;
}

/** Task types and their endings. A type that is not named runs until the test ends its pods with {@link endPod}: `flaky`. */
export const standardEndings: Readonly<Record<string, Ending>> = {
  succeed: { as: 'completed-owed' },
  deliver: { as: 'completed-delivered' },
  slow: { as: 'completed-owed', afterMs: 12_000 },
  fail: { as: 'failed' },
  timeout: { as: 'timeout' },
  permanent: { as: 'permanent' },
  oom: { as: 'oom' },
};

const alive = { key: '.metadata.deletionTimestamp', operator: 'DoesNotExist' };
const deleted = { key: '.metadata.deletionTimestamp', operator: 'Exists' };
const fresh = { key: '.status.containerStatuses', operator: 'DoesNotExist' };
const phase = (value: string) => ({ key: '.status.phase', operator: 'In', values: [value] });

function stage(name: string, matchExpressions: readonly object[], template: string, afterMs = 0): object {
  return {
    apiVersion: 'kwok.x-k8s.io/v1alpha1',
    kind: 'Stage',
    metadata: { name },
    spec: {
      resourceRef: { apiGroup: 'v1', kind: 'Pod' },
      selector: { matchExpressions },
      delay: { durationMilliseconds: afterMs },
      next: { statusTemplate: template },
    },
  };
}

/** The stages for a table of endings. */
export function stages(endings: Readonly<Record<string, Ending>> = standardEndings): object[] {
  const type = `.metadata.labels["${LABEL.taskType}"]`;
  const ci = Object.keys(endings).filter((name) => isCi(endings[name]));
  const others = [...ci, ...Object.keys(endings).filter((name) => isStuck(endings[name]))];
  const starts = others.length === 0 ? [] : [{ key: type, operator: 'NotIn', values: others }];
  const ciStarts = { key: type, operator: 'In', values: ci };
  return [
    stage('pod-start', [alive, phase('Pending'), ...starts], statusTemplate('running')),
    ...(ci.length === 0
      ? []
      : [stage('pod-start-ci', [alive, phase('Pending'), ciStarts], statusTemplate('ci-running'))]),
    stage('pod-terminate', [deleted, phase('Running')], template(terminated())),
    ...Object.entries(endings).map(([name, ending]) => {
      const { as, afterMs } = ending;
      const ofType = { key: type, operator: 'In', values: [name] };
      if (isStuck(ending))
        return stage(`pod-stuck-${name}`, [alive, phase('Pending'), fresh, ofType], statusTemplate(as));
      return stage(`pod-end-${name}`, [alive, phase('Running'), ofType], statusTemplate(as), afterMs);
    }),
  ];
}

function isStuck(ending: Ending | undefined): boolean {
  return ending !== undefined && podStatus(ending.as).phase === 'Pending';
}

function isCi(ending: Ending | undefined): boolean {
  return ciBehaviours.some((behaviour) => behaviour === ending?.as);
}

/** A recorded status as a Go template: what differs from pod to pod is filled in by KWOK. */
export function statusTemplate(behaviour: Behaviour | CiBehaviour): string {
  const isFirst = behaviour === 'running' || behaviour === 'ci-running' || isStuck({ as: behaviour });
  return template(podStatus(behaviour), isFirst ? 'Now' : '.status.startTime');
}

function template(status: object, started = '.status.startTime'): string {
  return fill(status, {
    started: `{{ ${started} | Quote }}`,
    now: '{{ Now | Quote }}',
    image: '{{ (index .spec.containers 0).image | Quote }}',
  });
}

/** What a kubelet makes of a running pod that is deleted: the record of an evicted one, less what the eviction itself wrote. */
function terminated(): object {
  const { conditions, ...status } = podStatus('evicted');
  const written = (conditions as { readonly type: string }[]).filter(({ type }) => type !== 'DisruptionTarget');
  return { ...status, conditions: written };
}

/** Ends a running pod as the test decides, at this moment. */
export async function endPod(cluster: Cluster, namespace: string, pod: string, as: Behaviour): Promise<void> {
  const path = ['-n', namespace, `pod/${pod}`];
  const { spec, status } = await cluster.get<RunningPod>(...path);
  const body = fill(podStatus(as), {
    started: JSON.stringify(status.startTime),
    now: JSON.stringify(new Date().toISOString().replace(/\.\d+Z$/, 'Z')),
    image: JSON.stringify(spec.containers[0]?.image),
  });
  await cluster.kubectl(['patch', ...path, '--subresource=status', '--type=merge', '-p', `{"status":${body}}`]);
}

interface RunningPod {
  readonly spec: { readonly containers: readonly { readonly image: string }[] };
  readonly status: { readonly startTime: string };
}

/** Replaces times and images of a recorded status by the given JSON texts. */
function fill(status: object, texts: { started: string; now: string; image: string }): string {
  const marked = JSON.stringify(status, (key, value: unknown) => {
    if (value === fixed.time) return key === 'startTime' || key === 'startedAt' ? '<started>' : '<now>';
    return value === fixed.image ? '<image>' : value;
  });
  return marked
    .replaceAll('"<started>"', texts.started)
    .replaceAll('"<now>"', texts.now)
    .replaceAll('"<image>"', texts.image);
}
