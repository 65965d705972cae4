/** How a group of the fake goes through its life: a function of what it was told to do and of the time. */

/** What becomes of a group. Times are milliseconds since its PUT. */
export interface Behaviour {
  /** Pending until then, and Creating until `startsMs`: pulling the image. */
  readonly createsMs: number;
  readonly startsMs: number;
  /** How long the task runs; undefined: until it is stopped. */
  readonly runsMs: number | undefined;
  readonly exitCode: number;
  readonly detail: string;
  readonly log: string;
  /**
   * The platform's own report: `fails` never starts, and `fails-and-runs` is said to have failed, and starts all the same (a group that
   * is called Failed may still start and run).
   */
  readonly provisioning: 'succeeds' | 'fails' | 'fails-and-runs';
  /** A container that ended with another code than 0 is started again once, restart policy Never or not. */
  readonly restarts: boolean;
  /** The platform moves it so long after its start: it is called Repairing for half a minute, and its task is started again. */
  readonly repairsMs: number | undefined;
  /** The answer has no instanceView. */
  readonly isSilent: boolean;
  /** Events that stand on the group from its first moment on. */
  readonly events: readonly { readonly name: string; readonly message: string; readonly type: string }[];
}

/** Runs for a second and succeeds. */
export const ORDINARY: Behaviour = {
  createsMs: 1000,
  startsMs: 20_000,
  runsMs: 1000,
  exitCode: 0,
  detail: 'Completed',
  log: '',
  provisioning: 'succeeds',
  restarts: false,
  repairsMs: undefined,
  isSilent: false,
  events: [],
};

/** How a group stands. */
export interface Standing {
  readonly provisioningState: 'Pending' | 'Creating' | 'Succeeded' | 'Failed' | 'Repairing';
  readonly state: 'Pending' | 'Running' | 'Stopped' | 'Succeeded' | 'Failed';
  readonly current: {
    readonly state: string;
    readonly exitCode?: number;
    readonly startTime?: number;
    readonly finishTime?: number;
    readonly detailStatus?: string;
  };
  readonly previous: Standing['current'] | undefined;
  readonly restartCount: number;
  /** Whether a container of the task runs. */
  readonly isAlive: boolean;
}

/**
 * Looks at a group.
 *
 * @param ageMs since its PUT
 * @param stoppedMs since its PUT; undefined when nobody stopped it
 */
export function standingOf(
  behaviour: Behaviour,
  putAt: number,
  ageMs: number,
  stoppedMs: number | undefined,
): Standing {
  const { createsMs, startsMs, runsMs, exitCode, detail, provisioning, restarts } = behaviour;
  const said = provisioning === 'succeeds' ? 'Succeeded' : 'Failed';
  const waiting = { current: { state: 'Waiting' }, previous: undefined, restartCount: 0, isAlive: false };
  if (stoppedMs !== undefined && stoppedMs < startsMs) return { provisioningState: said, state: 'Stopped', ...waiting };
  if (ageMs < createsMs) return { provisioningState: 'Pending', state: 'Pending', ...waiting };
  if (ageMs < startsMs)
    return {
      provisioningState: provisioning === 'fails-and-runs' ? 'Failed' : 'Creating',
      state: 'Pending',
      ...waiting,
    };
  if (provisioning === 'fails') return { provisioningState: 'Failed', state: 'Pending', ...waiting };
  const movedMs = startsMs + (behaviour.repairsMs ?? Number.POSITIVE_INFINITY);
  if (stoppedMs === undefined && ageMs >= movedMs) return moved(behaviour, putAt, ageMs, movedMs);
  const endsMs = Math.min(startsMs + (runsMs ?? Number.POSITIVE_INFINITY), stoppedMs ?? Number.POSITIVE_INFINITY);
  const running = { state: 'Running', startTime: putAt + startsMs, detailStatus: '' };
  if (ageMs < endsMs)
    return {
      provisioningState: said,
      state: 'Running',
      current: running,
      previous: undefined,
      restartCount: 0,
      isAlive: true,
    };
  const wasStopped = stoppedMs === endsMs;
  const ended = {
    state: 'Terminated',
    exitCode: wasStopped ? 137 : exitCode,
    startTime: putAt + startsMs,
    finishTime: putAt + endsMs,
    detailStatus: wasStopped ? 'Error' : detail,
  };
  if (restarts && !wasStopped && exitCode !== 0 && stoppedMs === undefined)
    return {
      provisioningState: said,
      state: 'Running',
      current: { state: 'Running', startTime: putAt + endsMs, detailStatus: '' },
      previous: ended,
      restartCount: 1,
      isAlive: true,
    };
  return {
    provisioningState: said,
    state: wasStopped ? 'Stopped' : exitCode === 0 ? 'Succeeded' : 'Failed',
    current: ended,
    previous: undefined,
    restartCount: 0,
    isAlive: false,
  };
}

const REPAIR_MS = 30_000;

/** What the platform does to a group whose machine it takes away. How the first container ended nobody tells. */
function moved(behaviour: Behaviour, putAt: number, ageMs: number, movedMs: number): Standing {
  if (ageMs < movedMs + REPAIR_MS)
    return {
      provisioningState: 'Repairing',
      state: 'Pending',
      current: { state: 'Waiting' },
      previous: undefined,
      restartCount: 0,
      isAlive: false,
    };
  const again = { ...behaviour, createsMs: 0, startsMs: movedMs + REPAIR_MS, repairsMs: undefined };
  const standing = standingOf(again, putAt, ageMs, undefined);
  return { ...standing, previous: { state: 'Terminated', detailStatus: '' }, restartCount: 1 };
}
