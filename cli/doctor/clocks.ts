/** Whether the clocks of this machine, of the API server and of the storage service agree. */
import type { Sighting } from '../../queue/inspect.ts';
import { duration } from '../durations.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';

/** Milliseconds of difference that are told of. Servers tell whole seconds. */
const TOLERATED_MS = 30_000;
/** Two servers whose clocks differ by less agree against this machine. */
const AGREEING_MS = 5000;

const NOW_RIGHT = 'sudo timedatectl set-ntp true';

/** One server's clock; undefined: it was not asked or gave no answer, for the reason given. */
export interface ServerClock {
  readonly name: string;
  /** Its name in the column of checks. */
  readonly short: string;
  readonly time: Sighting | undefined;
  readonly whyNot: string;
}

/** Judges the clocks. Leases are timed by the operator's monotonic clock, so no skew costs a task; what it breaks is said. */
export function judgeClocks(apiServer: ServerClock, storage: ServerClock): readonly Finding[] {
  const off = [apiServer, storage].map(({ time }) => (time === undefined ? undefined : time.theirs - time.ours));
  const [first, second] = off;
  if (
    first !== undefined &&
    second !== undefined &&
    Math.abs(first - second) < AGREEING_MS &&
    Math.abs(first) > TOLERATED_MS
  )
    return [
      problem(
        'clock',
        `this machine's clock is ${difference(first)} both servers': ages and times shown here are wrong, and a SAS made here begins or ends at another time. Tasks and leases do not suffer`,
        NOW_RIGHT,
      ),
    ];
  return [judge(apiServer, off[0], OF_API_SERVER), judge(storage, off[1], OF_STORAGE)];
}

const OF_API_SERVER =
  'ages and times of Jobs are shown wrong. Leases are timed by the monotonic clock and do not suffer';
const OF_STORAGE =
  'a SAS begins or ends at another time than it says, and from 15 minutes on every request signed with the account key is refused. Leases are timed by the monotonic clock and do not suffer';

function judge({ name, short, whyNot }: ServerClock, off: number | undefined, breaks: string): Finding {
  const check = `clock of ${short}`;
  if (off === undefined) return unknown(check, whyNot);
  if (Math.abs(off) <= TOLERATED_MS) return ok(check, `differs from this machine's by ${seconds(off)}`);
  return problem(
    check,
    `this machine's clock is ${difference(off)} that of ${name}, or that one is wrong: ${breaks}`,
    NOW_RIGHT,
  );
}

function difference(off: number): string {
  return `${duration(Math.round(Math.abs(off) / 1000))} ${off > 0 ? 'behind' : 'ahead of'}`;
}

function seconds(off: number): string {
  return Math.abs(off) < 1500 ? 'at most a second' : `about ${duration(Math.round(Math.abs(off) / 1000))}`;
}
