/**
 * The way of a message, put together:
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
import { AciController, type AciControllerParts } from './aci/controller.ts';
import { capsOf } from './admission/caps.ts';
import { type Slot, Slots } from './admission/slots.ts';
import { startHeld } from './admission/start-held.ts';
import { Turns } from './admission/turns.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type Config, clientSettings, type Source } from './config.ts';
import { type DeliverTools, deliver } from './deliver.ts';
import { Gate } from './gate.ts';
import type { ManifestContext } from './jobs/manifest.ts';
import type { JobStore } from './jobs/store.ts';
import { JobsView } from './jobs/view.ts';
import { Leases } from './leases.ts';
import type { LiveConfig } from './live-config.ts';
import type { Metrics } from './metrics.ts';
import { Receiver } from './receive.ts';
import { type ReconcileTools, reconcile, writeReceipt } from './reconcile.ts';
import type { SendWebhook } from './send-webhook.ts';
import { OwedWebhooks } from './settle/owed-webhooks.ts';
import type { ReadResult } from './settle/stored-result.ts';
import { Sources } from './sources.ts';
import { TaskTypes } from './task-types.ts';
import { WorkQueue } from './work-queue.ts';

/** What the pipeline is made of. */
export interface PipelineParts {
  readonly config: LiveConfig;
  readonly store: JobStore;
  readonly queues: QueueService;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly sendWebhook: SendWebhook;
  readonly readResult: ReadResult;
  readonly checkpoint: Checkpoint;
  /** Whether this process may act. Asked before each batch of messages and each look at a Job. */
  readonly isLeading: () => boolean;
  /** A loop, or a call, turns; and has ended as it should. */
  readonly beat: (loop: string) => void;
  readonly end: (loop: string) => void;
  /** What running tasks on Azure Container Instances needs; without it their Jobs are left as they are. */
  readonly aci?: Pick<AciControllerParts, 'terms' | 'groupsIn' | 'read'> | undefined;
  /** Told of each delivery that failed; the message comes back when its lease ends. */
  readonly onFailedDelivery?: (error: unknown) => void;
}

/** Jobs looked at side by side. */
const RECONCILERS = 16;
/** Milliseconds that settling may go on after the stop signal; the rest of the pod's grace period is for the leases. */
const FINISH_MS = 20_000;
/** Milliseconds for extending the leases after that. */
const PART_MS = 20_000;

export class Pipeline {
  readonly view: JobsView;
  readonly slots: Slots;
  readonly leases: Leases;
  readonly sources: Sources;
  readonly types: TaskTypes;
  readonly tools: DeliverTools & ReconcileTools;
  readonly receiver: Receiver;
  readonly aci: AciController | undefined;
  /** Seconds for which running tasks' messages are hidden while no operator runs. */
  partingLeaseSeconds = 600;
  readonly #parts: PipelineParts;
  readonly #work: WorkQueue;
  readonly #deliveries = new Set<Promise<void>>();
  readonly #failed = new AbortController();
  readonly #abort = new AbortController();
  /** Begin nothing new. `#abort` ends what may still finish after that. */
  #stop: AbortSignal = this.#failed.signal;

  constructor(parts: PipelineParts) {
    const { config, store, queues, clock, log, metrics, isLeading } = parts;
    this.#parts = parts;
    this.view = new JobsView(clock);
    this.slots = new Slots(this.view, () => capsOf(config.current));
    this.leases = new Leases(queues, clock);
    const wake = () => this.slots.freed.wake();
    this.sources = new Sources({ config, queues, clock, log, onChange: wake });
    const sources = () => this.sources.current;
    const context = () => contextOf(config.current);
    this.types = new TaskTypes({ config, context, sources, store, clock, log, metrics, onChecked: wake });
    this.#work = new WorkQueue(
      clock,
      (name, signal) => reconcile(this.tools, name, signal),
      (name, error, failures) => {
        const line = { job: name, failures, err: error };
        if (failures <= 3) log.debug(line, 'will look at the Job again');
        else if (failures % 10 === 4) log.warn(line, 'the Job cannot be brought on; it is tried again');
      },
      isLeading,
    );
    this.tools = {
      ...parts,
      // What changes with the configuration is looked up at each use.
      get config() {
        return config.current;
      },
      get settings() {
        return config.current.file;
      },
      get context() {
        return context();
      },
      get poisonFormat() {
        return config.current.file.poison.format;
      },
      account: config.current.storage.account,
      view: this.view,
      slots: this.slots,
      leases: this.leases,
      types: this.types,
      gate: new Gate(),
      turns: new Turns(clock),
      owedWebhooks: new OwedWebhooks((name) => this.wake(name)),
    };
    const { installation, namespace } = config.current;
    this.aci = parts.aci && new AciController({ ...parts, ...parts.aci, view: this.view, installation, namespace });
    this.receiver = new Receiver({
      ...parts,
      get settings() {
        return config.current.file;
      },
      slots: this.slots,
      sources,
      terms: ({ client }) => {
        const settings = clientSettings(config.current, client);
        const receiving = config.current.file.receiving && settings?.receiving !== false;
        return { receiving, weight: settings?.weight ?? 1 };
      },
      ready: () => this.types.checked && isLeading(),
      mayStart: (type) => type === undefined || this.types.pausedBecause(type) === undefined,
      handOn: (source, message, slot) => this.#handOn(source, message, slot),
      startHeld: (job, slot) => this.#follow(startHeld(this.tools, job, slot, this.#stop)),
    });
  }

  /** Has a Job looked at. */
  wake(name: string): void {
    this.#work.add(name);
  }

  /** Sees what there is, and what changes, until the pipeline ends. */
  async observe(): Promise<void> {
    const { store, log } = this.#parts;
    await store.follow((observation) => {
      if (this.#abort.signal.aborted) return;
      const before = this.view.state.kind;
      this.view.observe(observation);
      if (!this.#parts.isLeading()) this.view.dismissAll();
      if (this.view.state.kind !== before) tellContact(log, this.view);
      if (observation.kind === 'listed') this.slots.freed.wake();
    }, this.#abort.signal);
  }

  /**
   * Runs until `stopping` aborts, then stops in order: nothing more is received, what is being settled is finished, messages without a Job
   * are released, the leases of running tasks are extended. Running tasks go on.
   */
  async run(stopping: AbortSignal): Promise<void> {
    const { clock, log, beat, isLeading } = this.#parts;
    this.#stop = AbortSignal.any([stopping, this.#failed.signal]);
    const [stop, abort] = [this.#stop, this.#abort];
    const endSoon = () => void clock.sleep(FINISH_MS, abort.signal).then(() => abort.abort());
    stop.addEventListener('abort', endSoon, { once: true });
    this.view.onChange((name) => this.wake(name));
    const observing = this.observe();
    const loops = [
      this.receiver.run(stop, abort.signal),
      this.#work.run(RECONCILERS, stop, abort.signal, () => beat('reconcile')),
      this.types.keepChecking(stop),
      this.sources.keepLooking(stop),
      ...(this.aci === undefined ? [] : [this.aci.run(stop, abort.signal)]),
    ];
    try {
      await Promise.all(loops);
    } finally {
      this.#failed.abort();
      log.info({ reason: messageOf(stop.reason) }, 'the operator stops; running tasks go on');
      await Promise.allSettled(loops);
      await Promise.allSettled(this.#deliveries);
      if (isLeading()) await this.#extendLeases(clock.deadline(PART_MS));
      abort.abort();
      await observing;
    }
  }

  /** Ends everything at once, wherever it stands. */
  abort(): void {
    this.#failed.abort();
    this.#abort.abort();
  }

  /** This process leads now, or no longer: whoever leads meanwhile renews leases, so those known are read anew from the Jobs. */
  leadershipChanged(): void {
    this.leases.clear();
    this.aci?.leadershipChanged();
    if (this.#parts.isLeading()) {
      for (const { name } of this.view.jobs()) this.wake(name);
      this.slots.freed.wake();
    } else {
      this.view.dismissAll();
    }
  }

  /** True when nothing can be brought on now: it runs, or waits for its time. */
  get isQuiet(): boolean {
    const open = [...this.view.jobs()].some((job) => !job.settled && job.end !== undefined && !isOwed(job.annotations));
    return (
      this.view.state.kind === 'known' &&
      this.types.checked &&
      !open &&
      this.#deliveries.size === 0 &&
      this.receiver.isQuiet
    );
  }

  #handOn(source: Source, message: ReceivedMessage, slot: Slot): void {
    const { log, onFailedDelivery } = this.#parts;
    this.#follow(
      deliver(this.tools, source, message, slot, this.#stop).catch((error: unknown) => {
        onFailedDelivery?.(error);
        log.warn(
          { queue: source.queue, messageId: message.id, err: error },
          'a delivery failed; the message comes back when its lease ends',
        );
      }),
    );
  }

  /** Work that a stop waits for. */
  #follow(work: Promise<void>): void {
    const followed = work.finally(() => this.#deliveries.delete(followed));
    this.#deliveries.add(followed);
  }

  /** Hides the messages of unfinished tasks until the next operator is there. What fails here costs a redelivery, which finds its Job. */
  async #extendLeases(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const seconds = this.partingLeaseSeconds;
    await Promise.allSettled(
      this.leases.held().map(async ([name, lease]) => {
        const job = this.view.job(name);
        if (job === undefined || job.settled) return;
        // Beside another consumer a lease may be longer already, for a reason.
        const isLongEnough = lease.state.until >= clock.now() + seconds * 1000;
        const isNew = job.annotations[ANNOTATION.popReceipt] !== lease.state.popReceipt;
        // Uninstalled, an operator has lost its rights before it is told to stop: a receipt that cannot be written down is lost, and with
        // it the message, until it comes back by itself. So the right is tried first; the receipt on the Job stays good without it.
        if (!isLongEnough) await this.tools.store.patch(name, { annotations: {} }, signal);
        if (isLongEnough ? isNew : await lease.renew(seconds, signal))
          await writeReceipt(this.tools, job, lease, signal);
      }),
    );
  }
}

/** What all Jobs of a configuration share. */
function contextOf({ namespace, instance, installation, hash }: Config): ManifestContext {
  return { namespace, instance, installation, configHash: hash };
}

function isOwed(annotations: Readonly<Record<string, string>>): boolean {
  return annotations[ANNOTATION.webhookState] !== undefined;
}

function tellContact(log: Log, view: JobsView): void {
  if (view.state.kind === 'known') log.info({ jobs: [...view.jobs()].length }, 'the Jobs are known');
  else
    log.warn({ reason: view.state.reason }, 'contact to the API server is lost: nothing is received until it is back');
}
