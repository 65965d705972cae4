/**
 * The operator, put together. The way of a message:
 *
 *   receive ─▶ deliver ─▶ create Job ──▶ (it runs) ──▶ observe ─▶ reconcile: decide ─▶ settle
 *      ▲           └▶ reject (poison)                                  └▶ renew the lease
 *      └── slots: what may run less what is seen running
 */
import { ANNOTATION } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { QueueService, ReceivedMessage } from '../queue/service.ts';
import { type Slot, Slots, takesSlot } from './admission/slots.ts';
import { type Checkpoint, noCheckpoint } from './checkpoint.ts';
import type { Config, Source } from './config.ts';
import { type DeliverTools, deliver } from './deliver.ts';
import { Gate } from './gate.ts';
import { type Check, Health } from './health.ts';
import { serveHttp } from './http.ts';
import type { JobStore } from './jobs/store.ts';
import { JobsView } from './jobs/view.ts';
import { Leases } from './leases.ts';
import { createMetrics } from './metrics.ts';
import { receiveFrom } from './receive.ts';
import { type ReconcileTools, reconcile, writeReceipt } from './reconcile.ts';
import { createSendWebhook } from './send-webhook.ts';
import { OwedWebhooks } from './settle/owed-webhooks.ts';
import { createReadResult } from './settle/stored-result.ts';
import { TaskTypes } from './task-types.ts';
import { WorkQueue } from './work-queue.ts';

/** What the operator is made of. */
export interface OperatorParts {
  readonly config: Config;
  readonly store: JobStore;
  readonly queues: QueueService;
  readonly clock: Clock;
  readonly log: Log;
  readonly checkpoint?: Checkpoint;
  /** Called once the HTTP server listens. */
  readonly onListening?: (port: number) => void;
}

/** Jobs looked at side by side. */
const RECONCILERS = 16;
/** Milliseconds that settling may go on after the stop signal; the rest of the pod's grace period is for the leases. */
const FINISH_MS = 20_000;
/** Milliseconds for extending the leases after that. */
const PART_MS = 20_000;
/** Seconds for which running tasks' messages are hidden while no operator runs. */
const PARTING_LEASE_S = 600;

/**
 * Runs until `stopping` aborts, then stops in order: nothing more is received, what is being settled is finished, messages without a Job
 * are released, the leases of running tasks are extended. Running tasks go on.
 */
export async function runOperator(parts: OperatorParts, stopping: AbortSignal): Promise<void> {
  const { config, store, queues, clock, log, checkpoint = noCheckpoint } = parts;
  const metrics = createMetrics();
  const view = new JobsView(clock);
  const slots = new Slots(view, config.file.limits.maxRunning);
  const leases = new Leases(queues, clock);
  const context = {
    namespace: config.namespace,
    instance: config.instance,
    installation: config.installation,
    configHash: config.hash,
  };
  const types = new TaskTypes({ config, context, store, clock, log, metrics, onChecked: () => slots.freed.wake() });
  const sendWebhook = createSendWebhook(config.file.webhook, config.webhookSecrets, metrics, clock);
  const readResult = createReadResult(config.storage, clock);
  const shared = { store, view, queues, clock, log, metrics, sendWebhook, readResult, checkpoint, leases, types };
  const owedWebhooks = new OwedWebhooks((name) => work.add(name));
  const toReconcile: ReconcileTools = { ...shared, slots, owedWebhooks, settings: config.file };
  const toDeliver: DeliverTools = {
    ...shared,
    config,
    context,
    gate: new Gate(),
    account: config.storage.account,
    poisonFormat: config.file.poison.format,
  };

  // `stop`: begin nothing new. `abort`: end what may still finish after that.
  const failed = new AbortController();
  const abort = new AbortController();
  const stop = AbortSignal.any([stopping, failed.signal]);
  stop.addEventListener('abort', () => void clock.sleep(FINISH_MS, abort.signal).then(() => abort.abort()), {
    once: true,
  });
  const health = new Health(clock, () => readiness(config, view, types));
  const work = new WorkQueue(
    clock,
    (name, signal) => reconcile(toReconcile, name, signal),
    (name, error, failures) => {
      const line = { job: name, failures, err: error };
      if (failures <= 3) log.debug(line, 'will look at the Job again');
      else if (failures % 10 === 4) log.warn(line, 'the Job cannot be brought on; it is tried again');
    },
  );
  view.onChange((name) => work.add(name));
  const deliveries = new Set<Promise<void>>();
  const handOn = (source: Source, message: ReceivedMessage, slot: Slot) => {
    const delivery = deliver(toDeliver, source, message, slot, stop)
      .catch((error: unknown) =>
        log.warn(
          { queue: source.queue, messageId: message.id, err: error },
          'a delivery failed; the message comes back when its lease ends',
        ),
      )
      .finally(() => deliveries.delete(delivery));
    deliveries.add(delivery);
  };
  const refreshGauges = () => {
    const jobs = [...view.jobs()];
    metrics.running.set(jobs.filter(takesSlot).length);
    metrics.unsettled.set(jobs.filter((job) => !job.settled).length);
    metrics.viewKnown.set(view.state.kind === 'known' ? 1 : 0);
  };

  await using server = await serveHttp(config.httpPort, health, metrics, refreshGauges);
  parts.onListening?.(server.port);
  log.info(
    {
      queues: config.sources.map(({ queue }) => queue),
      types: [...config.policies.keys()],
      namespace: config.namespace,
      installation: config.installation,
      maxRunning: config.file.limits.maxRunning,
      port: server.port,
    },
    'the operator starts',
  );

  const observing = store.follow((observation) => {
    const before = view.state.kind;
    view.observe(observation);
    if (view.state.kind !== before) tellContact(log, view);
    if (observation.kind === 'listed') slots.freed.wake();
  }, abort.signal);
  const toReceive = {
    queues,
    slots,
    clock,
    log,
    metrics,
    settings: config.file,
    ready: () => types.checked,
    handOn,
    beat: (loop: string) => health.beat(loop),
  };
  const loops = [
    ...config.sources.map((source) => receiveFrom(source, toReceive, stop, abort.signal)),
    work.run(RECONCILERS, stop, abort.signal, () => health.beat('reconcile')),
    types.keepChecking(stop),
  ];
  try {
    await Promise.all(loops);
  } finally {
    failed.abort();
    log.info({ reason: messageOf(stop.reason) }, 'the operator stops; running tasks go on');
    await Promise.allSettled(loops);
    await Promise.allSettled(deliveries);
    await extendLeases(toReconcile, clock.deadline(PART_MS));
    abort.abort();
    await observing;
    log.info({}, 'the operator has stopped');
  }
}

function tellContact(log: Log, view: JobsView): void {
  if (view.state.kind === 'known') log.info({ jobs: [...view.jobs()].length }, 'the Jobs are known');
  else
    log.warn({ reason: view.state.reason }, 'contact to the API server is lost: nothing is received until it is back');
}

/** Hides the messages of unfinished tasks until the next operator is there. What fails here costs a redelivery, which finds its Job. */
async function extendLeases(tools: ReconcileTools, signal: AbortSignal): Promise<void> {
  await Promise.allSettled(
    tools.leases.held().map(async ([name, lease]) => {
      const job = tools.view.job(name);
      if (job === undefined || job.settled) return;
      // Beside another consumer a lease may be longer already, for a reason.
      const isLongEnough = lease.state.until >= tools.clock.now() + PARTING_LEASE_S * 1000;
      if (
        isLongEnough
          ? job.annotations[ANNOTATION.popReceipt] !== lease.state.popReceipt
          : await lease.renew(PARTING_LEASE_S, signal)
      )
        await writeReceipt(tools, job, lease, signal);
    }),
  );
}

function readiness(config: Config, view: JobsView, types: TaskTypes): readonly Check[] {
  const { state } = view;
  const paused = [...types.paused].map(([type, reason]) => `${type}: ${reason}`);
  return [
    { name: 'jobs', ok: state.kind === 'known', detail: state.kind === 'known' ? 'listed and watched' : state.reason },
    {
      name: 'task types',
      ok: types.checked && paused.length < config.policies.size,
      detail: types.checked
        ? paused.length === 0
          ? 'all accepted by the API server'
          : `paused: ${paused.join('; ')}`
        : 'the API server was not asked about all of them yet',
    },
  ];
}
