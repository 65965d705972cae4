/** Tasks as a table. */
import { LABEL } from '../contract/identity.ts';
import { shortDuration } from './durations.ts';
import type { Task } from './jobs.ts';
import { attemptOf, clientOf, outcome, ranFrom, shortWhy, taskState } from './task-state.ts';
import { printable, table, width } from './text.ts';

const HEAD = ['TASK', 'CLIENT', 'TYPE', 'STATE', 'ATTEMPT', 'AGE', 'DURATION', 'JOB', 'WHY'] as const;
type Column = (typeof HEAD)[number];

/** What a narrow terminal does without, the first before the others: a line that breaks lines up with nothing. */
const DISPENSABLE: readonly Column[] = ['JOB', 'CLIENT', 'DURATION', 'ATTEMPT'];

/** So wide at least is each column of a table that goes on: what comes later is to line up too. */
const ROOM: Readonly<Record<Column, number>> = {
  TASK: 8,
  CLIENT: 6,
  TYPE: 4,
  STATE: 9,
  ATTEMPT: 7,
  AGE: 6,
  DURATION: 8,
  JOB: 20,
  WHY: 20,
};

/** The cells of a task's line. */
export type TaskCells = Readonly<Record<Column, string>>;

/** A task as a line of the table, at a moment in milliseconds since the epoch. */
export function taskCells(task: Task, now: number): TaskCells {
  const { job } = task;
  const from = ranFrom(task);
  const ended = outcome(task);
  const attempt = attemptOf(task);
  const until = ended === undefined ? now : new Date(ended.finishedAt).getTime();
  return {
    TASK: job.labels[LABEL.taskId] ?? '-',
    CLIENT: clientOf(job) || '-',
    TYPE: job.labels[LABEL.taskType] ?? '-',
    STATE: taskState(task),
    ATTEMPT: attempt === 0 && job.settled ? '-' : `${attempt}/${job.attempts}`,
    AGE: shortDuration(now - job.createdAt),
    DURATION: from === undefined ? '-' : shortDuration(until - from),
    JOB: job.name,
    WHY: shortWhy(task),
  };
}

/** Writes lines that line up with each other, also with those that are still to come. */
export interface TaskTable {
  readonly head: string;
  line(cells: TaskCells): string;
}

/**
 * Makes a table for tasks.
 *
 * @param columns the terminal's width: columns that do not fit are left out; undefined: all are there
 * @param goesOn whether lines are still to come
 */
export function taskTable(rows: readonly TaskCells[], columns: number | undefined, goesOn: boolean): TaskTable {
  const widths = new Map(
    HEAD.map((name) => [
      name,
      Math.max(width(name), goesOn ? ROOM[name] : 0, ...rows.map((row) => width(printable(row[name])))),
    ]),
  );
  const shown = fitting(widths, columns);
  const padded = shown.map((name) => name + ' '.repeat((widths.get(name) ?? 0) - width(name)));
  const lines = (row: readonly string[][]) => table(padded, row, columns);
  return {
    head: lines([])[0] ?? '',
    line: (cells) => lines([shown.map((name) => cells[name])])[1] ?? '',
  };
}

/** Which columns are shown. The last one may be cut, so it need not fit whole. */
function fitting(widths: ReadonlyMap<Column, number>, columns: number | undefined): readonly Column[] {
  let shown: readonly Column[] = HEAD;
  const size = () =>
    shown.reduce(
      (sum, name) => sum + 2 + (name === 'WHY' ? Math.min(20, widths.get(name) ?? 0) : (widths.get(name) ?? 0)),
      -2,
    );
  for (const name of DISPENSABLE) {
    if (columns === undefined || size() <= columns) break;
    shown = shown.filter((one) => one !== name);
  }
  return shown;
}

/** All lines of a finished table. */
export function taskLines(tasks: readonly Task[], now: number, columns: number | undefined): readonly string[] {
  const rows = tasks.map((task) => taskCells(task, now));
  const { head, line } = taskTable(rows, columns, false);
  return [head, ...rows.map(line)];
}
