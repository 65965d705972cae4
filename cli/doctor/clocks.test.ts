import { expect, test } from 'vitest';
import { judgeClocks } from './clocks.ts';

const NOW = Date.UTC(2026, 0, 1);

function judged(apiServerOff: number | undefined, storageOff: number | undefined) {
  const clock = (name: string, off: number | undefined) => ({
    name,
    short: name,
    time: off === undefined ? undefined : { theirs: NOW + off, ours: NOW },
    whyNot: 'not asked',
  });
  return judgeClocks(clock('the API server', apiServerOff), clock('storage', storageOff));
}

test('half a minute is no skew', () => {
  expect(judged(30_000, -30_000).map(({ state }) => state)).toEqual(['OK', 'OK']);
  expect(judged(20_000, 20_000).map(({ state }) => state)).toEqual(['OK', 'OK']);
});

test.each([
  [-45_000, '45s ahead of both'],
  [3_600_000, '1h behind both'],
])('this machine is wrong where both servers agree against it: %d ms', (off, words) => {
  expect(judged(off, off + 900)).toMatchObject([
    { state: 'PROBLEM', check: 'clock', detail: expect.stringContaining(words) },
  ]);
});

test('one server that differs is told with what it breaks', () => {
  const [apiServer, storage] = judged(500, 120_000);
  expect(apiServer).toMatchObject({ state: 'OK', detail: expect.stringContaining('at most a second') });
  expect(storage).toMatchObject({ state: 'PROBLEM', detail: expect.stringMatching(/2m behind .*SAS.*15 minutes/) });
  expect(judged(-120_000, 0)[0]).toMatchObject({ state: 'PROBLEM', detail: expect.stringContaining('2m ahead') });
});

test('a clock that was not seen is unknown, and the other is judged all the same', () => {
  expect(judged(undefined, 60_000)).toMatchObject([{ state: 'UNKNOWN', detail: 'not asked' }, { state: 'PROBLEM' }]);
});
