/**
 * Candidates for leadership against a real API server, each under the chart's own Role, behind a proxy of its own, and
 * with a wall clock that is off by an hour. That two never lead is looked at all the time.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clock, systemClock } from '#/lib/clock.ts';
import { createLog } from '#/lib/log.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { LeaderElection } from '#/operator/leader.ts';
import { createLeaseStore } from '#/operator/lease-object.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { eventually } from '#/testing/eventually.ts';
import type { Fault } from '#/testing/fault-proxy.ts';
import { type ApiProxy, startApiProxy } from '#/testing/fault-servers.ts';
import { installRights } from '#/testing/installation.ts';

const NAMESPACE = 'leader';
const HOUR_MS = 3_600_000;
const NO_LIMIT = new AbortController().signal;

let resources: AsyncDisposableStack;
let cluster: ControlPlane;
/** Of the operator's own service account. */
let kubeconfig: string;
beforeAll(async () => {
  await using starting = new AsyncDisposableStack();
  cluster = starting.use(await startControlPlane());
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-test-')));
  kubeconfig = await installRights(cluster, NAMESPACE, directory.path);
  starting.defer(async () => {
    if (cluster.foreign) await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--wait=false']);
  });
  resources = starting.move();
});
afterAll(() => resources?.disposeAsync());

interface Candidate {
  readonly election: LeaderElection;
  readonly proxy: ApiProxy;
  readonly lines: { readonly level: string; readonly msg: string }[];
  /** Monotonic milliseconds of each change. */
  readonly changes: { readonly isLeading: boolean; readonly at: number }[];
}

/** Candidates for one Lease. Disposing of it ends them. */
async function startCandidates(lease: string, skewsMs: readonly number[]) {
  await using starting = new AsyncDisposableStack();
  const life = new AbortController();
  const candidates: Candidate[] = [];
  const together: string[] = [];
  const leaders = () => candidates.filter(({ election }) => election.isLeading);
  const look = () => {
    const all = leaders().map(({ election }) => candidates.findIndex((one) => one.election === election));
    if (all.length > 1) together.push(all.join(' and '));
  };
  for (const [index, skewMs] of skewsMs.entries()) {
    const proxy = starting.use(await startApiProxy(kubeconfig));
    const config = new KubeConfig();
    config.loadFromFile(proxy.kubeconfig);
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + skewMs };
    const lines: Candidate['lines'] = [];
    const changes: { isLeading: boolean; at: number }[] = [];
    const election = new LeaderElection({
      leases: createLeaseStore(createKubernetesApi(config, clock), NAMESPACE),
      name: lease,
      identity: `candidate-${index}`,
      clock,
      log: createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) }),
      onChange: (isLeading) => {
        changes.push({ isLeading, at: systemClock.monotonic() });
        look();
      },
    });
    candidates.push({ election, proxy, lines, changes });
  }
  const looking = setInterval(look, 20);
  const running = candidates.map(({ election }) => election.run(life.signal));
  starting.defer(async () => {
    life.abort();
    await Promise.all(running);
    clearInterval(looking);
  });
  const stack = starting.move();
  return {
    candidates,
    together,
    leader: () =>
      eventually(() => {
        const [leader] = leaders();
        expect(leader).toBeDefined();
        return leader!;
      }),
    others: (leader: Candidate) => candidates.filter((one) => one !== leader),
    lease: () => cluster.get<Lease>('lease', lease, '-n', NAMESPACE),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

interface Lease {
  readonly spec: {
    readonly holderIdentity: string;
    readonly leaseDurationSeconds: number;
    readonly leaseTransitions: number;
    readonly renewTime: string;
  };
}

/** When the last write of a candidate came to its proxy, which then passed it on: milliseconds since the epoch. */
function lastWrite({ proxy }: Candidate): number {
  return proxy.requests.findLast(({ method, fault }) => method !== 'GET' && fault === undefined)!.at;
}
const toEpoch = (monotonic: number) => performance.timeOrigin + monotonic;

test.concurrent.each<[how: string, fault: Fault]>([
  ['silence', { kind: 'hang' }],
  ['reset', { kind: 'reset' }],
])(
  'I6: of three, one leads; cut off by %s it stops by itself, and only then another leads, though their clocks are hours apart',
  async (how, fault) => {
    await using site = await startCandidates(`cut-${how}`, [0, -HOUR_MS, HOUR_MS]);
    const first = await site.leader();
    // Long enough for whoever believed in the others' clocks, or in the first thing it saw, to take over.
    await systemClock.sleep(20_000, NO_LIMIT);
    expect(site.candidates.flatMap(({ changes }) => changes)).toHaveLength(1);
    for (const other of site.others(first)) expect(other.election.holder).toBe(first.election.holder);

    first.proxy.use(() => fault);
    if (how === 'silence') first.proxy.silence();
    else first.proxy.resetConnections();
    const second = await eventually(() => {
      const taker = site.others(first).find(({ election }) => election.isLeading);
      expect(taker).toBeDefined();
      return taker!;
    });
    expect(first.changes.map(({ isLeading }) => isLeading)).toEqual([true, false]);
    expect(second.changes[0]!.at).toBeGreaterThan(first.changes[1]!.at);
    // However slow the machine is, that can only be later; the two clocks that are compared agree to 100 ms.
    expect(toEpoch(second.changes[0]!.at) - lastWrite(first)).toBeGreaterThan(14_900);
    expect((await site.lease()).spec).toMatchObject({
      holderIdentity: second.election.holder,
      leaseDurationSeconds: 15,
      leaseTransitions: 1,
    });

    // Back again it is a standby.
    first.proxy.use(undefined);
    first.proxy.resetConnections();
    await eventually(() => expect(first.election.holder).toBe(second.election.holder));
    expect(first.changes).toHaveLength(2);
    expect(site.together).toEqual([]);
  },
);

test.concurrent('I6: answers that are lost make no leader, and break no leadership', async () => {
  await using site = await startCandidates('lost-answers', [HOUR_MS, 0]);
  for (const { proxy } of site.candidates) {
    // Every third: of every second there would be a leader never, since each look would cost the answer to the write.
    let calls = 0;
    proxy.use(() => (calls++ % 3 === 0 ? { kind: 'lost-reply' } : undefined));
  }
  const leader = await site.leader();
  const written = async () => (await site.lease()).spec.renewTime;
  const before = await written();
  await systemClock.sleep(20_000, NO_LIMIT);
  expect(await written()).not.toBe(before);
  expect(leader.proxy.injected('lost-reply')).toBeGreaterThan(3);
  expect(site.together).toEqual([]);
  // No other took it in all that time.
  expect((await site.lease()).spec).toMatchObject({ holderIdentity: leader.election.holder, leaseTransitions: 0 });
});

test.concurrent('a release hands over at the next try of another', async () => {
  await using site = await startCandidates('released', [-HOUR_MS, HOUR_MS]);
  const first = await site.leader();
  const [second] = site.others(first);
  await eventually(() => expect(second!.election.holder).toBe(first.election.holder));
  await first.election.release(NO_LIMIT);
  expect(first.election.isLeading).toBe(false);
  await eventually(() => expect(second!.election.isLeading).toBe(true));
  // Had it waited for the Lease to run out, it would have looked seven times.
  const since = toEpoch(first.changes[1]!.at);
  const looks = second!.proxy.requests.filter(({ method, at }) => method === 'GET' && at >= since);
  expect(looks.length).toBeLessThan(5);
  expect((await site.lease()).spec).toMatchObject({ holderIdentity: second!.election.holder, leaseTransitions: 1 });
  expect(site.together).toEqual([]);
});

test.concurrent('missing rights are told by name, once, and the election goes on when they are granted', async () => {
  const namespace = 'leader-rights';
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-test-'));
  const config = new KubeConfig();
  config.loadFromFile(await installRights(cluster, namespace, directory.path));
  const role = await cluster.get<{ rules: { resources: string[] }[] }>('role', 'slipway', '-n', namespace);
  const rules = (kept: readonly object[]) =>
    cluster.kubectl([
      '-n',
      namespace,
      'patch',
      'role',
      'slipway',
      '--type=merge',
      '-p',
      JSON.stringify({ rules: kept }),
    ]);
  await rules(role.rules.filter(({ resources }) => !resources.includes('leases')));
  const api = createKubernetesApi(config, systemClock);
  const leases = createLeaseStore(api, namespace);
  // A right that is taken away takes effect a moment later.
  await eventually(() =>
    expect(leases.read('slipway', NO_LIMIT)).rejects.toMatchObject({ kind: 'forbidden', code: 'Forbidden' }),
  );
  const lines: { level: string; msg: string }[] = [];
  const log = createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) });
  const election = new LeaderElection({ leases, name: 'slipway', identity: 'a', clock: systemClock, log });
  const life = new AbortController();
  const running = election.run(life.signal);
  await eventually(() => expect(lines).toHaveLength(1));
  await systemClock.sleep(5000, NO_LIMIT);
  expect(lines).toMatchObject([{ level: 'error', msg: expect.stringContaining('get leases in coordination.k8s.io') }]);
  expect(election.isLeading).toBe(false);
  await rules(role.rules);
  await eventually(() => expect(election.isLeading).toBe(true));
  life.abort();
  await running;
  await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
});
