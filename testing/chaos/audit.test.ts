import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readAudit } from '#/testing/chaos/audit.ts';

const T = '2026-01-01T00:00:0';

/** An event as the API server writes it, less what is not read. */
function event(verb: string, resource: string, code: number, object: object, changes: object = {}): object {
  const [name, subresource] = resource.split('/');
  return {
    stage: 'ResponseComplete',
    verb,
    requestURI: `/apis/any/${resource}`,
    user: { username: 'somebody' },
    objectRef: { resource: name, ...(subresource && { subresource }) },
    responseStatus: { code },
    responseObject: object,
    requestReceivedTimestamp: `${T}1.250000Z`,
    stageTimestamp: `${T}1.500000Z`,
    ...changes,
  };
}

const job = (resourceVersion: string, more: object = {}) => ({
  kind: 'Job',
  metadata: {
    name: 'acme-echo-x',
    uid: 'uid-1',
    resourceVersion,
    creationTimestamp: `${T}1Z`,
    labels: { 'slipway.dev/state': 'active' },
    annotations: { 'slipway.dev/message-id': 'm-1' },
  },
  spec: { suspend: false, parallelism: 1 },
  ...more,
});
const pod = (phase: string) => ({
  kind: 'Pod',
  metadata: { name: 'p', uid: 'uid-p', ownerReferences: [{ kind: 'Job', uid: 'uid-1' }] },
  status: { phase },
});

async function read(...lines: readonly (object | string)[]) {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-audit-'));
  const file = join(directory.path, 'audit.log');
  await writeFile(file, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return readAudit(file);
}

test('each write of a Job is a version of it, as it was then', async () => {
  const complete = { status: { conditions: [{ type: 'Complete', status: 'True', lastTransitionTime: `${T}2Z` }] } };
  const { jobs } = await read(
    event('create', 'jobs', 201, job('10')),
    event('patch', 'jobs', 200, job('11', { spec: { suspend: true } })),
    event('update', 'jobs/status', 200, job('12', complete)),
  );
  const at = Date.parse(`${T}1Z`);
  expect(jobs).toMatchObject([
    { write: 'create', revision: 10, messageId: 'm-1', createdAt: at, askedAt: at + 250, answeredAt: at + 500 },
    { write: 'patch', revision: 11, heldBack: true, end: undefined },
    { write: 'update status', revision: 12, heldBack: false, end: 'completed', endedAt: at + 1000, settled: false },
  ]);
});

test('what was refused or only tried is no version; a name that was taken is counted', async () => {
  const status = { kind: 'Status' };
  const { jobs, conflicts } = await read(
    event('create', 'jobs', 409, status),
    event('create', 'jobs', 403, status),
    event('create', 'jobs', 201, job('0'), { requestURI: '/apis/batch/v1/namespaces/chaos/jobs?dryRun=All' }),
    event('create', 'jobs', 201, job('10'), { stage: 'RequestReceived' }),
  );
  expect(jobs).toEqual([]);
  expect(conflicts).toBe(1);
});

test('a line that a killed server has left half written is counted, and the others are read', async () => {
  const audit = await read(
    event('create', 'jobs', 201, job('10')),
    '{"stage":"Resp',
    event('patch', 'jobs', 200, job('11')),
  );
  expect(audit.broken).toBe(1);
  expect(audit.jobs.map(({ revision }) => revision)).toEqual([10, 11]);
});

test('who led is told by the writes of the Lease', async () => {
  const lease = (holderIdentity: string) => ({ metadata: { name: 'l', uid: 'uid-l' }, spec: { holderIdentity } });
  const { leaders } = await read(
    event('create', 'leases', 201, lease('a')),
    event('update', 'leases', 200, lease('a')),
    event('update', 'leases', 200, lease('')),
    event('update', 'leases', 409, lease('c')),
    event('update', 'leases', 200, lease('b')),
    event('update', 'leases', 200, lease('a')),
  );
  const since = Date.parse(`${T}1.500Z`);
  expect(leaders).toEqual(['a', 'b', 'a'].map((holder) => ({ holder, since })));
});

test('a pod lives from its create to its last phase, or to its deletion', async () => {
  const { pods } = await read(
    event('create', 'pods', 201, pod('Pending')),
    event('patch', 'pods/status', 200, pod('Running')),
    event('patch', 'pods/status', 200, pod('Succeeded')),
    event('delete', 'pods', 200, pod('Running')),
  );
  expect(pods.map(({ step, jobUid }) => [step, jobUid])).toEqual([
    ['created', 'uid-1'],
    ['over', 'uid-1'],
    ['over', 'uid-1'],
  ]);
});
