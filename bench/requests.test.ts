import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { counted, isWrite, readRequests } from './requests.ts';

const USER = 'system:serviceaccount:bench:slipway';

/** As the API server writes them. */
function event(verb: string, resource: string, at: number, more: object = {}): string {
  return JSON.stringify({
    kind: 'Event',
    level: 'Metadata',
    stage: 'ResponseComplete',
    requestURI: `/apis/batch/v1/namespaces/bench/${resource}`,
    verb,
    user: { username: USER },
    objectRef: { resource },
    responseStatus: { code: 200 },
    requestReceivedTimestamp: new Date(at).toISOString(),
    stageTimestamp: new Date(at + 5).toISOString(),
    ...more,
  });
}

test('counts what one user asked for within a time, a watch when it begins, and a dry run as no write', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-audit-'));
  const file = join(directory.path, 'audit.log');
  await writeFile(
    file,
    [
      event('create', 'jobs', 1000),
      event('create', 'jobs', 1500, { requestURI: '/apis/batch/v1/namespaces/bench/jobs?dryRun=All' }),
      event('patch', 'jobs', 2000),
      event('patch', 'jobs', 2001),
      event('watch', 'pods', 2500, { stage: 'ResponseStarted' }),
      event('watch', 'pods', 2500),
      event('create', 'jobs', 2600, { user: { username: 'system:serviceaccount:bench:other' } }),
      event('create', 'jobs', 9000),
      '{"half": "wri',
    ].join('\n'),
  );
  const requests = await readRequests(file, USER, { from: 1000, until: 5000 });
  expect(counted(requests.map(({ operation }) => operation))).toEqual([
    ['patch jobs', 2],
    ['create jobs', 1],
    ['create jobs (dry run)', 1],
    ['watch pods', 1],
  ]);
  expect(counted(requests.filter(isWrite).map(({ operation }) => operation))).toEqual([
    ['patch jobs', 2],
    ['create jobs', 1],
  ]);
  expect(requests[0]).toMatchObject({ at: 1000, answeredAt: 1005, status: 200 });
});
