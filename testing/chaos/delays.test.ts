import { expect, test } from 'vitest';
import { delays } from '#/testing/chaos/delays.ts';
import type { History, JobVersion } from '#/testing/chaos/history.ts';

test('the steps of tasks are timed by the writes of their Jobs; of what did not come through all, none', () => {
  const ids = Array.from({ length: 100 }, (_, at) => at);
  const write = (id: number, at: number, changes: Partial<JobVersion>) =>
    ({ uid: `u${id}`, messageId: `m${id}`, answeredAt: at, end: undefined, settled: false, ...changes }) as JobVersion;
  const history = {
    puts: ids.map((id) => ({ messageId: `m${id}`, at: 1000 })),
    jobs: ids.flatMap((id) => [
      write(id, 1000 + id, { write: 'create' }),
      write(id, 3000 + id, { write: 'update status', end: 'completed' }),
      ...(id < 99 ? [write(id, 3500 + id, { write: 'patch', end: 'completed', settled: true })] : []),
    ]),
  };
  expect(delays(history as unknown as History)).toEqual({
    queued: { half: 49, most: 94 },
    unfinished: { half: 2000, most: 2000 },
    unsettled: { half: 500, most: 500 },
  });
});
