import { describe, expect, test } from 'vitest';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { type Work, WorkQueue } from './work-queue.ts';

/** A queue that runs until the test's end, and what was done when. */
function setUp(work: Work = async () => undefined, concurrency = 2) {
  const clock = new VirtualClock();
  const done: string[] = [];
  const failures: (readonly [key: string, failures: number])[] = [];
  const stop = new AbortController();
  const abort = new AbortController();
  let beats = 0;
  const queue = new WorkQueue(
    clock,
    (key, signal) => {
      done.push(`${key}@${clock.monotonic()}`);
      return work(key, signal);
    },
    (key, _error, count) => failures.push([key, count]),
  );
  let ended = false;
  const running = queue
    .run(concurrency, stop.signal, abort.signal, () => beats++)
    .then(() => {
      ended = true;
    });
  return {
    clock,
    queue,
    done,
    failures,
    stop,
    abort,
    beats: () => beats,
    ended: () => ended,
    async [Symbol.asyncDispose]() {
      stop.abort();
      abort.abort();
      await settled();
      await running;
      expect(clock.sleepers).toBe(0);
    },
  };
}

/** Work that ends when the test says so. */
function held() {
  const release = new Map<string, (again?: number) => void>();
  const work: Work = (key) => new Promise((resolve) => release.set(key, resolve));
  return { release, work };
}

describe('WorkQueue', () => {
  test('a key is looked at once, however often it was wanted', async () => {
    await using world = setUp();
    for (const key of ['a', 'b', 'a', 'a']) world.queue.add(key);
    await settled();
    expect(world.done).toEqual(['a@0', 'b@0']);
  });

  test('a key is looked at when it wants to be, and of two wishes the earlier one counts', async () => {
    await using world = setUp();
    world.queue.add('later', 700);
    world.queue.add('later', 5000);
    world.queue.add('sooner', 5000);
    world.queue.add('sooner', 300);
    world.queue.add('at once', 5000);
    world.queue.add('at once');
    await world.clock.advance(10_000);
    expect(world.done).toEqual(['at once@0', 'sooner@300', 'later@700']);
  });

  test('what the work asks for comes', async () => {
    let left = 3;
    await using world = setUp(async () => (left-- > 1 ? 1500 : undefined));
    world.queue.add('a');
    await world.clock.advance(20_000);
    expect(world.done).toEqual(['a@0', 'a@1500', 'a@3000']);
  });

  test('one worker a key, and not more than so many at once', async () => {
    const { release, work } = held();
    await using world = setUp(work, 2);
    for (const key of ['a', 'b', 'c']) world.queue.add(key);
    await settled();
    world.queue.add('a');
    await world.clock.advance(1000);
    expect(world.done).toEqual(['a@0', 'b@0']);
    release.get('b')?.();
    await settled();
    expect(world.done).toEqual(['a@0', 'b@0', 'c@1000']);
    release.get('a')?.();
    await settled();
    expect(world.done.at(-1)).toBe('a@1000');
    for (const end of release.values()) end();
  });

  test('a key that changes while it is worked on is looked at again', async () => {
    const { release, work } = held();
    await using world = setUp(work);
    world.queue.add('a');
    await settled();
    world.queue.add('a');
    world.queue.add('a');
    release.get('a')?.();
    await settled();
    expect(world.done).toHaveLength(2);
    release.get('a')?.();
    await settled();
    expect(world.done).toHaveLength(2);
  });

  test('work that fails is tried again after a growing wait, until it succeeds', async () => {
    let left = 4;
    await using world = setUp(async () => {
      if (left-- > 0) throw new Error('no');
      return undefined;
    });
    world.queue.add('a');
    await world.clock.advance(60_000);
    expect(world.done).toEqual(['a@0', 'a@375', 'a@1125', 'a@2625', 'a@5625']);
    expect(world.failures).toEqual([
      ['a', 1],
      ['a', 2],
      ['a', 3],
      ['a', 4],
    ]);
    left = 1;
    world.queue.add('a');
    await world.clock.advance(1000);
    expect(world.failures.at(-1)).toEqual(['a', 1]);
  });

  test('the wait never grows beyond half a minute', async () => {
    await using world = setUp(async () => {
      throw new Error('no');
    });
    world.queue.add('a');
    await world.clock.advance(600_000);
    const tries = world.done.length;
    await world.clock.advance(300_000);
    expect(world.done.length - tries).toBeGreaterThanOrEqual(10);
  });

  test('a failure of one key delays no other', async () => {
    await using world = setUp(async (key) => {
      if (key === 'bad') throw new Error('no');
      return undefined;
    }, 1);
    world.queue.add('bad');
    world.queue.add('good');
    await settled();
    expect(world.done).toEqual(['bad@0', 'good@0']);
  });

  test('I12: the loop beats while there is nothing to do, and while all workers are busy', async () => {
    const { release, work } = held();
    await using world = setUp(work, 1);
    await world.clock.advance(10_000);
    expect(world.beats()).toBeGreaterThanOrEqual(10);
    world.queue.add('a');
    world.queue.add('b');
    const before = world.beats();
    await world.clock.advance(10_000);
    expect(world.beats() - before).toBeGreaterThanOrEqual(10);
    release.get('a')?.();
    await settled();
    release.get('b')?.();
  });

  test('stopping begins nothing new and waits for what has begun', async () => {
    const { release, work } = held();
    await using world = setUp(work, 1);
    world.queue.add('a');
    world.queue.add('b');
    await settled();
    world.stop.abort();
    await world.clock.advance(5000);
    expect([world.ended(), world.done]).toEqual([false, ['a@0']]);
    release.get('a')?.();
    await settled();
    expect([world.ended(), world.done]).toEqual([true, ['a@0']]);
  });

  test('I12: what has begun can be ended', async () => {
    await using world = setUp((_, signal) => world.clock.sleep(3_600_000, signal).then(() => undefined));
    world.queue.add('a');
    await settled();
    world.stop.abort();
    world.abort.abort();
    await settled();
    expect(world.ended()).toBe(true);
  });

  test('ten thousand keys that are due later cost nothing until they are', async () => {
    await using world = setUp(undefined, 16);
    for (let at = 0; at < 10_000; at++) world.queue.add(`k${at}`, 60_000 + at);
    await world.clock.advance(59_999);
    expect(world.done).toEqual([]);
    await world.clock.advance(1);
    expect(world.done).toEqual(['k0@60000']);
  });
});
