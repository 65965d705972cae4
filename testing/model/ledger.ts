/**
 * Writes down what happens to each message, at the moment at which it happens on the servers, whoever did it; and says what must never be
 * (`violations`), at once or when all is over.
 */
import { ANNOTATION, poisonQueueOf } from '#/contract/identity.ts';
import { parseEnvelope } from '#/contract/poison.ts';
import { webhookId, webhookIdBase } from '#/contract/webhook.ts';
import { capsOf } from '#/operator/admission/caps.ts';
import { takesSlot } from '#/operator/admission/slots.ts';
import { recordedOutcome } from '#/operator/jobs/outcome.ts';
import type { JobRecord } from '#/operator/jobs/records.ts';
import { webhookState } from '#/operator/settle/webhook-state.ts';
import type { QueueChange } from '#/testing/fake-queue.ts';
import type { JobChange, World } from '#/testing/rig.ts';
import { type Fate, type Kind, SCRIPTS } from './messages.ts';

/** One message's story. Times are milliseconds since the epoch. */
export interface Entry {
  readonly id: string;
  readonly queue: string;
  readonly kind: Kind;
  readonly text: string;
  readonly expiresOn: number;
  /** Jobs made of it. */
  jobs: number;
  /** Statuses with which Jobs of it were settled. */
  readonly settled: string[];
  /** How its webhook ended where the operator had to send it. */
  webhook: string | undefined;
  copies: number;
  /** The operator deleted it. */
  removed: boolean;
  /** Somebody deleted its Job, by hand or with the namespace. */
  deletedByHand: boolean;
  /** Of its Job that was deleted last before it was settled: how it had ended, if it had. */
  deletedAs: 'unfinished' | 'completed' | 'failed' | 'cancelled' | undefined;
  /** A deletion by hand may have been seen, in a namespace that stayed: the task may be cancelled for it. */
  mayBeCancelled: boolean;
  /** Somebody asked for its end. */
  cancelled: boolean;
  /** Its Job was held back by hand: resumed after its deadline, it fails, as Kubernetes will have it. */
  heldBack: boolean;
  /** Messages received, in all. */
  receipts: number;
  /** Until when another consumer has it; undefined when it was never received by one. */
  othersUntil: number | undefined;
  /** Another consumer did it and deleted it. */
  doneByOther: boolean;
  /** Another consumer received it while its Job was there and not settled. */
  bothWorked: boolean;
  /** Its queue was deleted while it was there. */
  dropped: boolean;
  /** Its queue was deleted at some time: whoever is left over from it gets no poison copy. */
  queueGone: boolean;
}

export class Ledger {
  readonly entries = new Map<string, Entry>();
  readonly violations: string[] = [];
  /** How many Jobs may be unfinished beyond the cap, for reasons that are not the operator's, or because two overlapped. */
  allowance = 0;
  /**
   * An operator's clock was off by more than the shortest limit of a start. It may give up a pod that is only starting, and take a message
   * for expired, so that it comes again and again,
   * is poisoned for that, or is taken by another consumer unnoticed.
   */
  clocksWereOff = false;
  /** Receipts that another consumer holds. */
  readonly othersReceipts = new Set<string>();
  readonly #world: World;
  readonly #pending: Promise<void>[] = [];

  constructor(world: World) {
    this.#world = world;
    world.queues.onChange = (change) => this.#onQueueChange(change);
    world.onJobChange = (change) => this.#onJobChange(change);
  }

  /** A producer has put a message. */
  sent(id: string, queue: string, kind: Kind): void {
    const message = this.#world.queues.messages(queue).find((one) => one.id === id);
    if (message === undefined) throw new Error(`no message ${id} in ${queue}`);
    this.entries.set(id, {
      id,
      queue,
      kind,
      text: message.text,
      expiresOn: message.expiresOn,
      jobs: 0,
      settled: [],
      webhook: undefined,
      copies: 0,
      removed: false,
      deletedByHand: false,
      deletedAs: undefined,
      mayBeCancelled: false,
      cancelled: false,
      heldBack: false,
      receipts: 0,
      othersUntil: undefined,
      doneByOther: false,
      bothWorked: false,
      dropped: false,
      queueGone: false,
    });
  }

  /** The story of a Job's message. */
  ofJob(job: JobRecord): Entry | undefined {
    return this.entries.get(job.annotations[ANNOTATION.messageId] ?? '');
  }

  /**
   * A Job is about to be deleted.
   *
   * @param maySee whether an operator runs that may take it for a cancellation
   */
  deleting(job: JobRecord, maySee: boolean): void {
    const entry = this.ofJob(job);
    if (entry === undefined) return;
    // What the Job could say goes with it.
    Object.assign(entry, { deletedByHand: true, bothWorked: false });
    if (job.settled) return;
    const ended = job.end === undefined ? 'unfinished' : job.end.kind;
    entry.deletedAs = recordedOutcome(job)?.status ?? (ended === 'complete' ? 'completed' : ended);
    entry.mayBeCancelled ||= maySee && ended === 'unfinished';
  }

  /** A queue is about to be deleted. */
  dropping(queue: string): void {
    for (const entry of this.entries.values()) if (entry.queue === queue) entry.queueGone = true;
    for (const { id } of this.#world.queues.messages(queue)) this.#change(id, { dropped: true });
  }

  /** Another consumer has received messages. */
  takenByOther(messages: readonly { readonly id: string; readonly popReceipt: string; readonly leaseUntil: number }[]) {
    const { jobs } = this.#world.snapshot();
    for (const { id, popReceipt, leaseUntil } of messages) {
      this.othersReceipts.add(popReceipt);
      const unsettled = jobs.some((job) => job.annotations[ANNOTATION.messageId] === id && !job.settled);
      this.#change(id, { othersUntil: leaseUntil, ...(unsettled ? { bothWorked: true } : {}) });
    }
  }

  /** Everything that must hold once all is over and calm. */
  async judge(): Promise<readonly string[]> {
    await Promise.all(this.#pending);
    for (const entry of this.entries.values()) this.#judge(entry);
    for (const data of this.#world.doubles) this.violations.push(`two pods ran side by side: ${data.slice(0, 60)}`);
    for (const storm of this.#world.faults.storms) this.violations.push(`a loop without end: ${storm}`);
    return this.violations;
  }

  #judge(entry: Entry): void {
    const { queue, kind, id } = entry;
    const { fate, webhook } = SCRIPTS[kind];
    const wrong = (what: string) => this.violations.push(`message ${Number(id.slice(-6))} (${kind}) ${what}`);
    const statuses = new Set(entry.settled);
    if (statuses.size > 1 && !entry.deletedByHand) wrong(`has the outcomes ${[...statuses].join(' and ')}`);
    if (entry.settled.length > 1 && !entry.deletedByHand) wrong(`was settled ${entry.settled.length} times`);
    if (outcomesOf(entry, this.#world.clock.now()).length === 0) wrong('has no outcome');
    for (const status of statuses)
      if (
        status !== fate &&
        !((entry.cancelled || entry.mayBeCancelled) && status === 'cancelled') &&
        !(status === 'failed' && this.#mayFail(entry))
      )
        wrong(`ended as ${status}, not ${fate}`);
    if (statuses.has('failed') && entry.copies === 0 && !entry.queueGone) wrong('failed and has no poison copy');
    if (entry.jobs > 0 && !statuses.has('failed') && entry.copies > 0 && !entry.deletedByHand)
      wrong('has a poison copy and did not fail');
    if (entry.jobs === 0 && fate !== 'rejected' && entry.copies > 0 && !this.clocksWereOff) wrong('was rejected');
    if (fate === 'rejected' && entry.jobs > 0) wrong('became a Job');

    const base = webhookIdBase({ account: this.#world.config.storage.account, queue, messageId: id });
    const told = new Set(this.#world.received.filter((one) => one.id.startsWith(base)).map((one) => one.id));
    if (told.size > 1 && !entry.deletedByHand) wrong(`was reported as ${[...told].join(' and ')}`);
    const [status] = statuses;
    const expected =
      status === undefined ? undefined : webhookId(base, status === 'completed' ? 'completed' : 'failed');
    if (
      expected !== undefined &&
      webhook &&
      !told.has(expected) &&
      entry.webhook !== 'given-up' &&
      !entry.deletedByHand
    )
      wrong(`was not reported as ${status}`);
    const wasTried = this.#world.webhooks.some((one) => one.id.startsWith(base));
    if (entry.deletedByHand && entry.settled.length > 0 && webhook && told.size === 0 && !wasTried)
      wrong(`ended as ${status}, and nobody tried to report it`);
    if (expected !== undefined && !entry.deletedByHand)
      for (const one of told) if (one !== expected) wrong(`was reported as ${one}`);
  }

  /** Its Job is gone: it was rejected, or is settled as the deletion of its Job will have it. */
  #onRemoveWithoutJob(entry: Entry): void {
    const { copies, deletedAs, mayBeCancelled } = entry;
    const wrong = (what: string) => this.violations.push(`I2: message ${entry.id.slice(-3)} (${entry.kind}) ${what}`);
    if (deletedAs === undefined) {
      if (copies === 0 && !entry.deletedByHand) wrong('was deleted with neither Job nor poison copy');
      return;
    }
    if (deletedAs === 'unfinished') {
      if (copies > 0) return;
      if (!mayBeCancelled) wrong('was deleted though nobody could see that its Job was deleted by hand');
      entry.settled.push('cancelled');
      return;
    }
    // One cancelled by annotation fails by its deadline, which its record alone can tell from another failure.
    if (deletedAs === 'failed' && copies === 0 && !entry.queueGone && !entry.cancelled)
      wrong('was deleted before its poison copy was stored, after its Job was deleted');
    entry.settled.push(deletedAs === 'failed' && copies === 0 ? 'cancelled' : deletedAs);
  }

  readonly #mayFail = ({ heldBack }: Entry): boolean => heldBack || this.clocksWereOff;

  #change(id: string, change: Partial<Entry>): void {
    const entry = this.entries.get(id);
    if (entry !== undefined) Object.assign(entry, change);
  }

  #onQueueChange({ operation, queue, message }: QueueChange): void {
    if (operation === 'send' && this.entries.size > 0) this.#onCopy(queue, message.text);
    const entry = this.entries.get(message.id);
    if (operation === 'receive' && entry !== undefined) entry.receipts++;
    if (operation === 'remove') this.#onRemove(message.id, message.popReceipt);
  }

  #onCopy(queue: string, text: string): void {
    const envelope = parseEnvelope(text);
    const entry =
      envelope === undefined
        ? [...this.entries.values()].find((one) => one.text === text && poisonQueueOf(one.queue) === queue)
        : this.entries.get(envelope.id);
    if (entry === undefined || queue !== poisonQueueOf(entry.queue)) return;
    entry.copies++;
    if (envelope !== undefined && envelope.original !== entry.text)
      this.violations.push(`the poison copy of ${entry.id} (${entry.kind}) does not keep its original`);
  }

  /** What holds at the moment of a delete decides, so it is read now and judged when the answers are there. */
  #onRemove(id: string, popReceipt: string): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    if (this.othersReceipts.has(popReceipt)) {
      entry.doneByOther = true;
      return;
    }
    entry.removed = true;
    const { copies } = entry;
    const wasSettled = entry.settled.length > 0;
    const job = this.#world.snapshot().jobs.find((one) => one.annotations[ANNOTATION.messageId] === id);
    const wrong = (what: string) => this.violations.push(`I2: message ${id.slice(-3)} (${entry.kind}) ${what}`);
    if (job === undefined) {
      this.#onRemoveWithoutJob(entry);
      return;
    }
    if (job.end === undefined) wrong('was deleted while its Job was not finished');
    const outcome = recordedOutcome(job);
    const failed = outcome === undefined ? job.end?.kind === 'failed' : outcome.status === 'failed';
    if (failed && copies === 0 && !wasSettled && !entry.queueGone)
      wrong('was deleted before its poison copy was stored');
  }

  #onJobChange({ job, patch }: JobChange): void {
    const entry = this.ofJob(job);
    if (entry === undefined) return;
    if (patch === undefined) this.#onCreate(entry);
    else if (patch.suspend === false) this.#countRunning(this.#world.snapshot().jobs);
    if (job.ttlSeconds !== undefined && !job.settled)
      this.violations.push(`I4: the Job of ${entry.kind} has a time to live and is not settled`);
    if (patch?.annotations?.[ANNOTATION.settled] === undefined) return;
    const outcome = recordedOutcome(job);
    entry.settled.push(outcome?.status ?? (job.end?.kind === 'failed' ? 'failed' : 'completed'));
    entry.webhook = webhookState(job)?.kind;
    if (
      entry.bothWorked &&
      !this.clocksWereOff &&
      job.annotations[ANNOTATION.leaseLost] === undefined &&
      outcome?.leaseLost !== true
    )
      this.violations.push(
        `message ${entry.id.slice(-3)} (${entry.kind}) was done by two, and its Job does not say so`,
      );
  }

  /** That no more run than may, in all and of each task type. */
  #countRunning(jobs: readonly JobRecord[]): void {
    const caps = capsOf(this.#world.config);
    const running = jobs.filter(takesSlot);
    const check = (what: string, count: number, cap: number) => {
      const most = cap + this.allowance;
      if (count > most) this.violations.push(`I6: ${count} Jobs ${what}are unfinished; at most ${most} may be`);
    };
    check('', running.length, caps.total);
    for (const [type = '', ofType] of Map.groupBy(running, caps.typeOf))
      check(`of type ${type} `, ofType.length, caps.ofType(type));
  }

  #onCreate(entry: Entry): void {
    const { clock } = this.#world;
    entry.jobs++;
    const wrong = (what: string) => this.violations.push(`I1: message ${entry.id.slice(-3)} (${entry.kind}) ${what}`);
    if (entry.settled.length > 0 && !entry.deletedByHand) wrong('became a Job again after it was settled');
    if ((entry.othersUntil ?? 0) > clock.now() && !entry.doneByOther)
      wrong('became a Job while another consumer had it');
    const { jobs } = this.#world.snapshot();
    const own = jobs.filter((job) => job.annotations[ANNOTATION.messageId] === entry.id);
    if (own.length > 1) wrong(`has ${own.length} Jobs`);
    this.#countRunning(jobs);
  }
}

/** How a message's story has ended, in a word, and who was told. */
export function ending(entry: Entry, received: readonly { readonly id: string }[], account: string): string {
  const base = webhookIdBase({ account, queue: entry.queue, messageId: entry.id });
  const told = new Set(received.filter(({ id }) => id.startsWith(base)).map(({ id }) => id.split('_').at(-1)));
  const { fate } = SCRIPTS[entry.kind];
  return [
    `${entry.kind}: ${[...new Set(entry.settled)].join(' and ') || (fate === 'rejected' && entry.copies > 0 ? 'rejected' : 'open')}`,
    entry.copies > 0 ? 'poisoned' : '',
    [...told].map((status) => `told that it ${status}`).join(' and '),
    entry.webhook === 'given-up' ? 'its webhook given up' : '',
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** The ways in which a message's story has ended; none is a message that is lost. */
function outcomesOf(
  entry: Entry,
  now: number,
): readonly (Fate | 'done by another' | 'expired' | 'dropped' | 'by hand')[] {
  const { fate } = SCRIPTS[entry.kind];
  return [
    ...(entry.settled.length > 0 ? [fate] : []),
    ...(entry.jobs === 0 && entry.copies > 0 ? ['rejected' as const] : []),
    ...(entry.doneByOther ? ['done by another' as const] : []),
    ...(entry.jobs === 0 && entry.expiresOn <= now ? ['expired' as const] : []),
    ...(entry.jobs === 0 && entry.dropped ? ['dropped' as const] : []),
    ...(entry.deletedByHand && (entry.removed || entry.dropped || entry.expiresOn <= now) ? ['by hand' as const] : []),
  ];
}
