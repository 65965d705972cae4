import { expect, test } from 'vitest';
import { createLog } from '../lib/log.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { readConfig } from './config.ts';
import type { HandlerContext } from './handlers/handler.ts';
import { type PerformTools, performTask } from './perform.ts';
import { readTask } from './task.ts';

const MINUTE_MS = 60_000;

/** A task under way on a virtual clock, with what it logs. */
function setUp(timeoutMs: number, run: (context: HandlerContext) => Promise<unknown>) {
  const clock = new VirtualClock();
  const lines: Record<string, unknown>[] = [];
  const reading = readConfig({ TASK_DATA: '{}' });
  if (reading.kind === 'invalid') throw new Error(reading.problems.join());
  const stop = new AbortController();
  const tools: PerformTools = {
    clock,
    log: createLog('debug', { pod: 'pod-1' }, { write: (line) => void lines.push(JSON.parse(line)) }),
    handlers: { types: ['echo'], load: async () => ({ type: 'echo', run: (_, context) => run(context) }) },
    settings: reading.config.settings,
    stopping: stop.signal,
    crashed: new Promise(() => undefined),
    timeoutMs,
    rate: undefined,
    maxMemoryBytes: () => 123,
  };
  const given = { reading: readTask('{"task_id":"t","task_type":"echo"}'), taskId: '', taskType: '', clientId: 'acme' };
  return { clock, lines, stop, performed: performTask(given, tools) };
}

test('each line says whose task it is, and in which pod', async () => {
  const { lines, performed } = setUp(MINUTE_MS, async ({ log }) => log.info({ at: 1 }, 'at work'));
  await performed;
  for (const line of lines) expect(line).toMatchObject({ task: 't', type: 'echo', client: 'acme', pod: 'pod-1' });
});

test('what a handler counts, and the memory that was taken, are in the report', async () => {
  const { performed } = setUp(MINUTE_MS, async ({ count }) => {
    count('rows', 2);
    count('rows', 3);
  });
  expect((await performed).ended?.metrics).toEqual({ rows: 5, maxMemoryBytes: 123 });
});

test.each([
  [10 * MINUTE_MS, 9 * MINUTE_MS],
  [100 * MINUTE_MS, 99 * MINUTE_MS],
])('of %i ms, a task that still runs after %i ms is warned of, once', async (timeoutMs, warnedMs) => {
  const at = setUp(timeoutMs, ({ clock, signal }) => clock.sleep(2 * timeoutMs, signal));
  const warnings = () => at.lines.filter(({ level }) => level === 'warn');
  await at.clock.advance(warnedMs - 1);
  expect(warnings()).toEqual([]);
  await at.clock.advance(1);
  expect(warnings()).toMatchObject([{ msg: 'the task is still running; its time is nearly over' }]);
  await at.clock.advance(timeoutMs);
  expect((await at.performed).ended?.ending).toMatchObject({ kind: 'failed', code: 'TaskTimedOut' });
  expect(warnings()).toHaveLength(1);
});

test('a task that ends in time is not warned of', async () => {
  const at = setUp(10 * MINUTE_MS, async () => 'done');
  await at.performed;
  await at.clock.advance(20 * MINUTE_MS);
  expect(at.lines.filter(({ level }) => level === 'warn')).toEqual([]);
});

test('one that is told to stop has no end to tell of', async () => {
  const at = setUp(10 * MINUTE_MS, ({ clock, signal }) => clock.sleep(5 * MINUTE_MS, signal));
  await at.clock.advance(1000);
  at.stop.abort();
  await at.clock.advance(10_000);
  expect((await at.performed).ended).toBeUndefined();
});
