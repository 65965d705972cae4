import { expect, test } from 'vitest';
import { listenForSignals } from './lifecycle.ts';

test('the first signal asks to stop, the second one to stop at once, and afterwards nobody listens', () => {
  const before = [process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')];
  let seconds = 0;
  {
    using lifecycle = listenForSignals(() => {
      seconds++;
    });
    expect(lifecycle.stopping.aborted).toBe(false);
    process.emit('SIGTERM', 'SIGTERM');
    expect([lifecycle.stopping.aborted, seconds]).toEqual([true, 0]);
    expect(lifecycle.stopping.reason).toMatchObject({ message: 'stopped by SIGTERM' });
    process.emit('SIGINT', 'SIGINT');
    expect(seconds).toBe(1);
  }
  expect([process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')]).toEqual(before);
});
