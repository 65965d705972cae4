/** Whether an operator looks after an installation, as far as the cluster shows it. */
import { ANNOTATION, LABEL, leaderLeaseName } from '../contract/identity.ts';
import { fromIso } from '../lib/clock.ts';
import { ServiceError } from '../lib/errors.ts';
import { createLeaseStore } from '../operator/lease-object.ts';
import type { Cluster } from './cluster.ts';
import type { Task } from './jobs.ts';
import type { Output } from './output.ts';

/** `unknown`: nothing tells, or what would tell must not be read. */
export type Attendance = 'attended' | 'unattended' | 'unknown';

/** Who wrote the times may have another clock than who reads them. */
const SKEW_MS = 30_000;

/**
 * Asks the Lease that replicas elect their leader by; where it tells nothing, the task's message: it is kept hidden while an operator runs.
 * Both are signs for people, by clocks that may differ; nothing else may be decided by them.
 */
export async function attendanceOf(cluster: Cluster, { clock, stopping }: Output, { job }: Task): Promise<Attendance> {
  const now = clock.now();
  try {
    const name = leaderLeaseName(job.labels[LABEL.installation] ?? '');
    const lease = await createLeaseStore(cluster.api, cluster.namespace).read(name, stopping);
    if (lease?.holder === '') return 'unattended';
    if (lease?.renewedAt !== undefined)
      return lease.renewedAt + lease.durationSeconds * 1000 + SKEW_MS < now ? 'unattended' : 'attended';
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
  }
  const until = fromIso(job.annotations[ANNOTATION.leaseUntil]);
  const isGivenUp = job.annotations[ANNOTATION.leaseLost] !== undefined || job.end !== undefined;
  return until !== undefined && until < now && !isGivenUp ? 'unattended' : 'unknown';
}
