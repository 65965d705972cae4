/** What `slipway tasks` does. */
import { EXIT } from '../contract/runner-abi.ts';
import { messageOf } from '../lib/errors.ts';
import { type Cluster, inWords } from './cluster.ts';
import { followTasks, listTasks, selectorOf, type Task, type Tasks } from './jobs.ts';
import { INTERRUPTED, type Output } from './output.ts';
import { paint } from './paint.ts';
import { type TaskState, taskJson, taskState } from './task-state.ts';
import { type TaskCells, type TaskTable, taskCells, taskLines, taskTable } from './task-table.ts';

/** Which tasks are meant. */
export interface TaskFilter {
  readonly client?: string;
  readonly type?: string;
  readonly task?: string;
  readonly state?: TaskState;
}

/** Lists tasks, newest last; returns the exit code. */
export async function showTasks(cluster: Cluster, output: Output, filter: TaskFilter, json: boolean): Promise<number> {
  const found = await listTasks(cluster, output.clock, output.stopping, selectorOf(filter));
  if (output.stopping.aborted) return INTERRUPTED;
  const tasks = found.filter((task) => filter.state === undefined || taskState(task) === filter.state);
  if (json) output.out(`${JSON.stringify(tasks.map(taskJson), null, 2)}\n`);
  else if (tasks.length === 0) output.out(`${nothing(cluster, filter)}\n`);
  else {
    const [head = '', ...lines] = taskLines(tasks, output.clock.now(), output.columns);
    output.out(`${[paint(output.colour, 'bold', head), ...lines].join('\n')}\n`);
  }
  return EXIT.done;
}

/** Lists tasks and then tells each change, until it is stopped; returns the exit code. */
export async function watchTasks(cluster: Cluster, output: Output, filter: TaskFilter, json: boolean): Promise<number> {
  const { clock, stopping } = output;
  const told = new Map<string, { readonly task: Task; readonly text: string }>();
  let lines: TaskTable | undefined;
  const fits = (task: Task) => filter.state === undefined || taskState(task) === filter.state;
  const write = (cells: TaskCells, of: Task, gone: boolean) => {
    if (json) output.out(`${JSON.stringify({ ...taskJson(of), gone })}\n`);
    else output.out(`${lines?.line(cells)}\n`);
  };
  const see = (tasks: Tasks) => {
    const all = tasks.all().filter(fits);
    const now = clock.now();
    if (lines === undefined) {
      lines = taskTable(
        all.map((task) => taskCells(task, now)),
        output.columns,
        true,
      );
      if (!json) output.out(`${paint(output.colour, 'bold', lines.head)}\n`);
    }
    for (const task of all) {
      const cells = taskCells(task, now);
      const text = [cells.STATE, cells.ATTEMPT, cells.WHY].join(' ');
      if (told.get(task.job.uid)?.text !== text) write(cells, task, false);
      told.set(task.job.uid, { task, text });
    }
    const present = new Set(all.map(({ job }) => job.uid));
    for (const [uid, { task }] of told) {
      if (present.has(uid)) continue;
      told.delete(uid);
      // With a filter by state it may only have left that state.
      if (filter.state === undefined) write({ ...taskCells(task, now), STATE: 'gone' }, task, true);
    }
    return true;
  };
  const onLost = (error: Error) =>
    output.err(`slipway: contact is lost (${messageOf(error)}). It is tried again; changes may be told late\n`);
  await followTasks(cluster, clock, { stopping, selector: selectorOf(filter), onLost }, see);
  return INTERRUPTED;
}

function nothing(cluster: Cluster, filter: TaskFilter): string {
  const of = [
    ...(filter.client === undefined ? [] : [`client ${filter.client}`]),
    ...(filter.type === undefined ? [] : [`type ${filter.type}`]),
    ...(filter.task === undefined ? [] : [`id ${filter.task}`]),
    ...(filter.state === undefined ? [] : [`state ${filter.state}`]),
  ];
  return of.length === 0
    ? `No task has a Job in ${inWords(cluster)}. Is it the operator's namespace? -n names another.`
    : `No task of ${of.join(', ')} has a Job in ${inWords(cluster)}.`;
}
