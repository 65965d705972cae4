/** What `slipway cancel` does. */
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import { EXIT } from '../contract/runner-abi.ts';
import { isKind, messageOf } from '../lib/errors.ts';
import { cancellation } from '../operator/jobs/notes.ts';
import { attendanceOf } from './attendance.ts';
import { type Cluster, inWords } from './cluster.ts';
import { findTasks, followTasks, storeOf, type Task, type Tasks } from './jobs.ts';
import { INTERRUPTED, type Output, seconds } from './output.ts';
import { outcome, shortWhy, taskState } from './task-state.ts';
import { taskLines } from './task-table.ts';
import { printable } from './text.ts';

/** How tasks are cancelled. */
export interface CancelOptions {
  readonly reason: string | undefined;
  readonly dryRun: boolean;
  /** Ends only when each is settled. */
  readonly wait: boolean;
}

/** Asks for tasks to be cancelled; returns the exit code. */
export async function cancelTasks(
  cluster: Cluster,
  output: Output,
  names: readonly string[],
  options: CancelOptions,
): Promise<number> {
  const asked: Task[] = [];
  let failed = 0;
  for (const name of names) {
    if (output.stopping.aborted) return INTERRUPTED;
    const task = await cancelOne(cluster, output, name, options);
    if (task === undefined) failed++;
    else asked.push(task);
  }
  if (output.stopping.aborted) return INTERRUPTED;
  if (options.wait && !options.dryRun && asked.length > 0) {
    const left = await waitFor(cluster, output, asked);
    if (output.stopping.aborted) return INTERRUPTED;
    failed += left;
  }
  return failed > 0 ? EXIT.failed : EXIT.done;
}

/** Asks for one; undefined, after it was told why, when that cannot be. */
async function cancelOne(
  cluster: Cluster,
  output: Output,
  name: string,
  { reason, dryRun }: CancelOptions,
): Promise<Task | undefined> {
  const refuse = (why: string) => {
    output.err(`failed      ${printable(name)}: ${why}\n`);
    return undefined;
  };
  const found = await findTasks(cluster, output.clock, output.stopping, name);
  const unfinished = found.filter(({ job }) => job.end === undefined);
  const [task = found[0]] = unfinished;
  if (task === undefined)
    return refuse(
      `no such task has a Job in ${inWords(cluster)}: slipway why ${printable(name)} tells what that can mean`,
    );
  if (unfinished.length > 1 || (unfinished.length === 0 && found.length > 1))
    return refuse(`several Jobs fit. Name one of them:\n${taskLines(found, output.clock.now(), undefined).join('\n')}`);
  const { job } = task;
  const label = labelOf(task);
  const ended = outcome(task);
  if (ended !== undefined)
    return refuse(
      `it is over: ${ended.status === 'completed' ? 'it completed' : shortWhy(task)} at ${seconds(ended.finishedAt)}`,
    );
  if (cancellation(job) !== undefined) {
    output.out(`asked       ${label}: this was asked for before. ${await prospect(cluster, output, task)}\n`);
    return task;
  }
  if (dryRun) {
    output.out(`would ask   ${label}, which is ${taskState(task)}\n`);
    return task;
  }
  try {
    const annotations = { [ANNOTATION.cancel]: reason ?? 'true' };
    const home = { ...cluster, namespace: job.namespace || cluster.namespace };
    const after = await storeOf(home, output.clock).patch(job.name, { annotations }, output.stopping);
    if (after.end !== undefined) return refuse(`it ended at this moment: slipway why ${job.name} tells how`);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    return refuse('its Job was deleted at this moment');
  }
  output.out(`asked       ${label}, which was ${taskState(task)}. ${await prospect(cluster, output, task)}\n`);
  return task;
}

/** When the wish will be carried out. */
async function prospect(cluster: Cluster, output: Output, task: Task): Promise<string> {
  switch (await attendanceOf(cluster, output, task)) {
    case 'attended':
      return 'The operator ends it in seconds';
    case 'unattended':
      return 'No operator seems to run: it is cancelled as soon as an operator runs';
    case 'unknown':
      return 'It is cancelled as soon as an operator runs: at once where one does';
  }
}

function labelOf({ job }: Task): string {
  return `${printable(job.labels[LABEL.taskId] ?? '')} (${job.name})`;
}

/** Without an operator nothing happens; one that runs is done sooner, but for pods that take their time to end. */
const PATIENCE_MS = 60_000;

/** Waits until each is settled, telling how it goes; returns how many were not cancelled. */
async function waitFor(cluster: Cluster, output: Output, asked: readonly Task[]): Promise<number> {
  const { clock, stopping } = output;
  const open = new Map(asked.map((task) => [task.job.uid, task]));
  let missed = 0;
  const miss = (task: Task, why: string) => {
    missed++;
    output.err(`failed      ${labelOf(task)}: ${why}\n`);
  };
  const see = (tasks: Tasks) => {
    const seen = new Map(tasks.all().map((task) => [task.job.uid, task]));
    for (const [uid, before] of [...open]) {
      const task = seen.get(uid);
      const state = taskState(task ?? before);
      if (task === undefined || task.job.settled) open.delete(uid);
      else open.set(uid, task);
      if (task === undefined) miss(before, 'its Job was deleted, and its record with it');
      else if (task.job.settled && state !== 'cancelled') miss(task, `it ${state} before it could be cancelled`);
      else if (state !== taskState(before)) output.out(`${state.padEnd(11)} ${labelOf(task)}\n`);
    }
    return open.size > 0;
  };
  const ids = [...new Set(asked.map(({ job }) => job.labels[LABEL.taskId] ?? ''))];
  const following = {
    stopping,
    selector: `${LABEL.taskId} in (${ids.join(',')})`,
    onLost: (error: Error) => output.err(`slipway: contact is lost (${messageOf(error)}). It is tried again\n`),
  };
  const done = new AbortController();
  const reminding = clock.sleep(PATIENCE_MS, AbortSignal.any([stopping, done.signal])).then(() => {
    if (done.signal.aborted || stopping.aborted) return;
    const look = `kubectl -n ${cluster.namespace} get pods -l app.kubernetes.io/component=operator`;
    output.err(`slipway: ${open.size} still waited for. Does an operator run? ${look}\n`);
  });
  try {
    await followTasks(cluster, clock, following, see);
  } finally {
    done.abort();
    await reminding;
  }
  return missed;
}
