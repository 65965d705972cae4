/** What to do about a Job now. Pure and total: the same picture gives the same decision, whatever happened before. */

import type { Diagnosis } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { type Outcome, outcomeOf, recordedOutcome } from '../jobs/outcome.ts';
import type { JobRecord, PodRecord } from '../jobs/records.ts';
import { isLostUnnoted, keepLease, watchOver } from './watch-over.ts';
import { webhookState } from './webhook-state.ts';

/** A step of settling, in the order in which they are taken. Each can be repeated. */
export const SETTLE_STEPS = ['record', 'poison', 'delete', 'webhook', 'close'] as const;
export type SettleStep = (typeof SETTLE_STEPS)[number];

/** What is known of the message's lease. */
export interface LeaseView {
  readonly condition: 'held' | 'lost' | 'gone';
  readonly popReceipt: string;
  /** Whether the receipt was written onto the Job once; another operator may have written its own since. */
  readonly isWritten: boolean;
  /** Milliseconds since the epoch. */
  readonly renewAt: number;
}

/** Everything a decision rests on. `now` in milliseconds since the epoch. */
export interface Picture {
  readonly job: JobRecord;
  readonly pods: readonly PodRecord[];
  readonly lease: LeaseView;
  /** Milliseconds since the Job was first seen finished. */
  readonly endAgeMs: number;
  readonly now: number;
  /** Whether the picture of the Jobs can be trusted. */
  readonly viewKnown: boolean;
  /** Why this Job's webhook is given up although it could be tried on: too many are owed, and this one for the longest. */
  readonly surplus?: string | undefined;
}

/** What to do. */
export type Decision =
  /** Nothing; look again after that time (or when something changes). */
  | { readonly kind: 'leave'; readonly lookAgainMs: number | undefined }
  | { readonly kind: 'renew' }
  /** The lease is lost, and the Job does not say so yet. */
  | { readonly kind: 'note-lost-lease' }
  /** The Job does not have the lease's last receipt: an earlier write of it failed. */
  | { readonly kind: 'write-receipt' }
  /** The pod does not start, and why can be seen only now; undefined when what was noted has passed. */
  | { readonly kind: 'note'; readonly diagnosis: Diagnosis | undefined }
  /** There is no pod, and why is said in an Event, if at all. */
  | { readonly kind: 'inquire' }
  /** End the Job now: no attempt can mend it, its time is over, or somebody cancelled it. */
  | {
      readonly kind: 'end';
      readonly diagnosis: Diagnosis;
      /** The pod that does not start, an attempt of its own. */
      readonly pod?: PodRecord;
    }
  /** End the pod as its own deadline would: its tests have run for as long as they may. */
  | { readonly kind: 'expire'; readonly pod: PodRecord }
  /** Take the pod away: an attempt that counts, or one that does not. */
  | { readonly kind: 'use-attempt' | 'retry'; readonly diagnosis: Diagnosis; readonly pod: PodRecord }
  | {
      readonly kind: 'settle';
      readonly outcome: Outcome;
      readonly steps: readonly SettleStep[];
      /** Why the webhook is given up without another try. */
      readonly surplus?: string;
    };

/** How long a finished Job waits for its pods' last words, which come by another watch. */
export const LAST_WORDS_MS = 10_000;

/** Decides. */
export function decide(picture: Picture): Decision {
  const { job, pods, now } = picture;
  if (job.settled) return leave();
  // One that is being deleted is only kept from coming twice: what is to be done about it is decided when it is gone.
  if (job.end === undefined) return job.deleting ? keepLease(picture) : watchOver(picture);
  const owed = webhookState(job);
  const recorded = recordedOutcome(job);
  const isOwed = recorded !== undefined && owed?.kind === 'owed';
  // Settling deletes the message: not on hearsay. Until it is deleted nobody else is to get it.
  if (!picture.viewKnown) return isOwed ? leave(1000) : meanwhile(picture, 1000);
  if (isOwed) {
    const { surplus } = picture;
    const steps = ['webhook', 'close'] as const;
    if (surplus !== undefined) return { kind: 'settle', outcome: recorded, steps, surplus };
    return owed.nextAt > now ? leave(owed.nextAt - now) : { kind: 'settle', outcome: recorded, steps };
  }
  if (recorded === undefined && isLostUnnoted(picture)) return { kind: 'note-lost-lease' };
  if (recorded === undefined && picture.endAgeMs < LAST_WORDS_MS && !haveLastWords(job, pods)) {
    return meanwhile(picture, Math.min(500, LAST_WORDS_MS - picture.endAgeMs));
  }
  const outcome = outcomeOf(job, job.end, pods);
  // The result of a CI task is to be seen on its Job.
  const isCi = job.annotations[ANNOTATION.ciImage] !== undefined;
  const due: Readonly<Record<SettleStep, boolean>> = {
    // The evidence stands on the pods alone, which may go at any time; when only a delete is due, it is not needed.
    record:
      recorded === undefined && (outcome.status !== 'completed' || outcome.webhookDue || outcome.leaseLost || isCi),
    poison: outcome.status === 'failed' && job.annotations[ANNOTATION.poisoned] === undefined,
    delete: true,
    webhook: outcome.webhookDue,
    close: true,
  };
  return { kind: 'settle', outcome, steps: SETTLE_STEPS.filter((step) => due[step]) };
}

/** Waits, and keeps the lease. */
function meanwhile(picture: Picture, lookAgainMs: number): Decision {
  const upkeep = keepLease(picture);
  return upkeep.kind === 'renew' ? upkeep : leave(lookAgainMs);
}

/**
 * Whether the pods seen account for the Job's end. A Job that ended by deadline may never have had one; one that was
 * ended while suspended has none left, and its parallelism says so.
 */
function haveLastWords(job: JobRecord, pods: readonly PodRecord[]): boolean {
  if (pods.some((pod) => pod.phase === 'Pending' || pod.phase === 'Running')) return false;
  if (job.end?.kind === 'complete') return pods.some((pod) => pod.phase === 'Succeeded');
  return pods.length > 0 || job.parallelism === 0;
}

function leave(lookAgainMs?: number): Decision {
  return { kind: 'leave', lookAgainMs };
}
