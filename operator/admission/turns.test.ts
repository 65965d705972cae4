import { expect, test } from 'vitest';
import { settled, VirtualClock } from '../../testing/virtual-clock.ts';
import { Turns } from './turns.ts';

const signal = new AbortController().signal;

test('I6: no more have a turn at once than may; who waits gets one as soon as one is given back', async () => {
  const clock = new VirtualClock();
  const turns = new Turns(clock, 2);
  const [first, second] = [await turns.take(signal), await turns.take(signal)];
  const got: Disposable[] = [];
  for (let waiting = 0; waiting < 3; waiting++) void turns.take(signal).then((turn) => turn && got.push(turn));
  await clock.advance(10_000);
  expect(got).toHaveLength(0);
  first?.[Symbol.dispose]();
  await settled();
  expect(got).toHaveLength(1);
  second?.[Symbol.dispose]();
  got[0]?.[Symbol.dispose]();
  await settled();
  expect(got).toHaveLength(3);
});

test('who waits gets none when it is told to stop', async () => {
  const clock = new VirtualClock();
  const turns = new Turns(clock, 1);
  await turns.take(signal);
  const stop = new AbortController();
  const waiting = turns.take(stop.signal);
  await settled();
  stop.abort();
  expect(await waiting).toBeUndefined();
  expect(clock.sleepers).toBe(0);
});
