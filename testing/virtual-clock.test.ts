import { describe, expect, test } from 'vitest';
import { settled, VirtualClock } from './virtual-clock.ts';

const never = new AbortController().signal;

describe('VirtualClock', () => {
  test('wakes sleepers at their moments, in order, and lets each finish before the next', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const person = async (name: string, ...naps: number[]) => {
      for (const nap of naps) {
        await clock.sleep(nap, never);
        await Promise.resolve();
        seen.push(`${name}@${clock.monotonic()}`);
      }
    };
    void person('a', 30, 30);
    void person('b', 10, 30);
    void person('c', 0);
    await clock.advance(45);
    expect(seen).toEqual(['c@0', 'b@10', 'a@30', 'b@40']);
    expect(clock.monotonic()).toBe(45);
    expect(clock.sleepers).toBe(1);
    await clock.advance(15);
    expect(seen.at(-1)).toBe('a@60');
    expect(clock.sleepers).toBe(0);
  });

  test('an aborted sleep ends without an error and leaves nothing behind', async () => {
    const clock = new VirtualClock();
    const controller = new AbortController();
    const nap = clock.sleep(1000, controller.signal);
    controller.abort();
    await nap;
    await clock.sleep(1000, controller.signal);
    expect([clock.sleepers, clock.monotonic()]).toEqual([0, 0]);
  });

  test('a deadline aborts with a TimeoutError at its moment, or with its parent', async () => {
    const clock = new VirtualClock();
    const parent = new AbortController();
    const alone = clock.deadline(50);
    const child = clock.deadline(500, parent.signal);
    await clock.advance(49);
    expect(alone.aborted).toBe(false);
    await clock.advance(1);
    expect(alone.reason).toMatchObject({ name: 'TimeoutError' });
    expect(child.aborted).toBe(false);
    parent.abort();
    expect(child.aborted).toBe(true);
  });

  test('a jump moves the wall clock and nobody else', async () => {
    const clock = new VirtualClock();
    const before = clock.now();
    let woken = false;
    void clock.sleep(1000, never).then(() => {
      woken = true;
    });
    clock.jump(-3_600_000);
    await settled();
    expect([clock.now() - before, clock.monotonic(), woken]).toEqual([-3_600_000, 0, false]);
    await clock.advance(1000);
    expect(woken).toBe(true);
  });

  test('advanceUntil stops at the moment the condition holds, and says when it never does', async () => {
    const clock = new VirtualClock();
    let done = false;
    void clock.sleep(700, never).then(() => {
      done = true;
    });
    void clock.sleep(9000, never);
    await clock.advanceUntil(() => done, 10_000);
    expect(clock.monotonic()).toBe(700);
    await expect(clock.advanceUntil(() => false, 100)).rejects.toThrow('nothing came of it within 100 ms');
  });
});
