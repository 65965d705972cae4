import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COMPLETE, testCaps, testJob } from '../../testing/jobs.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { JobRecord } from '../jobs/records.ts';
import { JobsView } from '../jobs/view.ts';
import { type Caps, isHeld, type Slot, Slots, takesSlot } from './slots.ts';

const acme = { queue: 'acme-tasks', client: 'acme' };
const globex = { queue: 'globex-tasks', client: 'globex' };

function setUp(caps: number | Partial<Caps>, ...jobs: readonly JobRecord[]) {
  const view = new JobsView(new VirtualClock());
  view.observe({ kind: 'listed', jobs, pods: [] });
  const all = typeof caps === 'number' ? testCaps(caps) : { ...testCaps(100), ...caps };
  const slots = new Slots(view, () => all);
  return { view, slots, free: () => slots.census()?.room.total, room: () => slots.census()?.room };
}

const job = (name: string, changes: Partial<JobRecord> = {}) => testJob({ name, uid: name, ...changes });
const held = (name: string, changes: Partial<JobRecord> = {}) =>
  job(name, {
    suspended: true,
    ...changes,
    annotations: { 'slipway.dev/suspended-by': 'slipway', ...changes.annotations },
  });

test.each<[what: string, changes: Partial<JobRecord>, expected: boolean]>([
  ['running', {}, true],
  ['being deleted while it runs', { deleting: true }, true],
  ['finished, not settled', { end: COMPLETE }, false],
  ['settled', { end: COMPLETE, settled: true }, false],
  ['suspended', { suspended: true }, false],
  ['held by parallelism 0', { parallelism: 0 }, false],
])('I6: whether a Job takes a slot: %s', (_, changes, expected) => expect(takesSlot(job('a', changes))).toBe(expected));

test.each<[what: string, job: JobRecord, expected: boolean]>([
  ['made suspended by Slipway', held('a'), true],
  ['suspended by somebody else', job('a', { suspended: true }), false],
  ['started', held('a', { suspended: false }), false],
  ['finished', held('a', { end: COMPLETE }), false],
  ['being deleted', held('a', { deleting: true }), false],
  ['to be cancelled', held('a', { annotations: { 'slipway.dev/cancel': 'by hand' } }), false],
])('whether Slipway holds a Job back: %s', (_, one, expected) => expect(isHeld(one)).toBe(expected));

describe('Slots', () => {
  test('I6: are the cap less what is seen running less what was taken', () => {
    const { slots, free } = setUp(5, job('a'), job('b'), job('c', { end: COMPLETE }));
    expect(free()).toBe(3);
    slots.take(acme);
    slots.take(globex);
    expect(free()).toBe(1);
  });

  test('I6: are none, never less, when more runs than the cap allows', () => {
    expect(setUp(1, job('a'), job('b'), job('c')).free()).toBe(0);
  });

  test('I5: are not known while it is unknown what runs', () => {
    const { view, slots } = setUp(5);
    view.observe({ kind: 'unknown', error: new Error('lost') });
    expect(slots.census()).toBeUndefined();
    expect(new Slots(new JobsView(new VirtualClock()), () => testCaps(5)).census()).toBeUndefined();
  });

  test('I6: of a client are its cap less what runs and was taken for it', () => {
    const { slots, room } = setUp({ ofClient: (client) => (client === 'acme' ? 2 : 5) }, job('a'));
    expect([room()?.ofClient('acme'), room()?.ofClient('globex')]).toEqual([1, 5]);
    slots.take(acme);
    expect([room()?.ofClient('acme'), room()?.ofClient('globex'), room()?.total]).toEqual([0, 5, 98]);
  });

  test('I6: a slot whose create may have happened stays taken until the Job is seen, or is known not to be', () => {
    const { view, slots, free } = setUp(2);
    const [first, second] = [slots.take(acme), slots.take(acme)];
    first.use('a');
    second.use('b');
    view.observe({ kind: 'listed', jobs: [], pods: [] });
    expect(free()).toBe(0);
    view.learn(job('a'));
    expect(free()).toBe(0);
    view.learn(job('a', { resourceVersion: '101', end: COMPLETE }));
    expect(free()).toBe(1);
    second.free();
    expect(free()).toBe(2);
  });

  test('a freed slot wakes who waits for one, once', () => {
    const { slots, free } = setUp(1);
    const slot = slots.take(acme);
    let woken = 0;
    slots.freed.wake = () => {
      woken++;
    };
    slot.free();
    slot.free();
    expect([woken, free()]).toEqual([1, 1]);
  });
});

describe('a task type with a cap', () => {
  const caps = { ofType: (type: string) => (type === 'echo' ? 1 : Number.POSITIVE_INFINITY), heldPerQueue: 3 };

  test('I6: at its cap, further tasks are held back, and take no slot of those that run', () => {
    const { slots, room } = setUp(caps);
    const [first, second, other] = [slots.take(acme), slots.take(acme), slots.take(acme)];
    expect([first.admit('echo'), second.admit('echo'), other.admit('other')]).toEqual(['start', 'hold', 'start']);
    expect([room()?.total, room()?.ofType('echo'), slots.census()?.roomToHold('acme-tasks')]).toEqual([98, 0, 2]);
  });

  test('I6: counts what is seen running of it, and asked again it decides anew', () => {
    const { view, slots } = setUp(caps, job('a'));
    const slot = slots.take(acme);
    expect([slot.admit('echo'), slot.admit('echo')]).toEqual(['hold', 'hold']);
    view.learn(job('a', { resourceVersion: '101', end: COMPLETE }));
    expect(slot.admit('echo')).toBe('start');
  });

  test('a task does not overtake one of its queue that waits; one of another queue it may', () => {
    const { slots } = setUp(caps, held('a'));
    expect(slots.take(acme).admit('echo')).toBe('hold');
    expect(slots.take(globex).admit('echo')).toBe('start');
  });

  test('Jobs that are held back are listed by queue, oldest first, each once', () => {
    const { view, slots } = setUp(
      caps,
      held('b', { createdAt: 2 }),
      held('c', { createdAt: 1 }),
      held('a', { createdAt: 2 }),
    );
    const names = () =>
      slots
        .census()
        ?.held.get('acme-tasks')
        ?.map(({ name }) => name);
    expect(names()).toEqual(['c', 'a', 'b']);
    expect(slots.census()?.roomToHold('acme-tasks')).toBe(0);
    const slot = slots.take(acme);
    slot.admit('echo');
    slot.use('d');
    view.learn(held('d', { createdAt: 3 }));
    expect(names()).toEqual(['c', 'a', 'b', 'd']);
  });

  test('I6: one that is being started takes a slot until it is seen as started', () => {
    const { view, slots, room } = setUp(caps, held('a'));
    const [one] = slots.census()?.held.get('acme-tasks') ?? [];
    if (one === undefined) throw new Error('nothing is held');
    slots.takeForHeld('acme-tasks', one);
    expect([slots.census()?.held.size, room()?.ofType('echo'), room()?.total]).toEqual([0, 0, 99]);
    view.learn(held('a', { resourceVersion: '101' }));
    expect(room()?.ofType('echo')).toBe(0);
    view.learn(job('a', { resourceVersion: '102' }));
    expect([room()?.ofType('echo'), room()?.total]).toEqual([0, 99]);
    view.learn(job('a', { resourceVersion: '103', end: COMPLETE }));
    expect([room()?.ofType('echo'), room()?.total]).toEqual([1, 100]);
  });
});

test('I6: whatever happens, running and pending together never pass the cap', () => {
  type Event = {
    readonly kind: 'take' | 'create' | 'free' | 'seen' | 'finish' | 'lose' | 'list';
    readonly at: number;
  };
  const event: fc.Arbitrary<Event> = fc.record({
    kind: fc.constantFrom('take', 'create', 'free', 'seen', 'finish', 'lose', 'list'),
    at: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(event, { maxLength: 60 }), (cap, events) => {
      const { view, slots, free } = setUp(cap);
      const taken: { slot: Slot; name?: string }[] = [];
      /** What really runs, seen or not. */
      const running = new Map<string, JobRecord>();
      let names = 0;
      let version = 100;
      for (const { kind, at } of events) {
        if (kind === 'take')
          for (let left = Math.min(at, free() ?? 0); left > 0; left--) taken.push({ slot: slots.take(acme) });
        const one = taken[at];
        if (kind === 'create' && one !== undefined && one.name === undefined) {
          one.name = `job-${names++}`;
          one.slot.use(one.name);
          running.set(one.name, job(one.name, { resourceVersion: String(++version) }));
        }
        if (kind === 'free' && one !== undefined && (one.name === undefined || view.job(one.name) !== undefined)) {
          one.slot.free();
          taken.splice(at, 1);
        }
        const real = [...running.values()][at];
        if (kind === 'seen' && real !== undefined) view.learn(real);
        if (kind === 'finish' && real !== undefined) {
          running.delete(real.name);
          view.learn({ ...real, resourceVersion: String(++version), end: COMPLETE });
        }
        if (kind === 'lose') view.observe({ kind: 'unknown', error: new Error('lost') });
        if (kind === 'list') {
          const listed = String(version);
          view.observe({ kind: 'listed', jobs: [...running.values()], pods: [], versionOf: () => listed });
        }
        expect(running.size + taken.filter(({ name }) => name === undefined).length).toBeLessThanOrEqual(cap);
      }
    }),
  );
});
