/**
 * Keeps the number of owed webhooks within bounds, per host and in all: each keeps its Job, and a backend that is gone for good must not
 * fill the cluster with them. Beyond the bound the ones that are owed for the longest are given up.
 */

import { ANNOTATION } from '../../contract/identity.ts';
import type { JobRecord } from '../jobs/records.ts';
import { webhookState } from './webhook-state.ts';

/** The most webhooks that may be owed. */
export interface OwedBounds {
  readonly perHost: number;
  readonly inAll: number;
}

const OWED_BOUNDS: OwedBounds = { perHost: 500, inAll: 2000 };

interface Owed {
  readonly host: string;
  /** When the task ended, milliseconds since the epoch: the order does not change with a try. */
  readonly since: number;
}

export class OwedWebhooks {
  readonly #bounds: OwedBounds;
  readonly #onSurplus: (jobName: string) => void;
  readonly #owed = new Map<string, Owed>();
  readonly #surplus = new Map<string, string>();

  /** @param onSurplus called with the name of each Job whose webhook is one too many */
  constructor(onSurplus: (jobName: string) => void, bounds: OwedBounds = OWED_BOUNDS) {
    this.#onSurplus = onSurplus;
    this.#bounds = bounds;
  }

  /** Takes in how a Job stands; `job` undefined when it is gone. */
  observe(name: string, job: JobRecord | undefined): void {
    const state = job === undefined || job.settled ? undefined : webhookState(job);
    if (job === undefined || state?.kind !== 'owed') {
      this.#owed.delete(name);
      this.#surplus.delete(name);
      return;
    }
    if (this.#owed.has(name) || this.#surplus.has(name)) return;
    const host = URL.parse(job.annotations[ANNOTATION.webhookUrl] ?? '')?.host ?? '';
    this.#owed.set(name, { host, since: job.end?.at ?? 0 });
    this.#keepWithin(this.#bounds.perHost, `more than ${this.#bounds.perHost} webhooks are owed to ${host}`, host);
    this.#keepWithin(this.#bounds.inAll, `more than ${this.#bounds.inAll} webhooks are owed in all`);
  }

  /** Why the Job's webhook is given up; undefined when it may be tried on. */
  surplus(name: string): string | undefined {
    return this.#surplus.get(name);
  }

  #keepWithin(bound: number, why: string, host?: string): void {
    if (this.#owed.size <= bound) return;
    let count = 0;
    let oldest: string | undefined;
    let since = Number.POSITIVE_INFINITY;
    for (const [name, owed] of this.#owed) {
      if (host !== undefined && owed.host !== host) continue;
      count++;
      if (owed.since < since) [oldest, since] = [name, owed.since];
    }
    if (count <= bound || oldest === undefined) return;
    this.#owed.delete(oldest);
    this.#surplus.set(oldest, `${why}, and this one for the longest`);
    this.#onSurplus(oldest);
  }
}
