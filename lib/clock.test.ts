import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromIso, iso, systemClock } from './clock.ts';

describe('systemClock', () => {
  test('sleeps at least so long, and not after the signal', async () => {
    const before = systemClock.monotonic();
    await systemClock.sleep(20, new AbortController().signal);
    expect(systemClock.monotonic() - before).toBeGreaterThanOrEqual(19);
    const controller = new AbortController();
    const nap = systemClock.sleep(60_000, controller.signal);
    controller.abort();
    await nap;
    await systemClock.sleep(60_000, controller.signal);
  });

  test('I12: a deadline aborts with a TimeoutError, and earlier with its parent', async () => {
    const parent = new AbortController();
    const late = systemClock.deadline(60_000, parent.signal);
    const soon = systemClock.deadline(5);
    const alsoSoon = systemClock.deadline(5, parent.signal);
    await new Promise((resolve) => alsoSoon.addEventListener('abort', resolve));
    expect(soon.reason).toMatchObject({ name: 'TimeoutError' });
    expect(late.aborted).toBe(false);
    parent.abort();
    expect(late.aborted).toBe(true);
  });

  test('tells the time of the machine', () => {
    const before = systemClock.now();
    expect(Math.abs(before - Date.now())).toBeLessThan(1000);
    expect(systemClock.monotonic()).toBeGreaterThan(0);
    const random = systemClock.random();
    expect(random).toBeGreaterThanOrEqual(0);
    expect(random).toBeLessThan(1);
  });
});

test('moments survive being written and read', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true }), (date) => {
      expect(fromIso(iso(date.getTime()))).toBe(date.getTime());
      expect(fromIso(date)).toBe(date.getTime());
    }),
  );
});

test.each([undefined, null, '', 'yesterday', '2026-13-01T00:00:00Z'])('%j is no moment', (text) => {
  expect(fromIso(text)).toBeUndefined();
});
