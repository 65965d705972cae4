/** A Job that is gone. If it was not settled, its message is dealt with as decided in settle/decide-deleted.ts, and kept until then. */
import type { Lease } from '../queue/lease.ts';
import { conclude } from './conclude.ts';
import { recordedOutcome } from './jobs/outcome.ts';
import type { Tombstone } from './jobs/view.ts';
import type { ReconcileTools } from './reconcile.ts';
import { type DeletedDecision, type DeletionFact, decideDeleted } from './settle/decide-deleted.ts';
import { sendReport } from './settle/report.ts';
import { announce, count, poisonCopy } from './settle/settle.ts';

/** Looks at what is left of the Job of that name; returns milliseconds until it should be looked at again. */
export async function seeToDeleted(
  tools: ReconcileTools,
  name: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { view, leases, log } = tools;
  tools.slots.freed.wake();
  const tombstone = view.tombstone(name);
  const lease = tombstone === undefined ? leases.bound(name) : leases.of(tombstone.job);
  if (lease === undefined) return undefined;
  const decideBy = (fact?: DeletionFact) => {
    const { condition, renewAt, expiresOn } = lease;
    return decideDeleted({
      tombstone,
      pods: view.pods(name),
      lease: { condition, renewAt, expiresOn },
      viewKnown: view.state.kind === 'known',
      fact,
      now: tools.clock.now(),
    });
  };
  const forget = () => {
    if (tombstone !== undefined) view.dismiss(tombstone);
    // By now the message may have another Job, with a lease of its own.
    if (leases.bound(name) === lease) leases.forget(name);
    return view.job(name) === undefined ? undefined : 0;
  };
  let decision = decideBy();
  if (decision.kind === 'ask' && tombstone !== undefined)
    decision = decideBy(await ask(tools, tombstone, decision.renew ? lease : undefined, signal));
  switch (decision.kind) {
    case 'ask':
      return 0;
    case 'wait':
      return decision.lookAgainMs;
    case 'renew':
      await lease.renew(tools.settings.lease.renewSeconds, signal);
      return 0;
    case 'release':
      await lease.release(0, signal);
      log.warn(
        { job: name, queue: lease.queue },
        `the Job is gone and was not settled; ${decision.why}: its message is released and will run again`,
      );
      return forget();
    case 'drop':
      if (tombstone !== undefined)
        log.warn({ job: name, queue: lease.queue }, `the Job was deleted and not settled; ${decision.why}`);
      return forget();
    case 'settle': {
      if (tombstone === undefined) return undefined;
      const inMs = await settleDeleted(tools, tombstone, lease, decision, signal);
      return inMs ?? forget();
    }
  }
}

/**
 * Renews the lease, where there is a message, and reads what a deletion rests on. The lease first: each read may take its whole deadline.
 *
 * @throws ServiceError when a server gave no usable answer: then nothing is known, and it is asked again
 */
async function ask(
  { store, settings }: ReconcileTools,
  { job }: Tombstone,
  lease: Lease | undefined,
  signal: AbortSignal,
): Promise<DeletionFact> {
  await lease?.renew(settings.lease.renewSeconds, signal);
  if (await store.isTerminating(job.namespace, signal)) return 'namespace-terminates';
  return (await store.get(job.name, signal))?.record.uid === job.uid ? 'not-deleted' : 'deleted';
}

/** @returns milliseconds until the webhook is to be tried again; undefined when the task is settled */
async function settleDeleted(
  tools: ReconcileTools,
  { job, taskData, progress }: Tombstone,
  lease: Lease,
  { outcome, steps }: Extract<DeletedDecision, { kind: 'settle' }>,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { category } = outcome.diagnosis;
  const concluded = await conclude(
    { ...tools, poisonFormat: tools.settings.poison.format },
    {
      subject: 'a task whose Job was deleted',
      category,
      copy: steps.includes('poison') ? poisonCopy(job, taskData, outcome, tools.clock.now()) : undefined,
      send: steps.includes('webhook') ? (signal) => sendReport(tools, job, taskData, outcome, signal) : undefined,
    },
    lease,
    progress,
    signal,
  );
  if (concluded.kind === 'again') return concluded.inMs;
  // A recorded outcome was announced when it was recorded.
  if (outcome.status === 'completed') tools.types.ended(job, category);
  else if (recordedOutcome(job) === undefined) await announce(tools, job, outcome);
  const fields = count(tools, job, outcome);
  tools.log.info(
    { ...fields, message: concluded.removal, webhook: concluded.webhook },
    'settled, though its Job was deleted',
  );
  return undefined;
}
