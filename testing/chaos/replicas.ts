/** Replicas of the operator, each a process of its own, which is started again when it ends, as a Deployment does it. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#/lib/clock.ts';
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
export interface DoneKill {
  readonly replica: number;
  readonly at: number;
}

/** Replicas under way. Disposing of them kills those that still run. */
export interface Replicas extends AsyncDisposable {
  readonly kills: readonly DoneKill[];
  readonly ownEnds: readonly OwnEnd[];
  /** Waits until the replica runs, and kills it; then it is started again, in a new pod if it is to be `replaced`. */
  kill(replica: number, replaced: boolean): Promise<void>;
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
}

/** Between the end of a process and its next start. */
const PAUSE_MS = 500;
/** Far longer than a start takes, also while the API server is away. */
const START_MS = 90_000;

/** Starts replicas and returns at once. */
export function startReplicas({ count, operator, directory, tell }: ReplicasOptions): Replicas {
  const kills: DoneKill[] = [];
  const ownEnds: OwnEnd[] = [];
  const stopping = new AbortController();
  const current: (OperatorProcess | undefined)[] = [];
  /** How many pods each replica has had, with the one it has now. */
  const pods: number[] = [];
  const killed = new WeakSet<OperatorProcess>();

  /** Keeps one replica running until all are stopped; gives its last exit code. */
  async function keep(replica: number): Promise<number | null> {
    for (;;) {
      const env = { ...operator.env, SLIPWAY_POD_NAME: `operator-${replica}-${pods[replica] ?? 1}` };
      const process = await startOperator({ ...operator, env });
      current[replica] = process;
      // A stop that came while the process was being started has not reached it.
      if (stopping.signal.aborted) void process.stop();
      const code = await process.ended;
      const lines = process.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      appendFileSync(join(directory, `replica-${replica}.log`), lines);
      await process[Symbol.asyncDispose]();
      if (stopping.signal.aborted) return code;
      current[replica] = undefined;
      if (!killed.has(process)) {
        ownEnds.push({ replica, at: systemClock.now(), code });
        tell(`replica ${replica} has ended by itself with ${code}: ${process.lines.at(-1)?.msg}`);
      }
      await systemClock.sleep(PAUSE_MS, stopping.signal);
      if (stopping.signal.aborted) return null;
    }
  }

  const kept = Array.from({ length: count }, (_, replica) => keep(replica));
  for (const one of kept) one.catch(() => undefined);

  /** The replica's process, once it runs. @throws Error with the last process's last lines when none does */
  async function running(replica: number): Promise<OperatorProcess> {
    const until = systemClock.monotonic() + START_MS;
    let last: OperatorProcess | undefined;
    for (;;) {
      if (systemClock.monotonic() > until) {
        const lines = last?.lines.slice(-10).map((line) => `  ${JSON.stringify(line)}`) ?? [];
        throw new Error([`replica ${replica} does not start; its last lines:`, ...lines].join('\n'));
      }
      const process = current[replica];
      last = process ?? last;
      const starts = process?.port.then(
        () => true,
        () => false,
      );
      if (process !== undefined && (await starts) && current[replica] === process) return process;
      await systemClock.sleep(50, stopping.signal);
    }
  }

  return {
    kills,
    ownEnds,
    replicaOf: (pod) => {
      const [, replica] = /^operator-(\d+)-\d+$/.exec(pod) ?? [];
      return replica === undefined ? undefined : Number(replica);
    },
    async kill(replica, replaced) {
      const process = await running(replica);
      killed.add(process);
      current[replica] = undefined;
      if (replaced) pods[replica] = (pods[replica] ?? 1) + 1;
      kills.push({ replica, at: systemClock.now() });
      tell(`SIGKILL to replica ${replica} (pid ${process.pid})${replaced ? ', which another replaces' : ''}`);
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
