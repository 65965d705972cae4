import { describe, expect, test } from 'vitest';
import { EXIT } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { ConfigurationError, PermanentError, TemporaryError } from './errors.ts';
import { execute, type Limits, TIDY_MS } from './execute.ts';

const never = new Promise<never>(() => {});
const limits = (changes: Partial<Limits> = {}): Limits => ({
  timeoutMs: 60_000,
  stopping: new AbortController().signal,
  crashed: never,
  clock: systemClock,
  ...changes,
});

describe('how a task ends', () => {
  test('with a JSON value', async () => {
    const result = { a: [1], at: new Date(0), gone: undefined };
    expect(await execute(async () => result, limits())).toEqual({
      kind: 'completed',
      result: { a: [1], at: '1970-01-01T00:00:00.000Z' },
    });
    expect(await execute(async () => undefined, limits())).toEqual({ kind: 'completed', result: undefined });
  });

  test('with a result that is no JSON: a failed attempt', async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    for (const result of [circle, 1n]) {
      expect(await execute(async () => result, limits())).toMatchObject({
        kind: 'failed',
        exit: EXIT.failed,
        message: expect.stringContaining('cannot be written as JSON'),
      });
    }
  });

  test.each([
    [new Error('boom'), EXIT.failed, 'TaskFailed'],
    [new PermanentError('boom'), EXIT.badData, 'TaskFailed'],
    [new PermanentError('boom', { code: 'Malformed' }), EXIT.badData, 'Malformed'],
    [new ConfigurationError('boom'), EXIT.badConfig, 'TaskFailed'],
    [new TemporaryError('boom'), EXIT.temporary, 'TaskFailed'],
    ['boom', EXIT.failed, 'TaskFailed'],
  ])('with %o', async (error, exit, code) => {
    expect(await execute(() => Promise.reject(error), limits())).toEqual({
      kind: 'failed',
      exit,
      code,
      message: 'boom',
      error,
    });
  });

  test('with an error before its first await', async () => {
    const run = () => {
      throw new PermanentError('boom');
    };
    expect(await execute(run, limits())).toMatchObject({ exit: EXIT.badData });
  });

  test('with an error that nobody caught', async () => {
    const crashed = Promise.resolve(new Error('in an event'));
    expect(await execute((signal) => untilAborted(signal), limits({ crashed }))).toMatchObject({
      exit: EXIT.failed,
      message: 'in an event',
    });
  });
});

describe('the timeout', () => {
  test('tells the task, waits for it to tidy up, and is the end even of a task that then succeeds', async () => {
    const seen: string[] = [];
    const run = async (signal: AbortSignal) => {
      await untilAborted(signal).catch(() => seen.push('told'));
      await systemClock.sleep(50, new AbortController().signal);
      seen.push('tidied');
      return 'too late';
    };
    expect(await execute(run, limits({ timeoutMs: 20 }))).toMatchObject({
      kind: 'failed',
      exit: EXIT.failed,
      code: 'TaskTimedOut',
      message: 'the task ran longer than 0.02 s',
    });
    expect(seen).toEqual(['told', 'tidied']);
  });

  test('does not wait for a task that does not listen', async () => {
    const started = performance.now();
    expect(await execute(() => never, limits({ timeoutMs: 20 }))).toMatchObject({ code: 'TaskTimedOut' });
    expect(performance.now() - started).toBeLessThan(TIDY_MS + 1000);
  });

  test('leaves no timer behind', async () => {
    const sleeping = new Set<AbortSignal>();
    const clock = {
      ...systemClock,
      sleep: async (ms: number, signal: AbortSignal) => {
        sleeping.add(signal);
        await systemClock.sleep(ms, signal);
        sleeping.delete(signal);
      },
    };
    await execute(async () => 1, limits({ clock }));
    await new Promise(setImmediate);
    expect(sleeping.size).toBe(0);
  });
});

describe('the stop signal', () => {
  test('ends the task without a verdict', async () => {
    const stop = new AbortController();
    let reason: unknown;
    const ended = execute(
      (signal) => untilAborted(signal).catch((error) => (reason = error)),
      limits({ stopping: stop.signal }),
    );
    stop.abort();
    expect(await ended).toEqual({ kind: 'terminated' });
    expect(reason).toEqual(new Error('the process is to stop'));
  });

  test('that came before the task', async () => {
    expect(await execute((signal) => untilAborted(signal), limits({ stopping: AbortSignal.abort() }))).toEqual({
      kind: 'terminated',
    });
  });
});

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_done, fail) => {
    signal.addEventListener('abort', () => fail(signal.reason));
  });
}
