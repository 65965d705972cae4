/**
 * What becomes of the message of a Job that is gone before it was settled. Pure.
 *
 * Seen to be deleted, in a namespace that stays: its task ends, cancelled unless it had an outcome. Not seen, or deleted with its
 * namespace: the message is given back, and the task runs again. Neither before the Job's pods have ended.
 */
import { ANNOTATION } from '../../contract/identity.ts';
import { type Outcome, outcomeOfDeleted, recordedOutcome } from '../jobs/outcome.ts';
import { hasEnded, type PodRecord } from '../jobs/records.ts';
import type { Tombstone } from '../jobs/view.ts';
import { LAST_WORDS_MS, type LeaseView, type SettleStep } from './decide.ts';
import { webhookState } from './webhook-state.ts';

/** What a live read said about a deletion. `not-deleted`: the Job is there, only out of sight, since its labels were changed. */
export type DeletionFact = 'deleted' | 'not-deleted' | 'namespace-terminates';

/** Everything a decision rests on. Times in milliseconds since the epoch. */
export interface DeletedPicture {
  /** Undefined when nobody saw the Job being deleted: it is only not there. */
  readonly tombstone: Omit<Tombstone, 'taskData'> | undefined;
  /** The pods that carry the Job's name. */
  readonly pods: readonly PodRecord[];
  readonly lease: Pick<LeaseView, 'condition' | 'renewAt'> & { readonly expiresOn: number };
  /** Whether the picture of Jobs and pods can be trusted. */
  readonly viewKnown: boolean;
  /** Undefined as long as nobody asked. */
  readonly fact: DeletionFact | undefined;
  readonly now: number;
}

/** What to do. */
export type DeletedDecision =
  /** Nothing yet; look again after that time (or when something changes). */
  | { readonly kind: 'wait'; readonly lookAgainMs: number | undefined }
  | { readonly kind: 'renew' }
  /** Read the facts; and renew the lease where there is a message, so that nobody else gets it between here and its delete. */
  | { readonly kind: 'ask'; readonly renew: boolean }
  /** Give the message back. */
  | { readonly kind: 'release'; readonly why: string }
  /** Forget it: there is no message any more that could be given back or deleted, and no outcome to be told. */
  | { readonly kind: 'drop'; readonly why: string }
  | { readonly kind: 'settle'; readonly outcome: Outcome; readonly steps: readonly SettleStep[] };

/** Decides. */
export function decideDeleted(picture: DeletedPicture): DeletedDecision {
  const { tombstone, pods, lease, now } = picture;
  const recorded = tombstone === undefined ? undefined : recordedOutcome(tombstone.job);
  const begun = tombstone !== undefined && Object.keys(tombstone.progress).length > 0;
  // With a webhook owed, the message was deleted before.
  const isOurs =
    lease.condition === 'held' &&
    lease.expiresOn > now &&
    !(tombstone !== undefined && webhookState(tombstone.job)?.kind === 'owed');
  const wait = (ms?: number): DeletedDecision => ({
    kind: 'wait',
    lookAgainMs: isOurs ? Math.min(ms ?? Number.POSITIVE_INFINITY, lease.renewAt - now) : ms,
  });
  if (isOurs && lease.renewAt <= now) return { kind: 'renew' };
  if (tombstone === undefined && !isOurs) return { kind: 'drop', why: 'its message is not ours any more' };
  if (lease.condition === 'lost' && recorded === undefined && !begun)
    return { kind: 'drop', why: 'its message was received again, and is a new delivery' };
  if (!picture.viewKnown) return wait(1000);
  // One that has ended may stay for long, where it was orphaned.
  if (!pods.every(hasEnded)) return wait();
  if (tombstone === undefined)
    return { kind: 'release', why: 'nobody saw it being deleted, so its task is not cancelled' };
  const unheardMs = tombstone.seenAt + LAST_WORDS_MS - now;
  if (isPodUnseen(tombstone) && recorded === undefined && unheardMs > 0) return wait(unheardMs);
  if (!begun && picture.fact === undefined) return { kind: 'ask', renew: isOurs };
  if (!begun && picture.fact !== 'deleted') {
    const why =
      picture.fact === 'not-deleted' ? 'it is not deleted, but out of sight' : 'its namespace is being deleted';
    if (isOurs) return { kind: 'release', why };
    // What is final is told, as long as somebody is there to tell it.
    if (recorded === undefined || picture.fact === 'not-deleted') return { kind: 'drop', why };
  }
  const outcome = outcomeOfDeleted(tombstone.job, oldestFirst(tombstone.pods), tombstone.seenAt);
  const isPoisoned = tombstone.job.annotations[ANNOTATION.poisoned] !== undefined;
  return {
    kind: 'settle',
    outcome,
    steps: [
      ...(outcome.status === 'failed' && !isPoisoned ? (['poison'] as const) : []),
      ...(outcome.webhookDue ? (['webhook'] as const) : []),
      'delete',
    ],
  };
}

/** A Job that was started has a pod, and may have had one before the other watch told of it. */
function isPodUnseen({ job, pods }: Pick<Tombstone, 'job' | 'pods'>): boolean {
  return job.startedAt !== undefined && pods.size === 0;
}

function oldestFirst(pods: ReadonlyMap<string, PodRecord>): readonly PodRecord[] {
  return [...pods.values()].sort((a, b) => a.createdAt - b.createdAt);
}
