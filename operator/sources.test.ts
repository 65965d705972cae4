import { describe, expect, test } from 'vitest';
import { ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { testConfig } from '../testing/jobs.ts';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { discover } from './discover.ts';
import { LiveConfig } from './live-config.ts';
import { Sources } from './sources.ts';

const TYPES = 'taskTypes: { echo: {} }';

async function setUp(yaml: string, ...queueNames: readonly string[]) {
  const clock = new VirtualClock();
  const queues = new FakeQueues(clock);
  queues.create(...queueNames);
  const config = new LiveConfig(testConfig(`${yaml}\n${TYPES}`));
  const lines: { readonly level: string; readonly msg: string }[] = [];
  const log = createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) });
  let changes = 0;
  const sources = new Sources({ config, queues, clock, log, onChange: () => changes++ });
  const stop = new AbortController();
  const looking = sources.keepLooking(stop.signal);
  await settled();
  return {
    clock,
    queues,
    config,
    sources,
    lines,
    names: () => sources.current.map(({ queue }) => queue),
    changes: () => changes,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await looking;
      expect(clock.sleepers).toBe(0);
    },
  };
}

describe('of the queues of an account', () => {
  const all = { include: ['*-tasks'], exclude: [] as string[], intervalSeconds: 15, encoding: 'auto' as const };
  const found = (names: readonly string[], changes: object = {}) =>
    discover(names, { ...all, ...changes }).map(({ queue, client }) => `${queue} of ${client}`);

  test('those that are named {client}-tasks are taken, and no other, whatever the patterns say', () => {
    const names = ['acme-tasks', 'acme-eu-tasks', 'acme-tasks-poison', 'acme', '-tasks', `${'x'.repeat(51)}-tasks`];
    expect(found(names, { include: ['*'] })).toEqual(['acme-tasks of acme', 'acme-eu-tasks of acme-eu']);
  });

  test('those that fit a pattern are taken, unless another one leaves them out', () => {
    const names = ['acme-tasks', 'globex-tasks', 'globex-dev-tasks'];
    expect(found(names, { include: ['acme*', 'glob*'], exclude: ['*-dev-tasks'] })).toEqual([
      'acme-tasks of acme',
      'globex-tasks of globex',
    ]);
  });
});

describe('discovery', () => {
  test('finds a queue that was made within 15 s, and forgets one that is gone, quietly', async () => {
    await using at = await setUp('queues: []\ndiscovery: {}', 'acme-tasks');
    expect([at.names(), at.sources.problem]).toEqual([['acme-tasks'], undefined]);
    at.queues.create('globex-tasks');
    await at.clock.advance(15_000);
    expect(at.names()).toEqual(['acme-tasks', 'globex-tasks']);
    at.queues.drop('acme-tasks');
    await at.clock.advance(15_000);
    expect(at.names()).toEqual(['globex-tasks']);
    expect(at.lines.filter(({ level }) => level !== 'info')).toEqual([]);
    expect(at.changes()).toBeGreaterThanOrEqual(3);
  });

  test('leaves a queue that is named as it is named', async () => {
    await using at = await setUp(
      'queues: [{ name: acme-tasks, client: other, encoding: base64 }]\ndiscovery: {}',
      'acme-tasks',
      'globex-tasks',
    );
    expect(at.sources.current).toEqual([
      { queue: 'acme-tasks', client: 'other', encoding: 'base64' },
      { queue: 'globex-tasks', client: 'globex', encoding: 'auto', discovered: true },
    ]);
  });

  test('I5: while the queues cannot be listed, those that are known stay, and it is said why, once', async () => {
    await using at = await setUp('queues: []\ndiscovery: {}', 'acme-tasks');
    at.queues.before = ({ operation }) => {
      if (operation === 'list') throw new ServiceError('forbidden', 'AuthorizationPermissionMismatch', 'refused');
    };
    await at.clock.advance(120_000);
    expect(at.names()).toEqual(['acme-tasks']);
    expect(at.sources.problem).toContain('A SAS needs the right "list" on the service');
    expect(at.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
    at.queues.before = () => undefined;
    at.queues.create('globex-tasks');
    await at.clock.advance(15_000);
    expect([at.names(), at.sources.problem]).toEqual([['acme-tasks', 'globex-tasks'], undefined]);
  });

  test('lists nothing where it is not set, and begins and ends with the configuration', async () => {
    await using at = await setUp('queues: [{ name: acme-tasks }]', 'acme-tasks', 'globex-tasks');
    let lists = 0;
    at.queues.before = ({ operation }) => {
      if (operation === 'list') lists++;
    };
    await at.clock.advance(60_000);
    expect([at.names(), at.sources.problem, lists]).toEqual([['acme-tasks'], undefined, 0]);
    at.config.replace(testConfig(`queues: []\ndiscovery: { exclude: [acme*] }\n${TYPES}`));
    expect(at.sources.problem).toBe('the queues of the account were not listed yet');
    await at.clock.advance(15_000);
    expect(at.names()).toEqual(['globex-tasks']);
    at.config.replace(testConfig(`queues: [{ name: acme-tasks }]\n${TYPES}`));
    expect(at.names()).toEqual(['acme-tasks']);
  });
});
