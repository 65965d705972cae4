/** What an operator asked the API server for, as the server's audit log has it: who asked, what, and when. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** Each request of the namespaces, without its body. Nothing is written before the answer. */
export function auditPolicy(namespaces: readonly string[]): object {
  return {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [{ level: 'Metadata', namespaces }, { level: 'None' }],
  };
}

/** A request. */
export interface ApiRequest {
  /** Such as `create jobs`, `patch jobs`, `watch pods`, `create jobs (dry run)`. */
  readonly operation: string;
  readonly user: string;
  /** Milliseconds since the epoch: when it came, and when it was answered. */
  readonly at: number;
  readonly answeredAt: number;
  readonly status: number;
}

interface AuditEvent {
  readonly verb?: string;
  readonly stage?: string;
  readonly requestURI?: string;
  readonly user?: { readonly username?: string };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp?: string;
  readonly stageTimestamp?: string;
}

/** The request that a line tells of; undefined for a line that tells of none, or only of a watch's beginning. */
export function requestOf(line: string): ApiRequest | undefined {
  const event = JSON.parse(line) as AuditEvent;
  const { verb = '', objectRef, requestURI = '' } = event;
  // A watch is told of when it begins, any other request when it is answered.
  if (event.stage !== (verb === 'watch' ? 'ResponseStarted' : 'ResponseComplete')) return undefined;
  const resource = [objectRef?.resource, objectRef?.subresource].filter(Boolean).join('/');
  return {
    operation: `${verb} ${resource}${requestURI.includes('dryRun=') ? ' (dry run)' : ''}`,
    user: event.user?.username ?? '',
    at: Date.parse(event.requestReceivedTimestamp ?? ''),
    answeredAt: Date.parse(event.stageTimestamp ?? ''),
    status: event.responseStatus?.code ?? 0,
  };
}

/** All requests of a user that came within a time. */
export async function readRequests(
  file: string,
  user: string,
  { from, until }: { readonly from: number; readonly until: number },
): Promise<readonly ApiRequest[]> {
  const requests: ApiRequest[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    // The last line may be half written.
    if (!line.includes(`"${user}"`) || !line.endsWith('}')) continue;
    const request = requestOf(line);
    if (request?.user === user && request.at >= from && request.at <= until) requests.push(request);
  }
  return requests;
}

const READS = ['get', 'list', 'watch'];

/** Whether it was to change something. */
export function isWrite({ operation }: ApiRequest): boolean {
  return !READS.includes(operation.split(' ')[0] ?? '') && !operation.endsWith('(dry run)');
}

/** How often each was asked for, the most frequent first. */
export function counted(operations: readonly string[]): readonly (readonly [operation: string, count: number])[] {
  return [...Map.groupBy(operations, (operation) => operation)]
    .map(([operation, all]) => [operation, all.length] as const)
    .toSorted(([, a], [, b]) => b - a);
}
