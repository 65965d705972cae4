/** Starts a Job that was held back. */
import { ANNOTATION } from '../../contract/identity.ts';
import { backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { isKind } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { JobStore } from '../jobs/store.ts';
import type { JobsView } from '../jobs/view.ts';
import { type HeldJob, isHeld, type Slot } from './slots.ts';
import type { Turns } from './turns.ts';

/** What starting works with. */
export interface StartTools {
  readonly store: Pick<JobStore, 'patch'>;
  readonly view: JobsView;
  readonly clock: Clock;
  readonly log: Log;
  readonly checkpoint: Checkpoint;
  readonly turns: Turns;
}

/**
 * Resumes the Job; the slot is given back. An answer that did not come is asked for again: until there is one, the Job may run, and its
 * slot stays taken. Ends early, with nothing more to do, when `signal` aborts.
 */
export async function startHeld(
  { store, view, clock, log, checkpoint, turns }: StartTools,
  { name }: HeldJob,
  slot: Pick<Slot, 'free'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        using turn = await turns.take(signal);
        const job = view.job(name);
        if (turn === undefined || job === undefined || !isHeld(job)) return;
        view.learn(
          await store.patch(name, { suspend: false, annotations: { [ANNOTATION.suspendedBy]: null } }, signal),
        );
        await checkpoint('started', name);
        log.info({ job: name }, 'the Job is started: its type has room now');
        return;
      } catch (error) {
        const job = view.job(name);
        if (isKind(error, 'not-found') && job !== undefined) return view.observe({ kind: 'job-gone', job });
        if (failures === 1 || failures % 10 === 0)
          log.warn({ job: name, failures, err: error }, 'the Job could not be started; it is tried again');
        await clock.sleep(backoff(failures, 250, 15_000, clock), signal);
      }
    }
  } finally {
    slot.free();
  }
}
