/** What `slipway drain` does: waits until nothing runs or is owed. */
import { EXIT } from '../contract/runner-abi.ts';
import { messageOf } from '../lib/errors.ts';
import { webhookState } from '../operator/settle/webhook-state.ts';
import { attendanceOf } from './attendance.ts';
import { type Cluster, inWords } from './cluster.ts';
import { shortDuration } from './durations.ts';
import { followTasks, selectorOf, type Task } from './jobs.ts';
import { INTERRUPTED, type Output } from './output.ts';
import { paint } from './paint.ts';
import { taskState } from './task-state.ts';
import { taskLines } from './task-table.ts';

/** How many tasks are left, by what they are left with. */
interface Left {
  readonly running: number;
  readonly waiting: number;
  readonly settling: number;
  readonly owed: number;
}

/** What is not settled. */
function whatIsLeft(tasks: readonly Task[]): Left {
  const left = { running: 0, waiting: 0, settling: 0, owed: 0 };
  for (const task of tasks) {
    if (task.job.settled) continue;
    const state = taskState(task);
    if (state === 'settling') left[webhookState(task.job)?.kind === 'owed' ? 'owed' : 'settling']++;
    else left[state === 'waiting' ? 'waiting' : 'running']++;
  }
  return left;
}

/**
 * Waits; returns the exit code.
 *
 * @param timeoutMs undefined: without end
 */
export async function drain(
  cluster: Cluster,
  output: Output,
  client: string | undefined,
  timeoutMs: number | undefined,
): Promise<number> {
  const { clock, stopping } = output;
  const started = clock.monotonic();
  const where = `${client === undefined ? '' : `of client ${client} `}in ${inWords(cluster)}`;
  const ended = new AbortController();
  const until = AbortSignal.any([
    stopping,
    ended.signal,
    ...(timeoutMs === undefined ? [] : [clock.deadline(timeoutMs)]),
  ]);
  const progress = progressOn(output, () => clock.monotonic() - started);
  let known: ReadonlySet<string> | undefined;
  let warned = false;
  let open: readonly Task[] | undefined;
  let drained = false;
  let looking: Promise<void> | undefined;
  const lookForOperator = async (task: Task) => {
    if ((await attendanceOf(cluster, output, task)) === 'unattended') progress.say(UNATTENDED);
  };
  const ticking = progress.tick(until);
  try {
    const onLost = (error: Error) =>
      progress.say(`contact is lost (${messageOf(error)}). It is tried again; nothing counts as drained before`);
    await followTasks(
      cluster,
      clock,
      { stopping: until, selector: selectorOf(client === undefined ? {} : { client }), onLost },
      (tasks) => {
        const all = tasks.all();
        open = all.filter(({ job }) => !job.settled);
        known ??= new Set(all.map(({ job }) => job.uid));
        if (!warned && all.some(({ job }) => !known?.has(job.uid))) {
          warned = true;
          progress.say(STILL_RECEIVING);
        }
        progress.show(whatIsLeft(open));
        if (open[0] !== undefined) looking ??= lookForOperator(open[0]);
        drained = open.length === 0;
        return !drained;
      },
    );
  } finally {
    ended.abort();
    await looking;
    await ticking;
    progress.end();
  }
  const lasted = shortDuration(clock.monotonic() - started);
  if (drained) {
    output.out(`Drained after ${lasted}: nothing runs or is owed ${where}.\n`);
    return EXIT.done;
  }
  if (stopping.aborted) return INTERRUPTED;
  if (open === undefined) output.err(`slipway: after ${lasted} nothing is known yet of what runs ${where}\n`);
  else {
    output.err(`slipway: not drained after ${lasted}: ${open.length} left ${where}\n`);
    const [head = '', ...lines] = taskLines(open, clock.now(), output.columns);
    output.out(`${[paint(output.colour, 'bold', head), ...lines].join('\n')}\n`);
  }
  return EXIT.failed;
}

const STILL_RECEIVING =
  'new tasks keep coming, so this may never end. Set receiving: false in the configuration first (helm upgrade … --reuse-values --set config.receiving=false)';

const UNATTENDED =
  'no operator seems to run, so nothing will be settled. kubectl get pods -l app.kubernetes.io/component=operator';

interface Progress {
  show(left: Left): void;
  /** A sentence beside the progress. */
  say(sentence: string): void;
  /** Keeps the time on a terminal up to date until the signal aborts. */
  tick(signal: AbortSignal): Promise<void>;
  end(): void;
}

/** One line that is written over on a terminal; elsewhere a line for each change. */
function progressOn(output: Output, elapsed: () => number): Progress {
  const terminal = output.columns !== undefined;
  let last = '';
  const clear = () => terminal && last !== '' && output.err('\r\u001b[K');
  const write = () => {
    if (terminal)
      output.err(`\r\u001b[K${`${last}, ${shortDuration(elapsed())}`.slice(0, (output.columns ?? 80) - 1)}`);
    else output.err(`${last}, after ${shortDuration(elapsed())}\n`);
  };
  return {
    show(left) {
      const text = `${left.running} running, ${left.waiting} waiting, ${left.settling} settling, ${left.owed} ${left.owed === 1 ? 'webhook' : 'webhooks'} owed`;
      if (text === last) return;
      last = text;
      write();
    },
    say(sentence) {
      clear();
      output.err(`slipway: ${sentence}\n`);
      if (terminal && last !== '') write();
    },
    async tick(signal) {
      while (terminal && !signal.aborted) {
        await output.clock.sleep(1000, signal);
        if (last !== '' && !signal.aborted) write();
      }
    },
    end: () => void clear(),
  };
}
