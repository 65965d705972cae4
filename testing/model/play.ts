/**
 * The model's stage: a world with operators that come and go, another consumer, and people who interfere. A play is a list of commands,
 * plain data, so that one that fails can be read, kept and played again.
 */
import { ANNOTATION } from '#/contract/identity.ts';
import { ServiceError } from '#/lib/errors.ts';
import { isHeld } from '#/operator/admission/slots.ts';
import type { CheckpointName } from '#/operator/checkpoint.ts';
import type { JobRecord } from '#/operator/jobs/records.ts';
import type { QueueDialect } from '#/testing/fake-queue.ts';
import { testConfig } from '#/testing/jobs.ts';
import { type Life, World } from '#/testing/rig.ts';
import { settled } from '#/testing/virtual-clock.ts';
import { API_STEPS, type ApiFault, type Cell, QUEUE_STEPS, type QueueFault, type WebhookFault } from './faults.ts';
import { ending, Ledger } from './ledger.ts';
import { type Kind, SCRIPTS } from './messages.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';
/** Nobody puts anything into it; the operators find it. */
const OTHER_QUEUE = 'globex-tasks';
/** Small caps and short limits, so that much happens in little time; records that do not outlive the play. */
const YAML = `
limits: { maxRunning: 4, maxHeldPerQueue: 3 }
discovery: {}
ttl: { completedSeconds: 3600, failedSeconds: 7200 }
defaults: { timeoutSeconds: 300, graceSeconds: 30, startTimeoutSeconds: 60, unschedulableTimeoutSeconds: 120 }
taskTypes: { echo: {}, rare: { maxRunning: 1 } }
`;
const DAY_S = 86_400;
/** Less than any limit of a start above. */
const TOLERATED_SKEW_MS = 30_000;
/** Calm comes within that time after the last trouble, or not at all. */
const CALM_WITHIN_MS = 8 * 3_600_000;

/** What the configuration may be changed to. Caps stay: with smaller ones more would run than may, by right. */
const VARIANTS = {
  'as it was': '',
  'nothing is received': 'receiving: false\n',
  'a client is paused': 'clients: { acme: { receiving: false } }\n',
  'other limits': 'webhook: { timeoutSeconds: 7 }\nclients: { "*": { weight: 3 } }\n',
};
export type Variant = keyof typeof VARIANTS;
export const VARIANT_NAMES = Object.keys(VARIANTS) as readonly Variant[];

/** What can happen. `which` picks one of those that there are. */
export type Command =
  | { readonly do: 'send'; readonly kind: Kind; readonly ttlSeconds?: number }
  | { readonly do: 'pass'; readonly seconds: number }
  | { readonly do: 'start operator' }
  | { readonly do: 'kill operator'; readonly which: number }
  | { readonly do: 'kill operator after'; readonly checkpoint: CheckpointName; readonly which: number }
  | { readonly do: 'stop operator'; readonly which: number }
  | {
      readonly do: 'another consumer';
      readonly leaseSeconds: number;
      readonly workSeconds: number;
      readonly finally: 'deletes' | 'dies';
    }
  | { readonly do: 'fault'; readonly cell: Cell; readonly times: number }
  | { readonly do: 'API outage'; readonly fault: ApiFault; readonly seconds: number }
  | { readonly do: 'queue outage'; readonly fault: QueueFault; readonly seconds: number }
  | { readonly do: 'receiver outage'; readonly fault: WebhookFault; readonly seconds: number }
  | { readonly do: 'change configuration'; readonly to: Variant }
  | { readonly do: 'lose leadership'; readonly which: number }
  | { readonly do: 'gain leadership'; readonly which: number }
  | { readonly do: 'watches break' }
  | { readonly do: 'clock jumps'; readonly seconds: number; readonly which: number }
  | { readonly do: 'delete Job'; readonly which: number }
  /** With all that is in it; after so many seconds the operators are gone too, and it is made anew. */
  | { readonly do: 'delete namespace'; readonly seconds: number }
  | { readonly do: 'cancel Job'; readonly which: number }
  | { readonly do: 'suspend Job'; readonly which: number }
  | { readonly do: 'resume Job'; readonly which: number }
  | { readonly do: 'drain pod'; readonly which: number }
  | { readonly do: 'stale receipts are told'; readonly as: QueueDialect['staleReceipt'] }
  | { readonly do: 'delete queue' }
  | { readonly do: 'create queue' }
  | { readonly do: 'delete poison queue' };

export class Play implements AsyncDisposable {
  readonly world: World;
  readonly ledger: Ledger;
  /** Operators that were started and did not die yet. */
  #lives: Life[] = [];
  #sent = 0;
  readonly #yaml: string;
  /** Aborts when what was begun for a while is to end. */
  #over = new AbortController();

  /** @param shared whether the operators are told of the other consumer (`lease.shared`) */
  constructor({ shared = false } = {}) {
    this.#yaml = `${YAML}${shared ? 'lease: { shared: true }\n' : ''}`;
    this.world = new World(this.#yaml);
    this.world.queues.create(OTHER_QUEUE);
    this.ledger = new Ledger(this.world);
  }

  /** Carries out a command, if there is anything that it could be about. */
  async run(command: Command): Promise<void> {
    const { world, ledger } = this;
    this.#lives = this.#lives.filter((life) => !life.dead);
    switch (command.do) {
      case 'send': {
        if (!(await world.queues.exists(QUEUE))) return;
        const message = SCRIPTS[command.kind].message(`t-${++this.#sent}`);
        ledger.sent(world.queues.send(QUEUE, message, command.ttlSeconds ?? DAY_S), QUEUE, command.kind);
        return;
      }
      case 'pass':
        return world.clock.advance(command.seconds * 1000);
      case 'start operator':
        if (this.#lives.length >= 2) return;
        if (this.#lives.length === 1) this.#overlap();
        this.#lives.push(await world.start());
        return;
      case 'kill operator':
        return pick(this.#lives, command.which)?.kill();
      case 'kill operator after':
        return pick(this.#lives, command.which)?.dieAt(command.checkpoint);
      case 'stop operator':
        void pick(this.#lives, command.which)?.terminate();
        return settled();
      case 'another consumer':
        return this.#otherConsumer(command);
      case 'fault':
        if (command.cell.step === 'create' && command.cell.fault === 'late effect') this.#overlap();
        return world.faults.inject(command.cell, command.times);
      case 'API outage':
        for (const step of API_STEPS) world.faults.setOutage({ step, fault: command.fault });
        world.faults.setOutage({ step: 'list', fault: '503 ServiceUnavailable' });
        this.#breakWatches();
        return this.#clearAfter([...API_STEPS, 'list'], command.seconds);
      case 'queue outage':
        for (const step of QUEUE_STEPS) world.faults.setOutage({ step, fault: command.fault });
        return this.#clearAfter(QUEUE_STEPS, command.seconds);
      case 'receiver outage':
        world.faults.setOutage({ step: 'webhook', fault: command.fault });
        return this.#clearAfter(['webhook'], command.seconds);
      case 'change configuration':
        return this.#configure(command.to);
      case 'lose leadership':
        return pick(this.#lives, command.which)?.lead(false);
      case 'gain leadership':
        return pick(this.#lives, command.which)?.lead(true);
      case 'watches break':
        return this.#breakWatches();
      case 'clock jumps': {
        const life = pick(this.#lives, command.which);
        if (life === undefined) return;
        life.clock.skewMs += command.seconds * 1000;
        if (Math.abs(life.clock.skewMs) >= TOLERATED_SKEW_MS) ledger.clocksWereOff = true;
        return;
      }
      case 'delete Job': {
        const job = pick(world.snapshot().jobs, command.which);
        if (job === undefined) return;
        ledger.deleting(job, this.#lives.length > 0 && !world.store.terminating);
        world.store.remove(job.name);
        return settled();
      }
      case 'delete namespace':
        return this.#deleteNamespace(command.seconds);
      case 'cancel Job': {
        const job = pick(this.#unfinished(), command.which);
        return job === undefined ? undefined : this.#cancel(job);
      }
      case 'suspend Job': {
        const job = pick(this.#unfinished(), command.which);
        if (job === undefined) return;
        const entry = ledger.ofJob(job);
        if (entry !== undefined) entry.heldBack = true;
        await world.store.patch(job.name, { suspend: true });
        return settled();
      }
      case 'resume Job': {
        const job = pick(
          this.#unfinished().filter(({ suspended }) => suspended),
          command.which,
        );
        return job === undefined ? undefined : this.#resume(job);
      }
      case 'drain pod': {
        const pod = pick(
          world.snapshot().pods.filter(({ phase }) => phase === 'Running' || phase === 'Pending'),
          command.which,
        );
        if (pod !== undefined) await world.store.evictPod(pod);
        return settled();
      }
      case 'stale receipts are told':
        world.queues.dialect.staleReceipt = command.as;
        return;
      case 'delete queue':
        ledger.dropping(QUEUE);
        return world.queues.drop(QUEUE);
      case 'create queue':
        return world.queues.create(QUEUE);
      case 'delete poison queue':
        return world.queues.drop(POISON);
    }
  }

  /**
   * All troubles end, and one operator in good health runs until nothing is left to be done.
   *
   * @returns what must not be
   */
  async finish(): Promise<readonly string[]> {
    const { world, ledger } = this;
    world.faults.clear();
    this.#over.abort();
    this.#over = new AbortController();
    for (const life of this.#lives) life.kill();
    this.#configure('as it was');
    world.store.terminating = false;
    for (const job of this.#unfinished())
      if (ledger.ofJob(job)?.kind === 'has a registry that is down') await this.#cancel(job);
    // Those that Slipway holds back it has to start itself.
    for (const job of this.#unfinished()) if (job.suspended && !isHeld(job)) await this.#resume(job);
    const last = await world.start();
    this.#lives = [last];
    try {
      await world.clock.advanceUntil(() => this.#isCalm(last), CALM_WITHIN_MS);
    } catch {
      const { jobs } = world.snapshot();
      const left = jobs.filter((job) => !job.settled).map((job) => `${job.name} (${ledger.ofJob(job)?.kind})`);
      const queued = world.queues.messages(QUEUE).map(({ id }) => `${id.slice(-3)} (${ledger.entries.get(id)?.kind})`);
      ledger.violations.push(`never calm: Jobs ${left.join(', ') || 'none'}; messages ${queued.join(', ') || 'none'}`);
    }
    return ledger.judge();
  }

  /** How every message's story ended, in order. */
  endings(): readonly string[] {
    const { received, config } = this.world;
    return [...this.ledger.entries.values()].map((entry) => ending(entry, received, config.storage.account)).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.world[Symbol.asyncDispose]();
  }

  #isCalm({ view }: Life): boolean {
    const { jobs } = this.world.snapshot();
    return (
      view.state.kind === 'known' && this.world.queues.messages(QUEUE).length === 0 && jobs.every((job) => job.settled)
    );
  }

  #unfinished(): readonly JobRecord[] {
    return this.world.snapshot().jobs.filter((job) => job.end === undefined);
  }

  #configure(variant: Variant): void {
    this.world.liveConfig.replace(testConfig(`${this.#yaml}${VARIANTS[variant]}`));
  }

  /** Two operators at once may each receive as much as there are slots. */
  #overlap(): void {
    this.ledger.allowance = Math.max(this.ledger.allowance, this.world.config.file.limits.maxRunning);
  }

  async #resume(job: JobRecord): Promise<void> {
    // Whoever resumes a Job by hand may pass the cap.
    this.ledger.allowance++;
    await this.world.store.patch(job.name, { suspend: false });
    await settled();
  }

  async #cancel(job: JobRecord): Promise<void> {
    const entry = this.ledger.ofJob(job);
    if (entry !== undefined) entry.cancelled = true;
    await this.world.store.patch(job.name, { annotations: { [ANNOTATION.cancel]: 'by hand' } });
    await settled();
  }

  async #deleteNamespace(seconds: number): Promise<void> {
    const { clock, store } = this.world;
    if (store.terminating) return;
    store.terminating = true;
    for (const job of this.world.snapshot().jobs) {
      this.ledger.deleting(job, false);
      store.remove(job.name);
    }
    const { signal } = this.#over;
    void clock.sleep(seconds * 1000, signal).then(() => {
      if (signal.aborted) return;
      for (const life of this.#lives) life.kill();
      store.terminating = false;
    });
    await settled();
  }

  #breakWatches(): void {
    const error = new ServiceError('unknown', 'TypeError', 'no answer to watch: read ECONNRESET');
    for (const end of this.world.watches) end(error);
  }

  async #clearAfter(steps: Parameters<World['faults']['clear']>[0], seconds: number): Promise<void> {
    const { clock, faults } = this.world;
    void clock.sleep(seconds * 1000, this.#over.signal).then(() => faults.clear(steps));
  }

  /** The worker of old: takes one message, works on it as long as its lease lasts, and deletes it, or dies. */
  async #otherConsumer({ leaseSeconds, workSeconds, finally: end }: Extract<Command, { do: 'another consumer' }>) {
    const { world, ledger } = this;
    if (!(await world.queues.exists(QUEUE))) return;
    const taken = await world.queues.receive(QUEUE, 1, leaseSeconds);
    ledger.takenByOther(taken);
    if (end === 'dies' || workSeconds >= leaseSeconds) return;
    const { signal } = this.#over;
    void world.clock.sleep(workSeconds * 1000, signal).then(async () => {
      if (signal.aborted) return;
      for (const { id, popReceipt } of taken) await world.queues.remove(QUEUE, id, popReceipt).catch(() => undefined);
    });
  }
}

/** One of the items: by its number, counted round; or, below 0, from the end. */
function pick<T>(items: readonly T[], which: number): T | undefined {
  return items.at(which % Math.max(1, items.length));
}
