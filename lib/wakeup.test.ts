import { expect, test } from 'vitest';
import { settled, VirtualClock } from '../testing/virtual-clock.ts';
import { Wakeup } from './wakeup.ts';

const never = new AbortController().signal;

function sleeper(wakeup: Wakeup, clock: VirtualClock, ms: number, signal = never): () => boolean {
  let awake = false;
  void wakeup.sleep(ms, clock, signal).then(() => {
    awake = true;
  });
  return () => awake;
}

test('wakes everybody who sleeps, and those who are not woken sleep on', async () => {
  const clock = new VirtualClock();
  const [wakeup, other] = [new Wakeup(), new Wakeup()];
  const sleepers = [sleeper(wakeup, clock, 1000), sleeper(wakeup, clock, 5000), sleeper(other, clock, 1000)];
  await settled();
  wakeup.wake();
  await settled();
  expect(sleepers.map((awake) => awake())).toEqual([true, true, false]);
  await clock.advance(1000);
  expect(sleepers.map((awake) => awake())).toEqual([true, true, true]);
  expect(clock.sleepers).toBe(0);
});

test('a wake-up with nobody asleep is kept for the next sleeper, once', async () => {
  const clock = new VirtualClock();
  const wakeup = new Wakeup();
  wakeup.wake();
  wakeup.wake();
  const first = sleeper(wakeup, clock, 1000);
  const second = sleeper(wakeup, clock, 1000);
  await settled();
  expect([first(), second()]).toEqual([true, false]);
  await clock.advance(1000);
  expect(second()).toBe(true);
});

test('sleep ends with the signal, and at once when it is aborted already', async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const wakeup = new Wakeup();
  const early = sleeper(wakeup, clock, 1000, controller.signal);
  controller.abort();
  const late = sleeper(wakeup, clock, 1000, controller.signal);
  await settled();
  expect([early(), late(), clock.sleepers]).toEqual([true, true, 0]);
});

test('nobody sleeps for no time', async () => {
  const clock = new VirtualClock();
  await new Wakeup().sleep(0, clock, never);
  await new Wakeup().sleep(-5, clock, never);
  expect(clock.sleepers).toBe(0);
});
