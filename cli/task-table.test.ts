import { expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import { FAILED, testJob, testPod } from '../testing/jobs.ts';
import { EPOCH } from '../testing/virtual-clock.ts';
import type { Task } from './jobs.ts';
import { taskCells, taskLines, taskTable } from './task-table.ts';
import { width } from './text.ts';

const HELD: Task = {
  job: testJob({
    labels: { [LABEL.taskId]: '漢字-4711' },
    suspended: true,
    annotations: { [ANNOTATION.suspendedBy]: 'slipway' },
  }),
  pods: [],
};
const FAILING: Task = {
  job: testJob({ labels: { [LABEL.taskId]: 't-1' }, end: FAILED, settled: true }),
  pods: [testPod('failed')],
};
const NOW = EPOCH + 90_000;

test('columns line up, also behind wide characters', () => {
  const [head = '', ...lines] = taskLines([HELD, FAILING], NOW, undefined);
  expect(head).toMatch(/^TASK +CLIENT +TYPE +STATE +ATTEMPT +AGE +DURATION +JOB +WHY$/);
  const before = (line: string, text: string) => width(line.slice(0, line.indexOf(text)));
  for (const line of lines) expect(before(line, 'acme ')).toBe(before(head, 'CLIENT'));
  expect(before(lines[0] ?? '', 'its type has no room')).toBe(before(head, 'WHY'));
  expect(lines[1]).toMatch(/^t-1 +acme +echo +failed +1\/3 +90s +0s +acme-echo-abcdefghijkl +TaskFailed$/);
});

test('on a terminal, what does not fit is left out in that order: JOB, CLIENT, DURATION, ATTEMPT', () => {
  const heads = [120, 100, 75, 65, 55, 40].map((columns) => taskLines([HELD], NOW, columns)[0]?.split(/ +/).join(' '));
  expect(heads).toEqual([
    'TASK CLIENT TYPE STATE ATTEMPT AGE DURATION JOB WHY',
    'TASK CLIENT TYPE STATE ATTEMPT AGE DURATION WHY',
    'TASK TYPE STATE ATTEMPT AGE DURATION WHY',
    'TASK TYPE STATE ATTEMPT AGE WHY',
    'TASK TYPE STATE AGE WHY',
    'TASK TYPE STATE AGE WHY',
  ]);
  for (const columns of [120, 100, 75, 65, 55])
    for (const line of taskLines([HELD, FAILING], NOW, columns)) expect(width(line)).toBeLessThanOrEqual(columns);
});

test('a table that goes on keeps room for what comes', () => {
  const table = taskTable([], undefined, true);
  const line = table.line(taskCells(HELD, NOW));
  expect(width(line.slice(0, line.indexOf('waiting')))).toBeGreaterThanOrEqual(table.head.indexOf('STATE'));
  expect(table.line(taskCells(FAILING, NOW)).indexOf('failed')).toBe(table.head.indexOf('STATE'));
});
