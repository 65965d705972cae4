/** The API server's audit log: what is written into it, and what it tells of Jobs, pods and leaders. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { ANNOTATION, LABEL, STATE } from '#/contract/identity.ts';
import { fromIso } from '#/lib/clock.ts';
import type { Leader } from '#/testing/chaos/handovers.ts';
import type { JobVersion, PodStep } from '#/testing/chaos/history.ts';

/**
 * A policy under which each write of a Job, and what matters of its pods, is logged with the object that came of it.
 * Nothing is logged before the write is done.
 */
export function auditPolicy(namespace: string): object {
  const whole = (group: string, resources: readonly string[], verbs: readonly string[]) => ({
    level: 'RequestResponse',
    namespaces: [namespace],
    verbs,
    resources: [{ group, resources }],
  });
  return {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived', 'ResponseStarted'],
    omitManagedFields: true,
    rules: [
      whole('batch', ['jobs', 'jobs/status'], ['create', 'update', 'patch', 'delete', 'deletecollection']),
      whole('', ['pods'], ['create', 'delete']),
      whole('', ['pods/status'], ['patch', 'update']),
      whole('coordination.k8s.io', ['leases'], ['create', 'update', 'patch']),
      { level: 'None' },
    ],
  };
}

/** The parts of a Job's, a pod's or a Lease's JSON that are read. */
export interface RawObject {
  readonly kind?: string;
  readonly metadata?: {
    readonly name?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind?: string; readonly uid?: string }[];
  };
  readonly spec?: { readonly suspend?: boolean; readonly parallelism?: number; readonly holderIdentity?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type?: string;
      readonly status?: string;
      readonly lastTransitionTime?: string;
    }[];
  };
}

interface AuditEvent {
  readonly stage?: string;
  readonly verb?: string;
  readonly requestURI?: string;
  readonly user?: { readonly username?: string };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly responseObject?: RawObject;
  readonly requestReceivedTimestamp?: string;
  readonly stageTimestamp?: string;
}

/** What an audit log tells. */
export interface Audit {
  readonly jobs: readonly JobVersion[];
  readonly pods: readonly PodStep[];
  /** Creates of Jobs that the API server refused because the name was taken. */
  readonly conflicts: number;
  /** Who led, one after the other, and since when. */
  readonly leaders: readonly Leader[];
  /** Lines that a killed server has left half written. */
  readonly broken: number;
}

/** Reads an audit log. */
export async function readAudit(file: string): Promise<Audit> {
  const jobs: JobVersion[] = [];
  const pods: PodStep[] = [];
  const leaders: Leader[] = [];
  let [conflicts, broken] = [0, 0];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const event = parse(line);
    if (event === undefined) {
      broken++;
      continue;
    }
    // What a dry run "creates" never was.
    if (event.stage !== 'ResponseComplete' || event.requestURI?.includes('dryRun=')) continue;
    const { verb, objectRef, responseObject: object } = event;
    const code = event.responseStatus?.code ?? 0;
    if (objectRef?.resource === 'jobs' && verb === 'create' && code === 409) conflicts++;
    if (code < 200 || code > 299 || object?.metadata?.uid === undefined) continue;
    if (objectRef?.resource === 'jobs') jobs.push(jobOf(event, object));
    else if (objectRef?.resource === 'leases') {
      const holder = object.spec?.holderIdentity ?? '';
      const since = fromIso(event.stageTimestamp) ?? Number.NaN;
      if (holder !== '' && holder !== leaders.at(-1)?.holder) leaders.push({ holder, since });
    } else pods.push(...podOf(event, object));
  }
  return { jobs, pods, leaders, conflicts, broken };
}

/** A Job as it is found, without a write of which anything is known. */
export function foundJob(object: RawObject, at: number): JobVersion {
  return version(object, { write: 'found', by: '', askedAt: at, answeredAt: at, gone: false });
}

function jobOf(event: AuditEvent, object: RawObject): JobVersion {
  const { verb = '', objectRef } = event;
  return version(object, {
    write: objectRef?.subresource === undefined ? verb : `${verb} ${objectRef.subresource}`,
    by: event.user?.username ?? '',
    askedAt: fromIso(event.requestReceivedTimestamp) ?? Number.NaN,
    answeredAt: fromIso(event.stageTimestamp) ?? Number.NaN,
    gone: verb.startsWith('delete') && (object.metadata?.finalizers ?? []).length === 0,
  });
}

function version(
  { metadata, spec, status }: RawObject,
  write: Pick<JobVersion, 'write' | 'by' | 'askedAt' | 'answeredAt' | 'gone'>,
): JobVersion {
  const final = status?.conditions?.find(
    (condition) => condition.status === 'True' && (condition.type === 'Complete' || condition.type === 'Failed'),
  );
  return {
    ...write,
    uid: metadata?.uid ?? '',
    name: metadata?.name ?? '',
    messageId: metadata?.annotations?.[ANNOTATION.messageId],
    revision: Number(metadata?.resourceVersion),
    createdAt: fromIso(metadata?.creationTimestamp) ?? Number.NaN,
    heldBack: spec?.suspend === true || spec?.parallelism === 0,
    end: final && (final.type === 'Complete' ? 'completed' : 'failed'),
    endedAt: fromIso(final?.lastTransitionTime),
    settled: metadata?.labels?.[LABEL.state] === STATE.settled,
  };
}

function podOf({ verb, requestReceivedTimestamp, stageTimestamp }: AuditEvent, object: RawObject): PodStep[] {
  const pod = object.metadata?.name ?? '';
  const jobUid = object.metadata?.ownerReferences?.find(({ kind }) => kind === 'Job')?.uid;
  if (jobUid === undefined) return [];
  if (verb === 'create') return [{ pod, jobUid, step: 'created', at: fromIso(stageTimestamp) ?? Number.NaN }];
  const over = verb === 'delete' || /^(Succeeded|Failed)$/.test(object.status?.phase ?? '');
  return over ? [{ pod, jobUid, step: 'over', at: fromIso(requestReceivedTimestamp) ?? Number.NaN }] : [];
}

function parse(line: string): AuditEvent | undefined {
  try {
    return JSON.parse(line) as AuditEvent;
  } catch {
    return undefined;
  }
}
