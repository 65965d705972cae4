import { describe, expect, test } from 'vitest';
import { compareReports, type Report, readReports } from './compare.ts';

const read = (...reports: object[]): ReadonlyMap<string, Report> => {
  const all = readReports(reports.map((one) => JSON.stringify(one)).join('\n'), 'file');
  if ('problem' in all) throw new Error(all.problem);
  return all;
};
const task = (id: string, more: object = {}) => ({
  task_id: id,
  status: 'completed',
  result: { n: 1 },
  duration_ms: 100,
  ...more,
});

test('the same tasks with the same ends are the same, whatever their times', () => {
  const comparison = compareReports(read(task('a'), task('b')), read(task('b', { duration_ms: 900 }), task('a')), []);
  expect(comparison).toMatchObject({ both: 2, same: 2, onlyOld: [], onlyNew: [], differences: [] });
  expect(comparison.times).toEqual({ old: { median: 100, most: 100 }, new: { median: 900, most: 900 } });
});

describe('a difference is told by its field', () => {
  test.each<[string, object, object]>([
    ['status', { status: 'failed' }, { field: 'status', old: 'completed', new: 'failed' }],
    ['result.n', { result: { n: 2 } }, { field: 'result.n', old: 1, new: 2 }],
    ['result.more', { result: { n: 1, more: [] } }, { field: 'result.more', old: undefined, new: [] }],
    ['result', { result: 'text' }, { field: 'result', old: { n: 1 }, new: 'text' }],
    [
      'error.code',
      { error: { code: 'TaskFailed', message: 'any' } },
      { field: 'error.code', old: undefined, new: 'TaskFailed' },
    ],
  ])('%s', (field, more, expected) => {
    const of = (ignore: string[]) => compareReports(read(task('a')), read(task('a', more)), ignore);
    expect(of([]).differences).toEqual([{ taskId: 'a', ...expected }]);
    expect(of([]).same).toBe(0);
    expect(of([field]).differences).toEqual([]);
    expect(of([field.split('.')[0] ?? '']).differences).toEqual([]);
  });
});

test('tasks that are in one alone', () => {
  expect(compareReports(read(task('a')), read(task('b')), [])).toMatchObject({
    both: 0,
    onlyOld: ['a'],
    onlyNew: ['b'],
  });
});

test('of a webhook that came twice the last one counts, and empty lines do not', () => {
  const twice = readReports(
    `${JSON.stringify(task('a'))}\n\n${JSON.stringify(task('a', { status: 'failed' }))}\n`,
    'file',
  );
  expect([...(twice as ReadonlyMap<string, Report>).values()].map(({ status }) => status)).toEqual(['failed']);
});

test.each([
  ['no JSON', 'nonsense', /^file, line 1: .*Each line has to be the body of a webhook/],
  ['no task_id', '{"task_id":"a"}\n{"status":"completed"}', /^file, line 2: task_id: /],
])('%s is refused by its line', (_, text, expected) => {
  expect(readReports(text, 'file')).toEqual({ problem: expect.stringMatching(expected) });
});

test('times that are not told are not zero', () => {
  expect(compareReports(read({ task_id: 'a' }), read(), []).times.old).toEqual({ median: undefined, most: undefined });
});
