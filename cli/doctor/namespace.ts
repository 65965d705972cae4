/** What the namespace itself would refuse: its Pod Security level, quotas and limit ranges against the task types. */

import { quantity } from '../../lib/quantity.ts';
import type { Config, TaskPolicy } from '../../operator/config.ts';
import { manifest } from '../../operator/jobs/manifest.ts';
import { ask } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import type { MaybeCiType } from './ci.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';
import { askable } from './may.ts';

const LEVEL = 'pod-security.kubernetes.io/enforce';

/** A namespace's quota, as far as it is read. */
export interface ResourceQuota {
  readonly metadata?: { readonly name?: string };
  readonly spec?: {
    readonly hard?: Readonly<Record<string, string>>;
    readonly scopes?: readonly string[];
    readonly scopeSelector?: unknown;
  };
  readonly status?: { readonly used?: Readonly<Record<string, string>> };
}

/** A namespace's limit range, as far as it is read. */
export interface LimitRange {
  readonly metadata?: { readonly name?: string };
  readonly spec?: { readonly limits?: readonly Limit[] };
}
interface Limit {
  readonly type?: string;
  readonly max?: Quantities;
  readonly min?: Quantities;
  readonly default?: Quantities;
}
type Quantities = Readonly<Record<string, string>>;

/** What one container of a task asks for. */
interface Asked {
  readonly requests: Quantities;
  readonly limits: Quantities;
}

/** A task type with the resources of its pod, as it is rendered. */
export interface TaskShape {
  readonly type: string;
  readonly security: TaskPolicy['security'];
  readonly containers: readonly Asked[];
}

/** Looks at the namespace. */
export async function examineNamespace(
  cluster: Cluster,
  user: string | undefined,
  config: Config | undefined,
): Promise<readonly Finding[]> {
  if (config === undefined)
    return [unknown('namespace', 'what tasks ask of it is not known without the configuration')];
  const { namespace } = cluster;
  const shapes = shapesOf(config);
  const read = async <T>(check: string, resource: string, path: string, judge: (answer: T) => readonly Finding[]) => {
    const answer = await ask(cluster.api.request({ method: 'GET', path }));
    if (answer.ok) return judge(answer.value as T);
    const verbs = [resource === 'namespaces' ? 'get' : 'list'];
    return [askable(check, answer.error, namespace, user, { group: '', resource, verbs })];
  };
  const at = `/api/v1/namespaces/${namespace}`;
  const limits: LimitRange[] = [];
  const ofLimits = await read<{ items?: LimitRange[] }>('limit range', 'limitranges', `${at}/limitranges`, (list) => {
    limits.push(...(list.items ?? []));
    return judgeLimitRanges(limits, shapes, namespace);
  });
  return [
    ...(await read<{ metadata?: { labels?: Quantities } }>('pod security', 'namespaces', at, ({ metadata }) => [
      judgePodSecurity(metadata?.labels?.[LEVEL], shapes, namespace),
    ])),
    ...(await read<{ items?: ResourceQuota[] }>('quota', 'resourcequotas', `${at}/resourcequotas`, ({ items = [] }) =>
      judgeQuotas(items, shapes, defaultsOf(limits), namespace),
    )),
    ...ofLimits,
  ];
}

/**
 * The pods of all task types, as the operator renders them: a pod template of a type may change what its settings say. Those of CI types are
 * made for a build, often elsewhere, and not among them.
 */
export function shapesOf(config: Config): readonly TaskShape[] {
  const { namespace, instance, installation, hash, policies, storage } = config;
  const message = { id: 'doctor', popReceipt: 'none', dequeueCount: 1, insertedOn: 0, expiresOn: 0, leaseUntil: 0 };
  const isOther = ({ ci }: MaybeCiType) => ci === undefined;
  return [...policies.values()].filter(isOther).map((policy) => {
    const job = manifest(
      {
        account: storage.account,
        queue: 'doctor-tasks',
        client: 'doctor',
        message,
        taskId: 'doctor',
        taskType: policy.type,
        taskData: '{}',
        encoding: 'plain',
        webhookUrl: undefined,
      },
      policy,
      { namespace, instance, installation, configHash: hash },
    );
    const containers = job.spec?.template.spec?.containers ?? [];
    return {
      type: policy.type,
      security: policy.security,
      containers: containers.map(({ resources }) => ({
        requests: resources?.requests ?? {},
        limits: resources?.limits ?? {},
      })),
    };
  });
}

/** @param level the namespace's enforced level; undefined when it names none */
export function judgePodSecurity(level: string | undefined, shapes: readonly TaskShape[], namespace: string): Finding {
  const check = 'pod security';
  const needy = shapes.filter(({ security }) => security === 'baseline').map(({ type }) => type);
  if (level === 'restricted' && needy.length > 0)
    return problem(
      check,
      `${namespace} enforces restricted, and ${listed(needy, 'task type')} ${needy.length === 1 ? 'has' : 'have'} security: baseline, so their pods are refused. Lower the level, or take the setting away`,
      kubectl(namespace, 'label', 'namespace', namespace, `${LEVEL}=baseline`, '--overwrite'),
    );
  if (level === undefined)
    return ok(check, `${namespace} enforces no level of its own (a default of the cluster would not be seen here)`);
  return ok(
    check,
    `${namespace} enforces ${level}, which ${needy.length === 0 ? 'every task type meets: restricted' : `allows ${listed(needy, 'task type')} to be baseline`}`,
  );
}

const SCOPES_THAT_APPLY: readonly string[] = ['Terminating', 'NotBestEffort'];
const SHORT: Readonly<Record<string, string>> = {
  cpu: 'requests.cpu',
  memory: 'requests.memory',
  'ephemeral-storage': 'requests.ephemeral-storage',
};

/**
 * Whether one task of each type fits into each quota.
 *
 * @param defaults limits that a limit range gives to containers without any
 */
export function judgeQuotas(
  quotas: readonly ResourceQuota[],
  shapes: readonly TaskShape[],
  defaults: Quantities,
  namespace: string,
): readonly Finding[] {
  const check = 'quota';
  if (quotas.length === 0) return [ok(check, `${namespace} has none`)];
  return quotas.map(({ metadata, spec, status }) => {
    const name = metadata?.name ?? '';
    if (spec?.scopeSelector !== undefined)
      return unknown(check, `${name} is for pods of some priority class or scope, which is not judged here`);
    // A task's pod has a deadline (Terminating) and requests (NotBestEffort).
    if ((spec?.scopes ?? []).some((scope) => !SCOPES_THAT_APPLY.includes(scope)))
      return ok(check, `${name} is for other pods than tasks'`);
    const used = status?.used ?? {};
    const raised: Record<string, string> = {};
    const full: string[] = [];
    const removed: string[] = [];
    for (const [key, hard] of Object.entries(spec?.hard ?? {})) {
      const needs = shapes.map((shape) => need(key, shape, defaults));
      if (needs.includes('unlimited')) removed.push(key);
      const most = Math.max(0, ...needs.filter((one) => typeof one === 'number'));
      const limit = quantity(hard) ?? Number.POSITIVE_INFINITY;
      const taken = quantity(used[key]) ?? 0;
      if (most > limit) raised[key] = formatted(key, taken + most);
      else if (most > limit - taken) full.push(`${key} ${used[key]} of ${hard}`);
    }
    if (removed.length > 0)
      return problem(
        check,
        `${name} demands ${removed.join(', ')} of every pod, which not all of a task's containers set (Slipway sets no CPU limit): each is refused. Take it out of the quota, or set a default by a limit range`,
        kubectl(
          namespace,
          'patch',
          'resourcequota',
          name,
          '--type=json',
          '-p',
          JSON.stringify(removed.map((key) => ({ op: 'remove', path: `/spec/hard/${key.replaceAll('/', '~1')}` }))),
        ),
      );
    if (Object.keys(raised).length > 0) {
      const small = Object.keys(raised).map((key) => `${key} ${spec?.hard?.[key]}`);
      return problem(
        check,
        `${name} allows ${small.join(', ')}, less than one task asks for: none of that type ever starts. Raise it at least this far, or lower defaults.resources`,
        kubectl(
          namespace,
          'patch',
          'resourcequota',
          name,
          '--type=merge',
          '-p',
          JSON.stringify({ spec: { hard: raised } }),
        ),
      );
    }
    if (full.length > 0)
      return unknown(
        check,
        `${name} has no room for one more task now (${full.join(', ')}). Where tasks use it up, they wait for each other; where something else does, none starts`,
      );
    return ok(check, `${name} has room for a task of every type`);
  });
}

/** What a task takes of a quota's key; `unlimited`: it has no limit where the quota demands one; undefined: the key is not about it. */
function need(key: string, { containers }: TaskShape, defaults: Quantities): number | 'unlimited' | undefined {
  if (key === 'pods' || key === 'count/pods' || key === 'count/jobs.batch') return 1;
  const [, kind, resource = ''] = /^(requests|limits)\.(.+)$/.exec(SHORT[key] ?? key) ?? [];
  if (kind === undefined) return undefined;
  let sum = 0;
  for (const { requests, limits } of containers) {
    const limit = limits[resource] ?? defaults[resource];
    const value = kind === 'limits' ? limit : (requests[resource] ?? limit);
    if (value === undefined && (resource === 'cpu' || resource === 'memory')) return 'unlimited';
    sum += quantity(value) ?? 0;
  }
  return sum;
}

function formatted(key: string, amount: number): string {
  if (key.endsWith('cpu')) return `${Math.ceil(amount * 1000)}m`;
  return key.endsWith('memory') || key.endsWith('storage')
    ? `${Math.ceil(amount / 2 ** 20)}Mi`
    : String(Math.ceil(amount));
}

function defaultsOf(ranges: readonly LimitRange[]): Quantities {
  const limits = ranges.flatMap(({ spec }) => spec?.limits ?? []).filter(({ type }) => type === 'Container');
  return Object.assign({}, ...limits.map((limit) => limit.default ?? {})) as Quantities;
}

/** Whether a task of each type is within each limit range. */
export function judgeLimitRanges(
  ranges: readonly LimitRange[],
  shapes: readonly TaskShape[],
  namespace: string,
): readonly Finding[] {
  const check = 'limit range';
  if (ranges.length === 0) return [ok(check, `${namespace} has none`)];
  return ranges.map(({ metadata, spec }) => {
    const name = metadata?.name ?? '';
    const faults: string[] = [];
    const changes = new Map<string, string>();
    (spec?.limits ?? []).forEach((limit, at) => {
      for (const fault of faultsOf(limit, shapes)) {
        faults.push(fault.text);
        changes.set(`/spec/limits/${at}/${fault.field}/${fault.resource}`, fault.value);
      }
    });
    if (faults.length === 0) return ok(check, `${name} allows a task of every type`);
    const patch = [...changes].map(([path, value]) => ({ op: 'replace', path, value }));
    return problem(
      check,
      `${name}: ${[...new Set(faults)].join('; ')}. Pods of such tasks are refused`,
      kubectl(namespace, 'patch', 'limitrange', name, '--type=json', '-p', JSON.stringify(patch)),
    );
  });
}

interface Fault {
  readonly text: string;
  readonly field: 'max' | 'min' | 'default';
  readonly resource: string;
  /** What the field would have to be. */
  readonly value: string;
}

function faultsOf(limit: Limit, shapes: readonly TaskShape[]): readonly Fault[] {
  if (limit.type !== 'Container' && limit.type !== 'Pod') return [];
  const faults: Fault[] = [];
  const most: Record<string, string> = {};
  const least: Record<string, string> = {};
  for (const { containers } of shapes) {
    const parts = limit.type === 'Pod' ? [summed(containers)] : containers;
    for (const { requests, limits } of parts)
      for (const values of [requests, limits])
        for (const [resource, value] of Object.entries(values)) {
          if (amount(value) > amount(most[resource])) most[resource] = value;
          if (least[resource] === undefined || amount(value) < amount(least[resource])) least[resource] = value;
        }
  }
  const whom = limit.type === 'Pod' ? 'a pod' : 'a container';
  for (const [resource, value] of Object.entries(most)) {
    const max = limit.max?.[resource];
    if (max !== undefined && amount(value) > amount(max))
      faults.push({
        text: `allows ${whom} at most ${resource} ${max}, and a task asks for ${value}`,
        field: 'max',
        resource,
        value,
      });
    // A container without a limit gets this one, and a limit below the request is refused.
    const given = limit.type === 'Container' ? limit.default?.[resource] : undefined;
    const limited = shapes.every(({ containers }) => containers.every(({ limits }) => limits[resource] !== undefined));
    if (given !== undefined && !limited && amount(value) > amount(given))
      faults.push({
        text: `gives a container the limit ${resource} ${given}, less than the ${value} that a task asks for`,
        field: 'default',
        resource,
        value,
      });
  }
  for (const [resource, value] of Object.entries(least)) {
    const min = limit.min?.[resource];
    if (min !== undefined && amount(value) < amount(min))
      faults.push({
        text: `demands at least ${resource} ${min}, and a task asks for ${value}`,
        field: 'min',
        resource,
        value,
      });
  }
  return faults;
}

function summed(containers: readonly Asked[]): Asked {
  const [only] = containers;
  if (containers.length === 1 && only !== undefined) return only;
  const sum = (of: (one: Asked) => Quantities) => {
    const total: Record<string, number> = {};
    for (const one of containers)
      for (const [resource, value] of Object.entries(of(one))) total[resource] = (total[resource] ?? 0) + amount(value);
    return Object.fromEntries(Object.entries(total).map(([resource, value]) => [resource, formatted(resource, value)]));
  };
  return { requests: sum(({ requests }) => requests), limits: sum(({ limits }) => limits) };
}

function amount(value: string | undefined): number {
  return quantity(value) ?? 0;
}

function listed(names: readonly string[], what: string): string {
  return `${what}${names.length === 1 ? '' : 's'} ${names.join(', ')}`;
}
