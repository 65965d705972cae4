import { expect, test } from 'vitest';
import { type ErrorKind, ServiceError } from '../../lib/errors.ts';
import { storageAccess } from '../../queue/access.ts';
import type { QueueInspector } from '../../queue/inspect.ts';
import { examineStorage, type StorageQuestion } from './storage.ts';

const NOW = Date.UTC(2026, 0, 1);
const KEY = 'AccountName=acme;AccountKey=c2VjcmV0';
const SAS = 'sp=rlacup&ss=q&srt=sco&se=2026-06-01T00:00:00Z';

function accessOf(credentials: string) {
  const access = credentials.startsWith('Account')
    ? storageAccess(credentials, undefined)
    : storageAccess(undefined, `https://acme.queue.core.windows.net/?${credentials}&sig=c2VjcmV0`);
  if (access.kind === 'invalid') throw new Error(access.problem);
  return access;
}

/** Answers with queues and their counts; a call named in `fails` with an error of that kind. */
function inspector(
  queues: Readonly<Record<string, number>>,
  fails: Partial<Record<'list' | 'count' | 'peek', ErrorKind>> = {},
): QueueInspector {
  const fail = (call: 'list' | 'count' | 'peek') => {
    const kind = fails[call];
    if (kind !== undefined) throw new ServiceError(kind, 'Code', `could not ${call}`);
  };
  return {
    list: async () => {
      fail('list');
      return Object.keys(queues);
    },
    count: async (queue) => {
      fail('count');
      const count = queues[queue];
      if (count === undefined) throw new ServiceError('not-found', 'QueueNotFound', 'not there');
      return count;
    },
    peek: async () => fail('peek'),
    time: async () => undefined,
  };
}

async function examined(
  credentials: string,
  looking: QueueInspector,
  queues: readonly string[] | undefined = ['acme-tasks'],
  isOfEnvironment = true,
  discovery?: StorageQuestion['discovery'],
) {
  const access = accessOf(credentials);
  return examineStorage({ access, inspector: looking, queues, discovery, isOfEnvironment, now: NOW });
}
const states = (findings: Awaited<ReturnType<typeof examined>>) =>
  findings.map(({ check, state }) => `${check}: ${state}`);

test('an account key and its queues', async () => {
  const findings = await examined(KEY, inspector({ 'acme-tasks': 1, 'acme-tasks-poison': 3 }));
  expect(states(findings)).toEqual(['storage account: OK', 'queue rights: OK', 'queue acme-tasks: OK', 'messages: OK']);
  expect(findings[2]?.detail).toBe('about 1 message; poisoned: 3, see slipway poison list acme-tasks');
});

const DISCOVERY: NonNullable<StorageQuestion['discovery']> = {
  include: ['*-tasks'],
  exclude: ['test-*'],
  encoding: 'auto',
  intervalSeconds: 15,
};

test('queues that are found are looked at like those that are named', async () => {
  const there = { 'acme-tasks': 1, 'acme-tasks-poison': 0, 'globex-tasks': 2, 'test-tasks': 9 };
  const findings = await examined(KEY, inspector(there), ['acme-tasks'], true, DISCOVERY);
  expect(states(findings)).toEqual([
    'storage account: OK',
    'queue rights: OK',
    'discovery: OK',
    'queue acme-tasks: OK',
    'messages: OK',
    'queue globex-tasks: OK',
  ]);
  expect(findings[2]?.detail).toBe('2 queues of acme fit *-tasks and not test-*');
});

test('of very many queues that are found some are looked at, and that is said', async () => {
  const there = Object.fromEntries(Array.from({ length: 25 }, (_, at) => [`client-${at}-tasks`, 0]));
  const findings = await examined(KEY, inspector(there), ['acme-tasks'], true, DISCOVERY);
  expect(findings.filter(({ check }) => check.startsWith('queue client-'))).toHaveLength(20);
  expect(findings.find(({ check }) => check === 'queues')?.detail).toBe(
    'of those found the first 20 are looked at, and 5 are not',
  );
});

test('that no queue is found is no fault yet; that none can be found is one', async () => {
  const none = await examined(KEY, inspector({ 'test-tasks': 9 }), [], true, DISCOVERY);
  expect(none.at(-1)).toMatchObject({ check: 'discovery', state: 'UNKNOWN' });
  const blind = await examined(SAS, inspector({}, { list: 'forbidden' }), [], true, DISCOVERY);
  expect(blind.at(-1)).toMatchObject({ check: 'discovery', state: 'PROBLEM' });
  expect(blind.at(-1)?.command).toContain('az storage account generate-sas');
});

test.each([
  [KEY, true, '--connection-string "$AZURE_STORAGE_CONNECTION_STRING"'],
  [KEY, false, '--account-name acme --auth-mode login'],
  [SAS, true, '--account-name acme --auth-mode login'],
])('a queue that is not there (%s, of the environment: %s)', async (credentials, isOfEnvironment, by) => {
  const findings = await examined(credentials, inspector({}), ['acme-tasks'], isOfEnvironment);
  expect(findings.at(-1)).toMatchObject({
    state: 'PROBLEM',
    command: `az storage queue create --name acme-tasks ${by}`,
  });
});

test.each([
  ['sp=rlacup&ss=q&srt=sco&se=2025-12-01T00:00:00Z', 'PROBLEM', 'ended 2025-12-01'],
  ['sp=rlacup&ss=q&srt=sco&se=2026-01-03T00:00:00Z', 'PROBLEM', 'ends soon'],
  ['sp=rl&ss=q&srt=sco&se=2026-06-01T00:00:00Z', 'PROBLEM', 'receive and delete messages'],
  ['si=policy', 'UNKNOWN', 'stored policy policy'],
  [SAS, 'OK', 'ends 2026-06-01'],
])('the rights of a SAS: %s', async (credentials, state, words) => {
  const findings = await examined(credentials, inspector({ 'acme-tasks': 0 }));
  const rights = findings.find(({ check }) => check === 'queue rights');
  expect(rights).toMatchObject({ state, detail: expect.stringContaining(words) });
  expect(JSON.stringify(findings)).not.toContain('c2VjcmV0');
});

test('a SAS that must not list, or read, is no problem by itself', async () => {
  const denied = inspector({ 'acme-tasks': 0 }, { list: 'forbidden', peek: 'forbidden' });
  expect(states(await examined(SAS, denied))).toEqual([
    'storage account: UNKNOWN',
    'queue rights: OK',
    'queue acme-tasks: OK',
    'messages: UNKNOWN',
  ]);
});

test.each(['forbidden', 'unknown'] as const)(
  'an account that answers a key with %s is asked nothing else',
  async (kind) => {
    const findings = await examined(KEY, inspector({}, { list: kind }));
    expect(states(findings)).toEqual(['storage account: PROBLEM']);
    expect(findings[0]?.command).toMatch(/^az storage account /);
  },
);

test('without the configuration the queues are unknown', async () => {
  const findings = await examineStorage({
    access: accessOf(KEY),
    inspector: inspector({}),
    queues: undefined,
    isOfEnvironment: true,
    now: NOW,
  });
  expect(states(findings).at(-1)).toBe('queues: UNKNOWN');
});
