import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COMPLETE, testJob } from '../../testing/jobs.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { JobRecord } from '../jobs/records.ts';
import { JobsView } from '../jobs/view.ts';
import { Slots, takesSlot } from './slots.ts';

function setUp(cap: number, ...jobs: readonly JobRecord[]) {
  const view = new JobsView(new VirtualClock());
  view.observe({ kind: 'listed', jobs, pods: [] });
  return { view, slots: new Slots(view, cap) };
}

const job = (name: string, changes: Partial<JobRecord> = {}) => testJob({ name, uid: name, ...changes });

test.each<[what: string, changes: Partial<JobRecord>, expected: boolean]>([
  ['running', {}, true],
  ['being deleted while it runs', { deleting: true }, true],
  ['finished, not settled', { end: COMPLETE }, false],
  ['settled', { end: COMPLETE, settled: true }, false],
  ['suspended', { suspended: true }, false],
  ['held by parallelism 0', { parallelism: 0 }, false],
])('I6: whether a Job takes a slot: %s', (_, changes, expected) => expect(takesSlot(job('a', changes))).toBe(expected));

describe('Slots', () => {
  test('I6: are the cap less what is seen running less what was taken', () => {
    const { slots } = setUp(5, job('a'), job('b'), job('c', { end: COMPLETE }));
    expect(slots.available()).toBe(3);
    expect(slots.take(2)).toHaveLength(2);
    expect(slots.available()).toBe(1);
    expect(slots.take(32)).toHaveLength(1);
    expect(slots.take(1)).toEqual([]);
  });

  test('I6: are none, never less, when more runs than the cap allows', () => {
    const { slots } = setUp(1, job('a'), job('b'), job('c'));
    expect(slots.available()).toBe(0);
  });

  test('I5: are none while it is unknown what runs', () => {
    const { view, slots } = setUp(5);
    view.observe({ kind: 'unknown', error: new Error('lost') });
    expect([slots.available(), slots.take(5)]).toEqual([0, []]);
    expect(new Slots(new JobsView(new VirtualClock()), 5).available()).toBe(0);
  });

  test('I6: a slot whose create may have happened stays taken until the Job is seen, or is known not to be', () => {
    const { view, slots } = setUp(2);
    const [first, second] = slots.take(2);
    first?.use('a');
    second?.use('b');
    view.observe({ kind: 'listed', jobs: [], pods: [] });
    expect(slots.available()).toBe(0);
    view.learn(job('a'));
    expect(slots.available()).toBe(0);
    view.learn(job('a', { resourceVersion: '101', end: COMPLETE }));
    expect(slots.available()).toBe(1);
    second?.free();
    expect(slots.available()).toBe(2);
  });

  test('a freed slot wakes who waits for one, once', () => {
    const { slots } = setUp(1);
    const [slot] = slots.take(1);
    let woken = 0;
    slots.freed.wake = () => {
      woken++;
    };
    slot?.free();
    slot?.free();
    expect([woken, slots.available()]).toEqual([1, 1]);
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
        const { view, slots } = setUp(cap);
        const taken: { slot: ReturnType<Slots['take']>[number]; name?: string }[] = [];
        /** What really runs, seen or not. */
        const running = new Map<string, JobRecord>();
        let names = 0;
        let version = 100;
        for (const { kind, at } of events) {
          if (kind === 'take') taken.push(...slots.take(at).map((slot) => ({ slot })));
          const one = taken[at];
          if (kind === 'create' && one !== undefined && one.name === undefined) {
            one.name = `job-${names++}`;
            one.slot.use(one.name);
            running.set(one.name, job(one.name, { resourceVersion: String(++version) }));
          }
          // A slot is given back only when no Job came of it, or when the Job is seen.
          if (kind === 'free' && one !== undefined && (one.name === undefined || view.job(one.name) !== undefined)) {
            one.slot.free();
            taken.splice(at, 1);
          }
          const [name, record] = [...running][at] ?? [];
          if (kind === 'seen' && record !== undefined) view.learn(record);
          if (kind === 'finish' && name !== undefined && record !== undefined) {
            view.learn({ ...record, resourceVersion: String(++version), end: COMPLETE });
            running.delete(name);
          }
          if (kind === 'lose') view.observe({ kind: 'unknown', error: new Error('lost') });
          if (kind === 'list') view.observe({ kind: 'listed', jobs: [...running.values()], pods: [] });
          expect(running.size).toBeLessThanOrEqual(cap);
        }
      }),
      { numRuns: 300 },
    );
  });
});
