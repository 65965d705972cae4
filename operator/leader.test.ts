import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { FakeLeases, type LeaseWire } from '../testing/fake-leases.ts';
import { SkewedClock, VirtualClock } from '../testing/virtual-clock.ts';
import { LeaderElection } from './leader.ts';
import type { LeaseStore, LeaseTerms } from './lease-object.ts';

const NAME = 'slipway';
const HOUR_MS = 3_600_000;

/** A process that would lead: its clock, its wire, and what it said. */
interface Candidate {
  readonly election: LeaderElection;
  readonly clock: SkewedClock;
  readonly wire: LeaseWire;
  /** Calls, such as "replace". */
  readonly calls: string[];
  /** What `onChange` was told, with its moment in monotonic milliseconds. */
  readonly changes: (readonly [isLeading: boolean, at: number])[];
  readonly lines: { readonly level: string; readonly msg: string }[];
  /** Starts `run`. */
  start(): Promise<void>;
  /** Ends `run`, as a stop or a crash does. */
  stop(): void;
}

/** Candidates on one virtual time; none is started. */
function setUp() {
  const time = new VirtualClock();
  const leases = new FakeLeases();
  const candidates: Candidate[] = [];
  /** Who led together with another, if ever. */
  const together: string[][] = [];
  const leaders = () => candidates.filter(({ election }) => election.isLeading);
  const look = () => {
    if (leaders().length > 1) together.push(candidates.map(({ election }) => String(election.isLeading)));
  };
  const candidate = (identity: string, skewMs = 0): Candidate => {
    const clock = new SkewedClock(time);
    clock.skewMs = skewMs;
    const lines: Candidate['lines'] = [];
    const calls: string[] = [];
    const changes: [boolean, number][] = [];
    const wire: LeaseWire = { before: () => undefined, after: () => undefined };
    const election = new LeaderElection({
      leases: leases.client({
        before: (operation) => {
          calls.push(operation);
          return wire.before(operation);
        },
        after: (operation) => wire.after(operation),
      }),
      name: NAME,
      identity,
      clock,
      log: createLog('info', {}, { write: (line: string) => lines.push(JSON.parse(line)) }),
      onChange: (isLeading) => {
        changes.push([isLeading, time.monotonic()]);
        look();
      },
    });
    const life = new AbortController();
    onTestFinished(() => life.abort());
    const start = () => election.run(life.signal);
    const made = { election, clock, wire, calls, changes, lines, start, stop: () => life.abort() };
    candidates.push(made);
    return made;
  };
  const started = (identity: string, skewMs = 0) => {
    const made = candidate(identity, skewMs);
    void made.start();
    return made;
  };
  const until = (condition: () => boolean) => time.advanceUntil(condition, 120_000);
  return { time, leases, candidates, candidate, started, leaders, look, together, until };
}

const silence = () => new Promise<void>(() => undefined);
const refuse = (kind: ErrorKind) => () => {
  throw new ServiceError(kind, kind, 'refused');
};
/** Cuts a candidate off: nothing it sends arrives any more. */
function cut({ wire }: Candidate, how: 'silence' | 'reset' = 'silence'): void {
  wire.before = how === 'silence' ? silence : refuse('unknown');
}
function mend({ wire }: Candidate): void {
  wire.before = () => undefined;
  wire.after = () => undefined;
}

describe('one alone', () => {
  test('creates the Lease, leads, and says so on it', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(0);
    expect(a.election.isLeading).toBe(true);
    expect(a.changes).toEqual([[true, 0]]);
    expect(a.election.holder).toBe('a');
    expect(leases.stored(NAME)).toMatchObject({
      holder: 'a',
      durationSeconds: 15,
      acquiredAt: time.now(),
      renewedAt: time.now(),
      transitions: 0,
    });
  });

  test('renews about every two seconds, without reading', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    const begin = time.now();
    await time.advance(60_000);
    expect(a.calls.slice(0, 2)).toEqual(['read', 'create']);
    expect(new Set(a.calls.slice(2))).toEqual(new Set(['replace']));
    expect(a.calls.length - 2).toBe(27);
    expect(leases.stored(NAME)).toMatchObject({ acquiredAt: begin, transitions: 0 });
    expect(leases.stored(NAME)!.renewedAt).toBeGreaterThan(begin + 57_000);
    expect(a.changes).toEqual([[true, 0]]);
  });

  test('waits between 2 s and 2.4 s', async () => {
    for (const [random, pause] of [
      [0, 2000],
      [0.999, 2400],
    ] as const) {
      const { time, started } = setUp();
      time.nextRandom = () => random;
      const a = started('a');
      await time.advance(pause - 1);
      expect(a.calls).toEqual(['read', 'create']);
      await time.advance(1);
      expect(a.calls).toHaveLength(3);
    }
  });

  test('leads no longer than it runs, and leaves the Lease', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(5000);
    a.stop();
    await time.advance(0);
    expect(a.election.isLeading).toBe(false);
    expect(a.changes).toEqual([
      [true, 0],
      [false, 5000],
    ]);
    expect(leases.stored(NAME)?.holder).toBe('a');
    expect(time.sleepers).toBe(0);
  });

  test('goes on at once when it is started anew under its identity', async () => {
    const { time, leases, started } = setUp();
    started('a').stop();
    await time.advance(0);
    started('a');
    await time.advance(5000);
    const { acquiredAt } = leases.stored(NAME)!;
    const again = started('a');
    await time.advance(0);
    expect(again.election.isLeading).toBe(true);
    expect(leases.stored(NAME)).toMatchObject({ acquiredAt, transitions: 0 });
  });
});

describe('a standby', () => {
  test.each([
    [0, 0],
    [-HOUR_MS, HOUR_MS],
    [HOUR_MS, -HOUR_MS],
  ])(
    'I6: takes over when it has seen no change for 15 s by its own clock, at most 20 s after a death (wall clocks off by %i and %i ms)',
    async (ofLeader, ofStandby) => {
      const { time, leases, started, until, together } = setUp();
      const a = started('a', ofLeader);
      await time.advance(1000);
      const b = started('b', ofStandby);
      // As long as the leader lives it is never taken.
      await time.advance(300_000);
      expect(b.changes).toEqual([]);
      expect(b.election.holder).toBe('a');
      expect(new Set(b.calls)).toEqual(new Set(['read']));
      a.stop();
      const died = time.monotonic();
      const last = leases.stored(NAME)!.renewedAt! - a.clock.now() + died;
      await until(() => b.election.isLeading);
      expect(time.monotonic() - last).toBeGreaterThanOrEqual(15_000);
      expect(time.monotonic() - died).toBeLessThanOrEqual(20_000);
      expect(leases.stored(NAME)).toMatchObject({ holder: 'b', transitions: 1, acquiredAt: b.clock.now() });
      expect(together).toEqual([]);
    },
  );

  test('I6: a wall clock that is set makes nobody take over, and nobody lose', async () => {
    const { time, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    const b = started('b');
    for (const jump of [HOUR_MS, -3 * HOUR_MS, 20_000]) {
      b.clock.skewMs += jump;
      a.clock.skewMs -= jump;
      await time.advance(40_000);
    }
    expect([a.changes.length, b.changes.length]).toEqual([1, 0]);
  });

  test('I6: counts from the answer in which it saw the last change, not from its question', async () => {
    const { time, leases, candidate, until } = setUp();
    leases.put(NAME, terms('other'));
    const b = candidate('b');
    b.wire.after = () => time.sleep(4000, new AbortController().signal);
    void b.start();
    await time.advance(4000);
    mend(b);
    await until(() => b.election.isLeading);
    expect(time.monotonic()).toBe(19_000);
  });

  test('gives a holder who counts on more its time', async () => {
    const { time, leases, started, until } = setUp();
    leases.put(NAME, { ...terms('other'), durationSeconds: 60 });
    const b = started('b');
    await until(() => b.election.isLeading);
    expect(time.monotonic()).toBe(60_000);
    expect(leases.stored(NAME)).toMatchObject({ holder: 'b', durationSeconds: 15, transitions: 5 });
  });

  test('I6: gives a holder who says less than 15 s no less', async () => {
    const { time, leases, started, until } = setUp();
    leases.put(NAME, { ...terms('other'), durationSeconds: 1 });
    const b = started('b');
    await until(() => b.election.isLeading);
    expect(time.monotonic()).toBe(15_000);
  });

  test('I6: of two that try at the same moment one leads', async () => {
    const { time, leases, started, leaders, together } = setUp();
    leases.put(NAME, terms('dead'));
    const [b, c] = [started('b'), started('c')];
    await time.advance(15_000);
    expect(leaders()).toHaveLength(1);
    await time.advance(60_000);
    expect(b.changes.length + c.changes.length).toBe(1);
    expect(leases.stored(NAME)!.transitions).toBe(5);
    expect(together).toEqual([]);
  });

  test('I6: a Lease that somebody deleted is not made anew before its holder must have stopped', async () => {
    const { time, leases, started, until, together } = setUp();
    const a = started('a');
    await time.advance(1000);
    const b = started('b');
    await time.advance(10_000);
    cut(a);
    leases.remove(NAME);
    await until(() => b.election.isLeading);
    expect(a.changes.at(-1)![0]).toBe(false);
    expect(b.changes[0]![1]).toBeGreaterThanOrEqual(11_000 + 15_000);
    expect(together).toEqual([]);
  });
});

describe('a leader who is cut off', () => {
  test.each(['silence', 'reset'] as const)(
    'I6: stops by itself 10 s after it sent what was confirmed last, 5 s before another takes over (%s)',
    async (how) => {
      const { time, leases, started, until, together } = setUp();
      const a = started('a');
      await time.advance(1000);
      const b = started('b');
      await time.advance(30_000);
      const sent = leases.stored(NAME)!.renewedAt! - a.clock.now() + time.monotonic();
      cut(a, how);
      await time.advance(sent + 9999 - time.monotonic());
      expect(a.election.isLeading).toBe(true);
      await time.advance(1);
      expect(a.election.isLeading).toBe(false);
      expect(a.changes.at(-1)).toEqual([false, sent + 10_000]);
      await until(() => b.election.isLeading);
      expect(b.changes[0]![1]).toBeGreaterThanOrEqual(sent + 15_000);
      mend(a);
      await time.advance(60_000);
      expect(a.changes).toHaveLength(2);
      expect(b.changes).toHaveLength(1);
      expect(a.election.holder).toBe('b');
      expect(together).toEqual([]);
    },
  );

  test('I6: its time counts from before a write was sent, however late the answer came', async () => {
    const { time, candidate } = setUp();
    const a = candidate('a');
    a.wire.after = async (operation) => {
      if (operation !== 'create') return;
      await time.sleep(4000, new AbortController().signal);
      cut(a);
    };
    void a.start();
    await time.advance(60_000);
    expect(a.changes).toEqual([
      [true, 4000],
      [false, 10_000],
    ]);
  });

  test('survives one call without an answer', async () => {
    const { time, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    let hung = 0;
    a.wire.before = () => (hung++ === 0 ? silence() : undefined);
    await time.advance(60_000);
    expect(hung).toBeGreaterThan(10);
    expect(a.changes).toEqual([[true, 0]]);
  });

  test('that comes back before anybody took over leads again, and both changes are told', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    cut(a, 'reset');
    await time.advance(12_000);
    mend(a);
    await time.advance(3000);
    expect(a.changes.map(([isLeading]) => isLeading)).toEqual([true, false, true]);
    expect(leases.stored(NAME)!.transitions).toBe(0);
  });
});

describe('a write without an answer', () => {
  test('I6: is not taken for a success', async () => {
    const { time, leases, started } = setUp();
    leases.put(NAME, terms('dead'));
    const [b, c] = [started('b'), started('c')];
    b.wire.after = (operation) => (operation === 'read' ? undefined : silence());
    await time.advance(15_000);
    expect([b.election.isLeading, c.election.isLeading]).toEqual([false, false]);
    expect(leases.stored(NAME)!.holder).toBe('b');
    // It finds out when it reads again, and is a leader by a write that was confirmed.
    await time.advance(4999);
    expect(b.changes).toEqual([]);
    mend(b);
    const told = b.calls.length;
    await time.advance(1);
    expect(b.calls.slice(told)).toEqual(['read', 'replace']);
    expect(b.election.isLeading).toBe(true);
    expect(leases.stored(NAME)!.transitions).toBe(5);
  });

  test('I6: makes no leader of one whose write did not even arrive, and another may lead', async () => {
    const { time, leases, started, together } = setUp();
    leases.put(NAME, terms('dead'));
    const b = started('b');
    await time.advance(100);
    const c = started('c');
    b.wire.before = (operation) => (operation === 'read' ? undefined : silence());
    await time.advance(30_000);
    expect(b.changes).toEqual([]);
    expect(c.election.isLeading).toBe(true);
    expect(together).toEqual([]);
  });

  test('that arrives when others have written is refused there', async () => {
    const { time, leases, candidate, started, together } = setUp();
    const a = started('a');
    await time.advance(1000);
    // Its next renewal is under way for 40 s.
    a.wire.before = () => time.sleep(40_000, new AbortController().signal);
    await time.advance(1200);
    cut(a);
    const b = candidate('b');
    void b.start();
    await time.advance(30_000);
    expect(b.election.isLeading).toBe(true);
    await time.advance(30_000);
    expect(leases.stored(NAME)!.holder).toBe('b');
    expect(b.changes).toHaveLength(1);
    expect(together).toEqual([]);
  });

  test('I6: does not prolong a leadership', async () => {
    const { time, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    a.wire.after = refuse('unknown');
    await time.advance(60_000);
    expect(a.changes).toEqual([
      [true, 0],
      [false, 10_000],
    ]);
    // It reads before it writes again.
    expect(a.calls.slice(2, 6)).toEqual(['replace', 'read', 'read', 'read']);
  });
});

describe('a Lease that somebody else wrote', () => {
  test("I6: ends a leadership as soon as it is noticed, also where a person's hand did it", async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    leases.put(NAME, terms('b'));
    await time.advance(1500);
    expect(a.election.isLeading).toBe(false);
    expect(a.changes).toHaveLength(2);
    await time.advance(2500);
    expect(a.election.holder).toBe('b');
    expect(a.election.isLeading).toBe(false);
  });

  test('and that nobody holds is taken at once', async () => {
    const { time, leases, started } = setUp();
    leases.put(NAME, { ...terms(''), durationSeconds: 600 });
    const a = started('a');
    await time.advance(0);
    expect(a.election.isLeading).toBe(true);
    expect(leases.stored(NAME)).toMatchObject({ holder: 'a', transitions: 5 });
  });
});

describe('a release', () => {
  const signal = new AbortController().signal;

  test('hands over at the next try of another, and ends the run', async () => {
    const { time, leases, candidate, started, together } = setUp();
    const a = candidate('a');
    const running = a.start();
    await time.advance(1000);
    const b = started('b');
    await time.advance(10_500);
    const releasing = a.election.release(signal);
    expect(a.election.isLeading).toBe(false);
    expect(a.changes.at(-1)).toEqual([false, 11_500]);
    await time.advance(0);
    await releasing;
    await running;
    expect(leases.stored(NAME)).toMatchObject({ holder: '', durationSeconds: 1, transitions: 0 });
    await time.advance(2400);
    expect(b.election.isLeading).toBe(true);
    expect(leases.stored(NAME)).toMatchObject({ holder: 'b', durationSeconds: 15, transitions: 1 });
    await time.advance(60_000);
    expect(a.changes).toHaveLength(2);
    expect(together).toEqual([]);
  });

  test('I6: by one who is no longer the holder does nothing', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    cut(a);
    const b = started('b');
    await time.advance(30_000);
    expect(b.election.isLeading).toBe(true);
    mend(a);
    const before = leases.stored(NAME);
    const releasing = a.election.release(signal);
    await time.advance(0);
    await releasing;
    expect(leases.stored(NAME)).toEqual(before);
    expect(a.calls.at(-1)).toBe('read');
    await time.advance(60_000);
    expect(b.changes).toHaveLength(1);
  });

  test('I6: beside a renewal that is under way leaves nobody leading, whichever comes first', async () => {
    for (const late of [1, 300, 2000, 6000]) {
      const { time, leases, started, together } = setUp();
      const a = started('a');
      await time.advance(1000);
      let renewals = 0;
      a.wire.before = (operation) =>
        operation === 'replace' && renewals++ === 0 ? time.sleep(late, signal) : time.sleep(200, signal);
      await time.advance(1250);
      expect(renewals).toBe(1);
      const releasing = a.election.release(signal);
      await time.advance(10_000);
      await releasing;
      expect(a.changes.at(-1)).toEqual([false, 2250]);
      expect(leases.stored(NAME)!.holder).toBe('');
      started('b');
      await time.advance(3000);
      expect(leases.stored(NAME)!.holder).toBe('b');
      expect(together).toEqual([]);
    }
  });

  test('I6: wins over a confirmation that arrives together with it', async () => {
    const time = new VirtualClock();
    const patient = new FakeLeases().client({
      before: () => undefined,
      after: (operation) => (operation === 'create' ? time.sleep(1000, signal) : undefined),
    });
    // As when the answer has come in the same moment, before the signal could take it back.
    const create: LeaseStore['create'] = (name, its) => patient.create(name, its, signal);
    const log = createLog('silent', {});
    const changes: boolean[] = [];
    const onChange = (isLeading: boolean) => void changes.push(isLeading);
    const leases = { ...patient, create };
    const a = new LeaderElection({ leases, name: NAME, identity: 'a', clock: time, log, onChange });
    const running = a.run(signal);
    await time.advance(500);
    const releasing = a.release(signal);
    await time.advance(1000);
    await Promise.all([running, releasing]);
    expect(changes).toEqual([]);
    expect(a.isLeading).toBe(false);
    expect(time.sleepers).toBe(0);
  });

  test('is tried again after a conflict and without an answer', async () => {
    const { time, leases, started } = setUp();
    const a = started('a');
    await time.advance(1000);
    let tries = 0;
    a.wire.before = (operation) => {
      if (operation === 'replace' && ++tries === 1) refuse('unknown')();
      if (operation === 'replace' && tries === 2) leases.put(NAME, leases.stored(NAME)!);
    };
    await a.election.release(signal);
    expect(tries).toBe(3);
    expect(leases.stored(NAME)!.holder).toBe('');
  });

  test('I12: ends with its signal, or after three tries of 5 s; then another waits until the Lease has run out', async () => {
    for (const limited of [true, false]) {
      const { time, started, until } = setUp();
      const a = started('a');
      await time.advance(1000);
      const b = started('b');
      await time.advance(1000);
      cut(a);
      let ended: number | undefined;
      const within = limited ? time.deadline(3000) : signal;
      void a.election.release(within).then(() => {
        ended = time.monotonic();
      });
      await time.advance(16_000);
      expect(ended).toBe(2000 + (limited ? 3000 : 15_000));
      expect(a.lines.at(-1)).toMatchObject({ level: 'warn', msg: expect.stringContaining('not given up') });
      await until(() => b.election.isLeading);
    }
  });

  test('without a Lease, or before the run, is harmless', async () => {
    const { time, leases, candidate } = setUp();
    const a = candidate('a');
    await a.election.release(signal);
    await a.start();
    await time.advance(10_000);
    expect(leases.stored(NAME)).toBeUndefined();
    expect(a.changes).toEqual([]);
  });
});

describe('a missing right', () => {
  test.each<[missing: keyof LeaseStore, verb: string]>([
    ['read', 'get'],
    ['create', 'create'],
    ['replace', 'update'],
  ])('to %s is told once, by name, and the election goes on when it is there', async (missing, verb) => {
    const { time, leases, candidate } = setUp();
    if (missing === 'replace') leases.put(NAME, terms(''));
    const a = candidate('a');
    a.wire.before = (operation) => (operation === missing ? refuse('forbidden')() : undefined);
    void a.start();
    await time.advance(60_000);
    expect(a.changes).toEqual([]);
    const errors = () => a.lines.filter(({ level }) => level === 'error');
    expect(errors()).toHaveLength(1);
    expect(errors()[0]!.msg).toContain(`the right to ${verb} leases in coordination.k8s.io is missing`);
    mend(a);
    await time.advance(2400);
    expect(a.election.isLeading).toBe(true);
    // All of them lost: it does not come to the others without that to read.
    a.wire.before = refuse('forbidden');
    await time.advance(60_000);
    expect(errors()).toHaveLength(2);
    expect(errors()[1]!.msg).toContain('the right to get leases');
  });

  test('is no word yet when it is there at the third look, as after a start of the API server', async () => {
    const { time, candidate } = setUp();
    const a = candidate('a');
    let refusals = 0;
    a.wire.before = () => (refusals++ < 2 ? refuse('forbidden')() : undefined);
    void a.start();
    await time.advance(10_000);
    expect(a.election.isLeading).toBe(true);
    expect(refusals).toBeGreaterThan(2);
    expect(a.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('I12: a server that never answers is asked again, call after call of 5 s, and complained of once', async () => {
    const { time, candidate } = setUp();
    const a = candidate('a');
    cut(a);
    void a.start();
    await time.advance(25_000);
    expect(a.calls).toEqual(Array(6).fill('read'));
    expect(a.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });
});

function terms(holder: string): LeaseTerms {
  return { holder, durationSeconds: 15, acquiredAt: 0, renewedAt: 0, transitions: 4 };
}

test('I6: never two lead, whatever calls, wires, wall clocks and processes do; and one does when all is well again', async () => {
  const WHO = [0, 1, 2] as const;
  const END_MS = 100_000;
  const fate = fc.record({
    there: fc.oneof({ weight: 3, arbitrary: fc.integer({ max: 300, min: 0 }) }, fc.integer({ min: 0, max: 20_000 })),
    back: fc.oneof({ weight: 3, arbitrary: fc.integer({ max: 300, min: 0 }) }, fc.integer({ min: 0, max: 6000 })),
    end: fc.constantFrom('answered', 'answered', 'answered', 'request-lost', 'answer-lost', 'refused' as const),
  });
  const who = fc.constantFrom(...WHO);
  const at = fc.integer({ min: 0, max: END_MS });
  const act = fc.oneof(
    fc.record({ act: fc.constant('partition' as const), at, who, ms: fc.integer({ min: 1000, max: 40_000 }) }),
    fc.record({ act: fc.constant('crash' as const), at, who, ms: fc.integer({ min: 0, max: 30_000 }) }),
    fc.record({ act: fc.constant('release' as const), at, who, ms: fc.integer({ min: 0, max: 30_000 }) }),
    fc.record({ act: fc.constant('clock' as const), at, who, ms: fc.integer({ min: -HOUR_MS, max: HOUR_MS }) }),
  );
  let terms = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(...WHO.map(() => fc.array(fate, { minLength: 10, maxLength: 40 }))),
      fc.array(act, { minLength: 4, maxLength: 14 }),
      fc.tuple(...WHO.map(() => fc.constantFrom(0, -HOUR_MS, HOUR_MS))),
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 5, maxLength: 5 }),
      async (fates, acts, skews, randoms) => {
        const { time, candidate, candidates, leaders, look, together } = setUp();
        let drawn = 0;
        time.nextRandom = () => randoms[drawn++ % randoms.length]!;
        const never = new AbortController().signal;
        const partitioned = WHO.map(() => 0);
        const calm = () => time.monotonic() >= END_MS;
        const live = (index: (typeof WHO)[number]) => {
          const made = candidate(`candidate-${index}`, skews[index]);
          let current: (typeof fates)[number][number] | undefined;
          made.wire.before = async () => {
            const mine = calm() ? undefined : fates[index]!.shift();
            current = mine;
            if (time.monotonic() < partitioned[index]!) await silence();
            if (mine?.end === 'refused') refuse('unavailable')();
            if (mine?.end === 'request-lost') await silence();
            await time.sleep(mine?.there ?? 0, never);
          };
          made.wire.after = async () => {
            const mine = current;
            if (mine?.end === 'answer-lost' || time.monotonic() < partitioned[index]!) await silence();
            await time.sleep(mine?.back ?? 0, never);
          };
          void made.start();
          return made;
        };
        const alive = WHO.map(live);
        const replace = async (index: (typeof WHO)[number], afterMs: number) => {
          await time.sleep(afterMs, never);
          alive[index]!.stop();
          alive[index] = live(index);
        };
        for (const { act, at, who, ms } of acts.toSorted((one, other) => one.at - other.at)) {
          while (time.monotonic() < at) {
            await time.advance(Math.min(1000, at - time.monotonic()));
            look();
          }
          if (act === 'partition') partitioned[who] = Math.min(at + ms, END_MS);
          if (act === 'clock') alive[who]!.clock.skewMs = ms;
          if (act === 'release') void alive[who]!.election.release(time.deadline(10_000));
          if (act === 'crash') alive[who]!.stop();
          if (act === 'crash' || act === 'release') void replace(who, ms);
        }
        while (time.monotonic() < END_MS + 31_000) {
          await time.advance(1000);
          look();
        }
        await time.advance(30_000);
        expect(together).toEqual([]);
        expect(leaders()).toHaveLength(1);
        const before = candidates.map(({ changes }) => changes.length);
        await time.advance(60_000);
        expect(candidates.map(({ changes }) => changes.length)).toEqual(before);
        terms += candidates.flatMap(({ changes }) => changes.filter(([isLeading]) => isLeading)).length;
        for (const one of alive) one.stop();
        await time.advance(0);
      },
    ),
    { numRuns: 100, seed: 5 },
  );
  // The plays are no idle ones.
  expect(terms).toBeGreaterThan(300);
});
