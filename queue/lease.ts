/**
 * One leased message. Renewing, releasing and deleting are serialised, and each uses the last receipt: a receipt that was used before it
 * is dead.
 *
 * States: `held` → `lost` (somebody else has the message, or it is gone; nobody may touch it with this lease any more), `held` → `gone`
 * (deleted by us). `adopt` brings a lost lease back when the message was received anew.
 */
import type { Clock } from '../lib/clock.ts';
import { isKind } from '../lib/errors.ts';
import type { QueueService } from './service.ts';

/** What is known of a message's lease. */
export interface LeaseState {
  readonly popReceipt: string;
  /** Milliseconds since the epoch, by this machine's clock: the service's may differ. */
  readonly until: number;
}

/** The service tells times in whole seconds. */
const RESOLUTION_MS = 1000;

/** How a delete ended. `unsure`: the service knows no such message under this receipt, so it is gone, or alive under another receipt. */
export type Removal = 'deleted' | 'unsure' | 'queue-gone';

export class Lease {
  readonly queue: string;
  readonly messageId: string;
  readonly expiresOn: number;
  readonly #service: QueueService;
  readonly #clock: Clock;
  readonly #past = new Set<string>();
  #state: LeaseState;
  #isWritten = true;
  /** Monotonic milliseconds, so that a clock that is set does not let a lease end unnoticed. */
  #renewDue: number;
  #condition: 'held' | 'lost' | 'gone' = 'held';
  #tail: Promise<unknown> = Promise.resolve();

  constructor(
    service: QueueService,
    clock: Clock,
    message: { readonly queue: string; readonly id: string; readonly expiresOn: number },
    state: LeaseState,
  ) {
    this.#service = service;
    this.#clock = clock;
    this.queue = message.queue;
    this.messageId = message.id;
    this.expiresOn = message.expiresOn;
    this.#state = state;
    this.#renewDue = this.#twoThirdsOf(state);
  }

  get condition(): 'held' | 'lost' | 'gone' {
    return this.#condition;
  }

  get state(): LeaseState {
    return this.#state;
  }

  /**
   * Whether the last receipt was written where another owner would look for it, once. What is found there later is another owner's: two
   * that write against each other would do so without end.
   */
  get isWritten(): boolean {
    return this.#isWritten;
  }

  /** The last receipt was written down. */
  written(): void {
    this.#isWritten = true;
  }

  /**
   * When two thirds of the lease that was left when its receipt was taken have passed: the time to renew it; milliseconds since the epoch.
   * A lease that reaches to the message's end cannot be made longer.
   */
  get renewAt(): number {
    const nearEnd = this.expiresOn - 2 * RESOLUTION_MS;
    if (this.#state.until > nearEnd || this.#clock.now() > nearEnd) return this.expiresOn;
    return this.#clock.now() + this.#renewDue - this.#clock.monotonic();
  }

  /** Takes over a receipt that another delivery of the message, or another operator, brought. One of our own former ones is ignored. */
  adopt(state: LeaseState): boolean {
    if (this.#condition === 'gone' || state.popReceipt === this.#state.popReceipt || this.#past.has(state.popReceipt))
      return false;
    // Of two receipts the one that hides the message for longer was given later: two operators must agree on one.
    if (this.#condition === 'held' && state.until < this.#state.until) return false;
    this.#replace(state);
    this.#isWritten = true;
    this.#condition = 'held';
    return true;
  }

  /**
   * Hides the message for `seconds` from now, less where it expires earlier (the service refuses a longer time).
   *
   * @returns false when the lease is lost
   * @throws ServiceError when the service gave no usable answer; the lease may or may not have been renewed
   */
  async renew(seconds: number, signal?: AbortSignal): Promise<boolean> {
    return this.#serially(() => this.#renewNow(seconds, signal));
  }

  /** Gives the message back, visible after `delaySeconds`. A lost lease is nothing to give back. */
  async release(delaySeconds: number, signal?: AbortSignal): Promise<void> {
    return this.#serially(async () => {
      await this.#renewNow(delaySeconds, signal);
      if (this.#condition === 'held') this.#condition = 'lost';
    });
  }

  /** Deletes the message. Repeating it is harmless. */
  async remove(signal?: AbortSignal): Promise<Removal> {
    return this.#serially(async () => {
      if (this.#condition === 'gone') return 'deleted';
      if (this.#condition === 'lost') return 'unsure';
      try {
        await this.#service.remove(this.queue, this.messageId, this.#state.popReceipt, signal);
        this.#condition = 'gone';
        return 'deleted';
      } catch (error) {
        if (isKind(error, 'lease-lost')) return 'unsure';
        // Asked once more: of a queue that is there after all the message would come back, and find no record of its task.
        if (isKind(error, 'not-found') && !(await this.#service.exists(this.queue, signal))) return 'queue-gone';
        throw error;
      }
    });
  }

  async #renewNow(seconds: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#condition !== 'held') return false;
    const used = this.#state;
    const left = Math.floor((this.expiresOn - this.#clock.now()) / 1000);
    // Never 0 when some time is wanted: the service would show the message to everybody at once.
    const wanted = Math.max(Math.min(1, seconds), Math.min(seconds, left));
    const asked = this.#clock.now();
    try {
      const popReceipt = await this.#service.renew(this.queue, this.messageId, used.popReceipt, wanted, signal);
      this.#replace({ popReceipt, until: asked + wanted * 1000 });
      return true;
    } catch (error) {
      if (!isKind(error, 'lease-lost', 'not-found')) throw error;
      // A newer receipt may have been adopted meanwhile: the refusal says nothing about that one.
      if (this.#state === used) this.#condition = 'lost';
      return this.#state !== used;
    }
  }

  #replace(state: LeaseState): void {
    this.#past.add(this.#state.popReceipt);
    this.#isWritten = false;
    this.#state = state;
    this.#renewDue = this.#twoThirdsOf(state);
  }

  #twoThirdsOf({ until }: LeaseState): number {
    return this.#clock.monotonic() + (Math.max(0, until - this.#clock.now()) * 2) / 3;
  }

  async #serially<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work, work);
    this.#tail = mine.catch(() => undefined);
    return mine;
  }
}
