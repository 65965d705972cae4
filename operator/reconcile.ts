/** Looks at one Job and does what is due: keep its message's lease, or settle it. */
import { ANNOTATION } from '../contract/identity.ts';
import { iso } from '../lib/clock.ts';
import type { Lease } from '../queue/lease.ts';
import type { Slots } from './admission/slots.ts';
import { takesSlot } from './admission/slots.ts';
import type { Config } from './config.ts';
import type { FileConfig } from './config-schema.ts';
import { seeToDeleted } from './deleted-job.ts';
import { endJob, expirePod, inquire, note, removePod } from './intervene.ts';
import type { JobRecord } from './jobs/records.ts';
import { type Leases, leaseSeconds } from './leases.ts';
import { decide } from './settle/decide.ts';
import type { OwedWebhooks } from './settle/owed-webhooks.ts';
import { type SettleTools, settle } from './settle/settle.ts';

/** A pod that was taken away is seen to go by the watch; should that say nothing, it is looked for again. */
const AFTER_REMOVAL_MS = 5000;

/** What looking at a Job works with. */
export interface ReconcileTools extends SettleTools {
  readonly config: Pick<Config, 'podName'>;
  readonly leases: Leases;
  readonly slots: Slots;
  readonly owedWebhooks: OwedWebhooks;
  readonly settings: SettleTools['settings'] & Pick<FileConfig, 'lease'>;
}

/** Looks at the Job of that name; returns milliseconds until it should be looked at again. */
export async function reconcile(tools: ReconcileTools, name: string, signal: AbortSignal): Promise<number | undefined> {
  const { view, leases, clock } = tools;
  const job = view.job(name);
  tools.owedWebhooks.observe(name, job);
  if (job === undefined || view.tombstone(name) !== undefined) return seeToDeleted(tools, name, signal);
  if (!takesSlot(job)) tools.slots.freed.wake();
  if (job.settled) {
    leases.forget(name);
    return undefined;
  }
  const lease = leases.of(job);
  const { condition, isWritten, renewAt, state } = lease;
  const decision = decide({
    job,
    pods: view.podsOf(job),
    lease: { condition, isWritten, renewAt, popReceipt: state.popReceipt },
    endAgeMs: view.endAgeMs(name),
    now: clock.now(),
    viewKnown: view.state.kind === 'known',
    surplus: tools.owedWebhooks.surplus(name),
  });
  switch (decision.kind) {
    case 'leave':
      return decision.lookAgainMs;
    case 'renew':
      return renew(tools, job, lease, signal);
    case 'note-lost-lease':
      await noteLostLease(tools, job, lease, signal);
      return 0;
    case 'write-receipt':
      await writeReceipt(tools, job, lease, signal);
      return 0;
    case 'note':
      await note(tools, job, decision.diagnosis, signal);
      return 0;
    case 'inquire':
      return inquire(tools, job, signal);
    case 'end':
      await endJob(tools, job, decision, signal);
      return 0;
    case 'expire':
      await expirePod(tools, job, decision.pod, signal);
      return AFTER_REMOVAL_MS;
    case 'use-attempt':
    case 'retry':
      await removePod(tools, job, decision, signal);
      return AFTER_REMOVAL_MS;
    case 'settle':
      await settle(tools, job, lease, decision, signal);
      return 0;
  }
}

async function renew(
  tools: ReconcileTools,
  job: JobRecord,
  lease: Lease,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { metrics } = tools;
  try {
    if (await lease.renew(leaseSeconds(job, tools.settings.lease, tools.clock.now()), signal)) {
      metrics.renewals.inc({ result: 'renewed' });
      await writeReceipt(tools, job, lease, signal);
      return 0;
    }
  } catch (error) {
    metrics.renewals.inc({ result: 'failed' });
    throw error;
  }
  metrics.renewals.inc({ result: 'lost' });
  return 0;
}

/** Says on the Job that the message is out of our hands; until that is written, it is due. */
async function noteLostLease(tools: ReconcileTools, job: JobRecord, lease: Lease, signal: AbortSignal): Promise<void> {
  const annotations = { [ANNOTATION.leaseLost]: iso(tools.clock.now()) };
  tools.view.learn(await tools.store.patch(job.name, { annotations }, signal));
  tools.metrics.leasesLost.inc({ queue: lease.queue });
  tools.log.warn(
    { job: job.name, queue: lease.queue },
    'the lease is lost: the message may be received again, and will find this Job',
  );
  await tools.store.notify({
    reason: 'LeaseLost',
    message: `The lease on the message in ${lease.queue} was lost; the Job goes on.`,
    type: 'Warning',
    about: { kind: 'Job', name: job.name, uid: job.uid },
  });
}

/** Puts the lease's receipt onto the Job, where the next operator will look for it. */
export async function writeReceipt(
  tools: Pick<ReconcileTools, 'store' | 'view' | 'checkpoint'>,
  job: JobRecord,
  lease: Lease,
  signal: AbortSignal,
): Promise<void> {
  const annotations = {
    [ANNOTATION.popReceipt]: lease.state.popReceipt,
    [ANNOTATION.leaseUntil]: iso(lease.state.until),
  };
  const written = await tools.store.patch(job.name, { annotations }, signal);
  if (written.annotations[ANNOTATION.popReceipt] === lease.state.popReceipt) lease.written();
  tools.view.learn(written);
  await tools.checkpoint('receipt-patched', job.name);
}
