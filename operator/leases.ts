/** The leases of all messages whose Jobs are known: one `Lease` a Job, so that renewing and deleting never race. */
import { ANNOTATION } from '../contract/identity.ts';
import { type Clock, fromIso } from '../lib/clock.ts';
import { Lease } from '../queue/lease.ts';
import type { QueueService, ReceivedMessage } from '../queue/service.ts';
import type { FileConfig } from './config-schema.ts';
import type { JobRecord } from './jobs/records.ts';

/**
 * Seconds from now for which a Job's message is hidden at a renewal. Beside another consumer: until the Job can run no longer, so that a
 * crash of the operator hands no running task to the other.
 */
export function leaseSeconds(job: JobRecord, settings: FileConfig['lease'], now: number): number {
  if (!settings.shared || job.deadlineSeconds === undefined) return settings.renewSeconds;
  const endsAt = (job.startedAt ?? now) + job.deadlineSeconds * 1000;
  return Math.min(LONGEST_LEASE_S, Math.max(settings.renewSeconds, Math.ceil((endsAt - now) / 1000)));
}

/** The service hides no message for longer. */
const LONGEST_LEASE_S = 604_800;

export class Leases {
  readonly #service: QueueService;
  readonly #clock: Clock;
  readonly #leases = new Map<string, Lease>();

  constructor(service: QueueService, clock: Clock) {
    this.#service = service;
    this.#clock = clock;
  }

  /** The lease of a message just received. */
  received(queue: string, message: Omit<ReceivedMessage, 'text'>): Lease {
    return new Lease(
      this.#service,
      this.#clock,
      { queue, id: message.id, expiresOn: message.expiresOn },
      { popReceipt: message.popReceipt, until: message.leaseUntil },
    );
  }

  /** Binds a lease to the Job that its message became. */
  bind(jobName: string, lease: Lease): void {
    this.#leases.set(jobName, lease);
  }

  /** The lease bound to a Job, if this process knows one. */
  bound(jobName: string): Lease | undefined {
    return this.#leases.get(jobName);
  }

  /** The lease of an observed Job: the bound one, brought up to date with the receipt on the Job, or one made from it. */
  of(job: JobRecord): Lease {
    const on = job.annotations;
    const state = {
      popReceipt: on[ANNOTATION.popReceipt] ?? '',
      until: fromIso(on[ANNOTATION.leaseUntil]) ?? 0,
    };
    const known = this.#leases.get(job.name);
    if (known !== undefined) {
      // Another operator may have renewed: its receipt on the Job is then the valid one. Our own former receipts are told apart by `adopt`.
      known.adopt(state);
      return known;
    }
    const lease = new Lease(
      this.#service,
      this.#clock,
      {
        queue: on[ANNOTATION.queue] ?? '',
        id: on[ANNOTATION.messageId] ?? '',
        expiresOn: fromIso(on[ANNOTATION.expiresOn]) ?? Number.POSITIVE_INFINITY,
      },
      state,
    );
    this.#leases.set(job.name, lease);
    return lease;
  }

  forget(jobName: string): void {
    this.#leases.delete(jobName);
  }

  /** Forgets all. */
  clear(): void {
    this.#leases.clear();
  }

  /** Leases of messages that still have to be kept: for the extension at shutdown. */
  held(): readonly (readonly [jobName: string, lease: Lease])[] {
    return [...this.#leases].filter(([, lease]) => lease.condition === 'held');
  }
}
