/** Replicas of the operator, each a process of its own, which is started again when it ends, as a Deployment does it. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#/lib/clock.ts';
import type { KilledPod } from '#/testing/chaos/handovers.ts';
import type { Tell } from '#/testing/chaos/log.ts';
import { type OperatorOptions, type OperatorProcess, startOperator } from '#/testing/operator-process.ts';

/** The end of a process that nobody was to end. */
export interface OwnEnd {
  readonly replica: number;
  readonly at: number;
  /** Null for a signal. */
  readonly code: number | null;
}

/** A SIGKILL that was sent to a running operator. */
export interface DoneKill extends KilledPod {
  readonly replica: number;
}

/** Replicas under way. Disposing of them kills those that still run. */
export interface Replicas extends AsyncDisposable {
  readonly kills: readonly DoneKill[];
  readonly ownEnds: readonly OwnEnd[];
  /** Waits until the replica runs, and kills it; then it is started again, in a new pod if it is to be `replaced`. */
  kill(replica: number, replaced: boolean, signal: AbortSignal): Promise<void>;
  /** The replica whose pod has, or had, this name. */
  replicaOf(pod: string): number | undefined;
  /** Sends SIGTERM to all and gives their exit codes. */
  stop(): Promise<readonly (number | null)[]>;
}

/** What replicas are started with. */
export interface ReplicasOptions {
  readonly count: number;
  readonly operator: OperatorOptions;
  /** Their log lines go here, into a file for each. */
  readonly directory: string;
  readonly tell: Tell;
  /** Called when a replica does not stay up: it is not started any more. The error has its last lines. */
  readonly onHopeless: (error: Error) => void;
}

/** Between the end of a process and its next start. */
const PAUSE_MS = 500;
/** After so many ends of its own, one after the other, a replica is given up; so is one that takes so long to start. */
const OWN_ENDS = 3;
const START_MS = 60_000;
const LAST_LINES = 15;

/** Starts replicas and returns at once. */
export function startReplicas({ count, operator, directory, tell, onHopeless }: ReplicasOptions): Replicas {
  const kills: DoneKill[] = [];
  const ownEnds: OwnEnd[] = [];
  const stopping = new AbortController();
  const current: (OperatorProcess | undefined)[] = [];
  /** How many pods each replica has had, with the one it has now. */
  const pods: number[] = [];
  const killed = new WeakSet<OperatorProcess>();

  /** Keeps one replica running until all are stopped; gives its last exit code. */
  async function keep(replica: number): Promise<number | null> {
    let ends = 0;
    for (;;) {
      const env = { ...operator.env, SLIPWAY_POD_NAME: podOf(replica) };
      const process = await startOperator({ ...operator, env });
      current[replica] = process;
      // A stop that came while the process was being started has not reached it.
      if (stopping.signal.aborted) void process.stop();
      const late = setTimeout(() => {
        if (!hasStarted(process)) onHopeless(hopeless(replica, `has not started in ${START_MS / 1000} s`, process));
      }, START_MS);
      const code = await process.ended;
      clearTimeout(late);
      const lines = process.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      appendFileSync(join(directory, `replica-${replica}.log`), lines);
      await process[Symbol.asyncDispose]();
      if (stopping.signal.aborted) return code;
      current[replica] = undefined;
      if (killed.has(process)) ends = 0;
      else {
        ownEnds.push({ replica, at: systemClock.now(), code });
        tell(`replica ${replica} has ended by itself with ${code}: ${process.lines.at(-1)?.msg}`);
        if (++ends === OWN_ENDS) {
          onHopeless(hopeless(replica, `has ended by itself ${ends} times, one after the other`, process));
          return code;
        }
      }
      await systemClock.sleep(PAUSE_MS, stopping.signal);
      if (stopping.signal.aborted) return null;
    }
  }

  const podOf = (replica: number) => `operator-${replica}-${pods[replica] ?? 1}`;
  const kept = Array.from({ length: count }, (_, replica) => keep(replica));
  for (const one of kept) one.catch(() => undefined);

  /** The replica's process, once it runs. */
  async function running(replica: number, signal: AbortSignal): Promise<OperatorProcess> {
    for (;;) {
      const process = current[replica];
      if (process !== undefined && hasStarted(process)) return process;
      await systemClock.sleep(50, signal);
      signal.throwIfAborted();
    }
  }

  return {
    kills,
    ownEnds,
    replicaOf: (pod) => {
      const [, replica] = /^operator-(\d+)-\d+$/.exec(pod) ?? [];
      return replica === undefined ? undefined : Number(replica);
    },
    async kill(replica, replaced, signal) {
      const process = await running(replica, signal);
      killed.add(process);
      current[replica] = undefined;
      kills.push({ replica, pod: podOf(replica), at: systemClock.now() });
      if (replaced) pods[replica] = (pods[replica] ?? 1) + 1;
      tell(`SIGKILL to replica ${replica}${replaced ? ', which another replaces' : ''}`);
      await process.kill();
    },
    async stop() {
      stopping.abort();
      for (const process of current) void process?.stop();
      return Promise.all(kept);
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      for (const process of current) await process?.kill();
      await Promise.allSettled(kept);
    },
  };
}

function hasStarted({ lines }: OperatorProcess): boolean {
  return lines.some(({ msg }) => msg === 'the operator starts');
}

function hopeless(replica: number, why: string, { lines }: OperatorProcess): Error {
  const last = lines.slice(-LAST_LINES).map((line) => JSON.stringify(line));
  return new Error([`replica ${replica} ${why}; its last lines:`, ...last].join('\n'));
}
