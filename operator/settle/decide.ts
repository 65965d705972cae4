/** What to do about a Job now. Pure and total: the same picture gives the same decision, whatever happened before. */

import type { Diagnosis } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { fromIso } from '../../lib/clock.ts';
import { type Outcome, outcomeOf, recordedOutcome } from '../jobs/outcome.ts';
import type { JobRecord, PodRecord } from '../jobs/records.ts';
import { notedTrouble, startTrouble } from '../jobs/start-trouble.ts';
import { webhookState } from './webhook-state.ts';

/** A step of settling, in the order in which they are taken. Each can be repeated. */
export const SETTLE_STEPS = ['record', 'poison', 'delete', 'webhook', 'close'] as const;
export type SettleStep = (typeof SETTLE_STEPS)[number];

/** What is known of the message's lease. */
export interface LeaseView {
  readonly condition: 'held' | 'lost' | 'gone';
  readonly popReceipt: string;
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
}

/** What to do. */
export type Decision =
  /** Nothing; look again after that time (or when something changes). */
  | { readonly kind: 'leave'; readonly lookAgainMs: number | undefined }
  | { readonly kind: 'renew' }
  /** The Job does not have the lease's last receipt: an earlier write of it failed. */
  | { readonly kind: 'write-receipt' }
  /** The pod does not start, and why can be seen only now. */
  | { readonly kind: 'note'; readonly diagnosis: Diagnosis }
  | { readonly kind: 'settle'; readonly outcome: Outcome; readonly steps: readonly SettleStep[] };

/** How long a finished Job waits for its pods' last words, which come by another watch. */
export const LAST_WORDS_MS = 10_000;

/** Decides. */
export function decide(picture: Picture): Decision {
  const { job, pods, now } = picture;
  if (job.settled) return leave();
  if (job.end === undefined) return watchOver(picture);
  // Settling deletes the message: not on hearsay.
  if (!picture.viewKnown) return leave(1000);

  const owed = webhookState(job);
  const recorded = recordedOutcome(job);
  if (recorded !== undefined && owed?.kind === 'owed') {
    return owed.nextAt > now
      ? leave(owed.nextAt - now)
      : { kind: 'settle', outcome: recorded, steps: ['webhook', 'close'] };
  }
  if (recorded === undefined && picture.endAgeMs < LAST_WORDS_MS && !haveLastWords(job, pods)) {
    return leave(Math.min(500, LAST_WORDS_MS - picture.endAgeMs));
  }
  const outcome = outcomeOf(job, job.end, pods);
  const due: Readonly<Record<SettleStep, boolean>> = {
    // The evidence stands on the pods alone, which may go at any time; when only a delete is due, it is not needed.
    record: recorded === undefined && (outcome.status === 'failed' || outcome.webhookDue),
    poison: outcome.status === 'failed' && job.annotations[ANNOTATION.poisoned] === undefined,
    delete: true,
    webhook: outcome.webhookDue,
    close: true,
  };
  return { kind: 'settle', outcome, steps: SETTLE_STEPS.filter((step) => due[step]) };
}

/** The lease first: what is noted a moment later is still true. */
function watchOver(picture: Picture): Decision {
  const upkeep = keepLease(picture);
  const trouble = startTrouble(picture.pods);
  if (upkeep.kind !== 'leave' || trouble === undefined) return upkeep;
  return notedTrouble(picture.job)?.category === trouble.category ? upkeep : { kind: 'note', diagnosis: trouble };
}

function keepLease({ job, lease, now }: Picture): Decision {
  const expiresOn = fromIso(job.annotations[ANNOTATION.expiresOn]);
  if (lease.condition !== 'held' || (expiresOn !== undefined && expiresOn <= now)) return leave();
  if (job.annotations[ANNOTATION.popReceipt] !== lease.popReceipt) return { kind: 'write-receipt' };
  return lease.renewAt <= now ? { kind: 'renew' } : leave(lease.renewAt - now);
}

/** Whether the pods seen account for the Job's end. A Job that ended by deadline may never have had one. */
function haveLastWords(job: JobRecord, pods: readonly PodRecord[]): boolean {
  if (pods.some((pod) => pod.phase === 'Pending' || pod.phase === 'Running')) return false;
  return job.end?.kind === 'complete' ? pods.some((pod) => pod.phase === 'Succeeded') : pods.length > 0;
}

function leave(lookAgainMs?: number): Decision {
  return { kind: 'leave', lookAgainMs };
}
