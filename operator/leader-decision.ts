/**
 * Whether a candidate may write the Lease. Decided by its own monotonic clock and by whether the object changes:
 * moments that stand on the object come from other machines, whose clocks may be off by any amount.
 */
import type { LeaseObject, LeaseTerms } from './lease-object.ts';

/** Seconds for which nobody else takes a Lease that stays as it is. */
const LEASE_SECONDS = 15;

/** What a candidate has seen of the Lease last. */
export interface Sighting {
  /** Undefined when there is none. */
  readonly lease: LeaseObject | undefined;
  /**
   * When it was first seen like this: monotonic milliseconds, of the answer's arrival, since it may have changed until
   * then.
   */
  readonly since: number;
  /** There was one before: somebody deleted it, and its holder may not know yet. */
  readonly vanished: boolean;
}

/** The candidate who decides. */
export interface Candidate {
  readonly identity: string;
  /** Milliseconds since the epoch, to be written; never compared. */
  readonly now: number;
  readonly monotonic: number;
}

/** What is to be done: write these terms onto the Lease as it was seen, or wait so many milliseconds at least. */
export type Decision =
  | { readonly kind: 'write'; readonly terms: LeaseTerms }
  | { readonly kind: 'wait'; readonly ms: number };

/** The sighting after a look; a Lease that has not changed was first seen when it was. */
export function sight(before: Sighting | undefined, lease: LeaseObject | undefined, monotonic: number): Sighting {
  if (before !== undefined && before.lease?.metadata.resourceVersion === lease?.metadata.resourceVersion) return before;
  return { lease, since: monotonic, vanished: lease === undefined && before !== undefined };
}

/** Decides on what was just seen. */
export function decide(sighting: Sighting, { identity, now, monotonic }: Candidate): Decision {
  const { lease } = sighting;
  const terms = { holder: identity, durationSeconds: LEASE_SECONDS, renewedAt: now };
  if (lease?.holder === identity)
    return {
      kind: 'write',
      terms: { ...terms, acquiredAt: lease.acquiredAt ?? now, transitions: lease.transitions },
    };
  const left = sighting.since + restMs(sighting) - monotonic;
  if (left > 0) return { kind: 'wait', ms: left };
  const transitions = lease === undefined ? 0 : lease.transitions + 1;
  return { kind: 'write', terms: { ...terms, acquiredAt: now, transitions } };
}

/** Milliseconds for which the Lease has to have stayed as it is before a candidate who does not hold it may take it. */
function restMs({ lease, vanished }: Sighting): number {
  if (lease === undefined) return vanished ? LEASE_SECONDS * 1000 : 0;
  if (lease.holder === '') return 0;
  // A holder of another release may count on more than ours do.
  return Math.max(LEASE_SECONDS, lease.durationSeconds) * 1000;
}
