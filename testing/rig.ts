/**
 * The operator's pipeline on fakes: queues in memory, the in-process Job store with pods that do what their message says, a recorded
 * webhook receiver, one virtual clock. A `World` outlives the operators in it; a `Life` is one operator process, which may crash.
 */
import { ANNOTATION, POD_ANNOTATION } from '#/contract/identity.ts';
import { parseEnvelope } from '#/contract/poison.ts';
import { createLog, type Log } from '#/lib/log.ts';
import { Slots } from '#/operator/admission/slots.ts';
import type { Checkpoint, CheckpointName } from '#/operator/checkpoint.ts';
import type { Config, Source } from '#/operator/config.ts';
import { type DeliverTools, deliver } from '#/operator/deliver.ts';
import type { JobRecord } from '#/operator/jobs/records.ts';
import type { JobStore } from '#/operator/jobs/store.ts';
import { JobsView } from '#/operator/jobs/view.ts';
import { Leases } from '#/operator/leases.ts';
import type { ContainerEnd, RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore, type LocalStore } from '#/operator/local/store.ts';
import { createMetrics, type Metrics } from '#/operator/metrics.ts';
import { receiveFrom } from '#/operator/receive.ts';
import { type ReconcileTools, reconcile } from '#/operator/reconcile.ts';
import type { OutgoingWebhook } from '#/operator/send-webhook.ts';
import { TaskTypes } from '#/operator/task-types.ts';
import { WorkQueue } from '#/operator/work-queue.ts';
import { FakeQueues } from '#/testing/fake-queue.ts';
import { testConfig } from '#/testing/jobs.ts';
import { settled, VirtualClock } from '#/testing/virtual-clock.ts';
import type { DeliveryResult } from '#/webhook/delivery.ts';

/** What the pods of a message's Job do; stands in the message's payload. */
export interface Plan {
  /** How the attempts end, one after another, and all further ones like the last. Default: one success. */
  readonly ends?: readonly (ContainerEnd | number)[];
  /** How long each runs. Default: a second. */
  readonly runMs?: number;
}

/** A message of type echo that plans its own fate. */
export function task(id: string, plan: Plan = {}, more: object = {}): object {
  return { task_id: id, task_type: 'echo', payload: plan, ...more };
}

/** A termination message of our runner. */
export function report(
  status: 'completed' | 'failed',
  webhook: 'delivered' | 'owed' | 'none',
  more: object = {},
): string {
  return JSON.stringify({ v: 1, status, webhook, ...more });
}

/** A call to the Job store, with the Job's name where it has one. */
export interface StoreCall {
  readonly method: keyof JobStore;
  readonly job: string;
}

/** How things stand, without what may differ between two good ways to get there. */
export interface EndState {
  readonly queued: readonly string[];
  readonly poisoned: readonly string[];
  readonly webhooks: readonly string[];
  readonly jobs: readonly string[];
}

export class World {
  readonly clock = new VirtualClock();
  /** Every effect on the outside, in order. */
  readonly effects: string[] = [];
  readonly queues = new FakeQueues(this.clock, this.effects);
  readonly config: Config;
  readonly store: LocalStore;
  readonly webhooks: OutgoingWebhook[] = [];
  /** Messages whose pods ran side by side: must stay empty. */
  readonly doubles: string[] = [];
  /** Answers webhooks. */
  answer: (webhook: OutgoingWebhook) => DeliveryResult = () => ({ kind: 'delivered', status: 200 });
  /** Called before and after each call to the Job store; what it throws is the answer. */
  before: (call: StoreCall) => void | Promise<void> = () => undefined;
  after: (call: StoreCall) => void | Promise<void> = () => undefined;
  readonly #lives: Life[] = [];
  readonly #running = new Map<string, number>();
  readonly #attempts = new Map<string, number>();

  /** @param yaml the configuration, less what every configuration needs */
  constructor(yaml?: string) {
    this.config = testConfig(yaml);
    this.store = createLocalStore({ clock: this.clock, runPod: this.#runPod });
    for (const { queue } of this.config.sources) this.queues.create(queue);
  }

  /** Starts an operator, whose loops run while the clock is moved. */
  async start(options: LifeOptions = {}): Promise<Life> {
    const life = this.rest(options);
    life.run();
    await settled();
    return life;
  }

  /** An operator that sees the world and does nothing by itself. */
  rest(options: LifeOptions = {}): Life {
    const life = new Life(this, options);
    this.#lives.push(life);
    return life;
  }

  /** Adds a line about a call to the store that changed something. */
  note(call: StoreCall, detail = ''): void {
    this.effects.push(`${call.method} ${call.job}${detail}`);
  }

  /** The effects since the last look. */
  newEffects(): string[] {
    return this.effects.splice(0);
  }

  /** The only Job. */
  async theJob(): Promise<JobRecord> {
    const jobs = await this.jobs();
    const [job] = jobs;
    if (job === undefined || jobs.length > 1) throw new Error(`there are ${jobs.length} Jobs`);
    return job;
  }

  async jobs(): Promise<readonly JobRecord[]> {
    const stop = new AbortController();
    let jobs: readonly JobRecord[] = [];
    const following = this.store.follow((observation) => {
      if (observation.kind === 'listed') jobs = observation.jobs;
    }, stop.signal);
    stop.abort();
    await following;
    return jobs;
  }

  async endState(): Promise<EndState> {
    const each = (work: (queue: string) => readonly string[]) =>
      this.config.sources.flatMap(({ queue }) => work(queue));
    return {
      queued: each((queue) => this.queues.messages(queue).map(({ id }) => id)),
      poisoned: unique(
        each((queue) =>
          this.queues.messages(`${queue}-poison`).map(({ text }) => {
            const envelope = parseEnvelope(text);
            return envelope === undefined ? text : `${envelope.id}: ${envelope.diagnosis.category}`;
          }),
        ),
      ),
      webhooks: unique(this.webhooks.map(({ id, body }) => `${id}: ${JSON.parse(body).status}`)),
      jobs: (await this.jobs())
        .map(
          (job) =>
            `${job.name}: ${job.end?.kind ?? 'unfinished'}${job.settled ? `, settled, ttl ${ttlKind(job)}` : ''}`,
        )
        .toSorted(),
    };
  }

  /** Ends everything, so that nothing is left behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const life of this.#lives) life.kill();
    await this.store[Symbol.asyncDispose]();
    await settled();
  }

  readonly #runPod: RunPod = async (pod, life) => {
    const data = pod.metadata.annotations[POD_ANNOTATION.taskData] ?? '{}';
    const { payload } = JSON.parse(data) as { payload?: Plan };
    const attempt = this.#attempts.get(data) ?? 0;
    this.#attempts.set(data, attempt + 1);
    const others = this.#running.get(data) ?? 0;
    if (others > 0) this.doubles.push(data);
    this.#running.set(data, others + 1);
    life.started();
    await this.clock.sleep(payload?.runMs ?? 1000, life.stopping);
    this.#running.set(data, (this.#running.get(data) ?? 1) - 1);
    if (life.stopping.aborted) return { exitCode: 143 };
    const ends = payload?.ends ?? [0];
    const end = ends[Math.min(attempt, ends.length - 1)] ?? 0;
    return typeof end === 'number' ? { exitCode: end } : end;
  };
}

/** How an operator lives. */
export interface LifeOptions {
  /** Dies when it has passed this checkpoint so many times: from then on none of its calls leaves the process. */
  readonly crashAt?: { readonly checkpoint: CheckpointName; readonly time?: number };
  readonly log?: Log;
}

const NEVER = new Promise<never>(() => undefined);

export class Life {
  readonly view: JobsView;
  readonly slots: Slots;
  readonly leases: Leases;
  readonly types: TaskTypes;
  readonly metrics: Metrics = createMetrics();
  readonly tools: DeliverTools & ReconcileTools;
  /** Asks it to stop, as SIGTERM does. */
  readonly stop = new AbortController();
  /** Deliveries that ended with an error. */
  readonly failures: unknown[] = [];
  /** Checkpoints that were passed. */
  readonly passed: CheckpointName[] = [];
  readonly #world: World;
  readonly #abort = new AbortController();
  #dead = false;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(world: World, { crashAt, log = createLog('silent', {}) }: LifeOptions) {
    const { clock, config } = world;
    this.#world = world;
    const store = this.#mortalStore();
    const queues = this.#mortal(world.queues);
    this.view = new JobsView(clock);
    this.slots = new Slots(this.view, config.file.limits.maxRunning);
    this.leases = new Leases(queues, clock);
    const { namespace, instance, installation, hash: configHash } = config;
    const context = { namespace, instance, installation, configHash };
    const onChecked = () => this.slots.freed.wake();
    this.types = new TaskTypes({ config, context, store, clock, log, metrics: this.metrics, onChecked });
    const checkpoint: Checkpoint = async (name) => {
      this.passed.push(name);
      const times = this.passed.filter((one) => one === name).length;
      if (name !== crashAt?.checkpoint || times !== (crashAt.time ?? 1)) return;
      this.kill();
      await NEVER;
    };
    this.tools = {
      store,
      queues,
      clock,
      log,
      config,
      context,
      checkpoint,
      view: this.view,
      slots: this.slots,
      leases: this.leases,
      types: this.types,
      metrics: this.metrics,
      account: config.storage.account,
      poisonFormat: config.file.poison.format,
      settings: config.file,
      renewSeconds: config.file.lease.renewSeconds,
      readResult: async (url) => ({ kind: 'missing', detail: `${url} is not there` }),
      sendWebhook: async (webhook) => {
        if (this.#dead) return NEVER;
        const result = world.answer(webhook);
        world.webhooks.push(webhook);
        world.effects.push(`webhook ${result.kind}`);
        return this.#dead ? NEVER : result;
      },
    };
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Sees what there is, and what changes from now on. */
  observe(): void {
    const { follow } = this.tools.store;
    const following = follow((observation) => {
      if (!this.#dead) this.view.observe(observation);
      if (observation.kind === 'listed') this.slots.freed.wake();
    }, this.#abort.signal);
    this.#ended = Promise.all([this.#ended, following]);
  }

  /** Runs all loops, put together as operator.ts does. */
  run(): void {
    const { config, clock } = this.#world;
    const work = new WorkQueue(
      clock,
      (name, signal) => reconcile(this.tools, name, signal),
      () => undefined,
    );
    this.view.onChange((name) => work.add(name));
    this.observe();
    const handOn = (source: Source, message: Parameters<typeof deliver>[2], slot: Parameters<typeof deliver>[3]) =>
      void deliver(this.tools, source, message, slot, this.stop.signal).catch((error: unknown) =>
        this.failures.push(error),
      );
    const ready = () => this.types.checked;
    const receive = { ...this.tools, settings: config.file, ready, handOn, beat: () => undefined };
    this.#ended = Promise.all([
      this.#ended,
      ...config.sources.map((source) => receiveFrom(source, receive, this.stop.signal, this.#abort.signal)),
      work.run(16, this.stop.signal, this.#abort.signal, () => undefined),
      this.types.keepChecking(this.stop.signal),
    ]);
  }

  /** Receives one message and delivers it; resolves when that has ended. */
  async deliverNext(source: Source = this.#source()): Promise<void> {
    const [message] = await this.tools.queues.receive(source.queue, 1, this.tools.config.file.lease.firstSeconds);
    const [slot] = this.slots.take(1);
    if (message === undefined || slot === undefined)
      throw new Error(`there is no ${message === undefined ? 'message' : 'slot'}`);
    await deliver(this.tools, source, message, slot, this.stop.signal);
  }

  /** Looks at the only Job. */
  async reconcile(): Promise<number | undefined> {
    return reconcile(this.tools, (await this.#world.theJob()).name, this.#abort.signal);
  }

  /** SIGKILL: nothing that is under way ever ends, nothing more is done. */
  kill(): void {
    this.#dead = true;
    this.stop.abort();
    this.#abort.abort();
  }

  #source(): Source {
    const [source] = this.#world.config.sources;
    if (source === undefined) throw new Error('no source');
    return source;
  }

  /** The same object, whose calls get no answer when this life is over. */
  #mortal<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, key) => {
        const member: unknown = Reflect.get(object, key, object);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          if (this.#dead) return NEVER;
          const answer: unknown = await Reflect.apply(member, object, args);
          return this.#dead ? NEVER : answer;
        };
      },
    });
  }

  #mortalStore(): JobStore {
    const world = this.#world;
    const { store } = world;
    const call = async <T>(
      method: keyof JobStore,
      job: string,
      work: () => Promise<T>,
      detail?: string,
    ): Promise<T> => {
      await world.before({ method, job });
      const answer = await work();
      if (detail !== undefined) world.note({ method, job }, detail);
      await world.after({ method, job });
      return answer;
    };
    return {
      ...this.#mortal<Omit<JobStore, 'follow'>>({
        create: (job, signal) => call('create', job.metadata?.name ?? '', () => store.create(job, signal), ''),
        dryRun: (job, signal) => call('dryRun', job.metadata?.name ?? '', () => store.dryRun(job, signal)),
        get: (name, signal) => call('get', name, () => store.get(name, signal)),
        patch: (name, patch, signal) => {
          const what = [
            ...Object.keys(patch.annotations ?? {}).map((key) => key.replace('slipway.dev/', '')),
            ...(patch.ttlSeconds === undefined ? [] : [`ttl ${patch.ttlSeconds}`]),
          ];
          return call('patch', name, () => store.patch(name, patch, signal), `: ${what.join(', ')}`);
        },
        notify: (notice) => store.notify(notice),
      }),
      follow: (observe, signal) => store.follow(observe, signal),
    };
  }
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)].toSorted();
}

/** A record is kept for its own time, or as long as its message might come back. */
function ttlKind(job: JobRecord): string {
  return job.ttlSeconds === undefined ? 'none' : job.annotations[ANNOTATION.settled] === undefined ? 'early' : 'set';
}
