/**
 * The operator's pipeline on fakes: queues in memory, the in-process Job store with pods that do what their message says, a recorded
 * webhook receiver, one virtual clock. A `World` outlives the operators in it; a `Life` is one operator process, which may crash.
 */
import { ANNOTATION, POD_ANNOTATION } from '#/contract/identity.ts';
import { parseEnvelope } from '#/contract/poison.ts';
import { parseReport, RUNNER_ENV } from '#/contract/runner-abi.ts';
import { webhookId } from '#/contract/webhook.ts';
import { type ErrorKind, isKind, type ServiceError } from '#/lib/errors.ts';
import { createLog, type Log } from '#/lib/log.ts';
import type { Slots } from '#/operator/admission/slots.ts';
import type { AciCheckpointName, Checkpoint, CheckpointName } from '#/operator/checkpoint.ts';
import type { Config, Source } from '#/operator/config.ts';
import { deliver } from '#/operator/deliver.ts';
import type { JobRecord, PodRecord } from '#/operator/jobs/records.ts';
import type { JobPatch, JobStore } from '#/operator/jobs/store.ts';
import type { JobsView } from '#/operator/jobs/view.ts';
import type { Leases } from '#/operator/leases.ts';
import { LiveConfig } from '#/operator/live-config.ts';
import type { ContainerEnd, RunPod } from '#/operator/local/kubelet.ts';
import { createLocalStore, type LocalStore } from '#/operator/local/store.ts';
import { createMetrics, type Metrics } from '#/operator/metrics.ts';
import { Pipeline, type PipelineParts } from '#/operator/pipeline.ts';
import { reconcile } from '#/operator/reconcile.ts';
import type { OutgoingWebhook } from '#/operator/send-webhook.ts';
import type { TaskTypes } from '#/operator/task-types.ts';
import type { QueueService } from '#/queue/service.ts';
import { FakeQueues } from '#/testing/fake-queue.ts';
import { testConfig } from '#/testing/jobs.ts';
import {
  type ApiFault,
  type ApiStep,
  apiFailing,
  patchStep,
  type QueueFault,
  type QueueStep,
  queueFailing,
  type WebhookFault,
  webhookFailing,
} from '#/testing/model/faults.ts';
import { followWithTroubles } from '#/testing/model/following.ts';
import { Injector } from '#/testing/model/injector.ts';
import { SkewedClock, settled, VirtualClock } from '#/testing/virtual-clock.ts';
import type { DeliveryResult } from '#/webhook/delivery.ts';

/** What the pods of a message's Job do; stands in the message's payload. */
export interface Plan {
  /** How the attempts end, one after another, and all further ones like the last. Default: one success. */
  readonly ends?: readonly (ContainerEnd | number)[];
  /** How long each runs. Default: a second. */
  readonly runMs?: number;
  /** How long each goes on after it was told to stop. Default: not at all. */
  readonly stopMs?: number;
  /** Why its container is never started. */
  readonly stuck?: { readonly reason: string; readonly message: string };
  /** Why its Job gets no pod, or its pod no node, in Kubernetes' words. */
  readonly refused?: string;
  readonly unschedulable?: string;
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

/** A Job that was made or changed; `patch` where an operator changed it. */
export interface JobChange {
  readonly job: JobRecord;
  readonly patch?: JobPatch;
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
  readonly liveConfig: LiveConfig;
  readonly store: LocalStore;
  /** What goes wrong with the calls of its operators. */
  readonly faults = new Injector(this.clock);
  /** Every try of a webhook by an operator. */
  readonly webhooks: OutgoingWebhook[] = [];
  /** Every webhook that its receiver has taken in, the runners' own included. */
  readonly received: { readonly id: string; readonly by: 'operator' | 'runner' }[] = [];
  /** Messages whose pods ran side by side: must stay empty. */
  readonly doubles: string[] = [];
  /** Where tasks run on Azure Container Instances. */
  aci: PipelineParts['aci'];
  /** Whether what keeps pods from being made, or from getting a node, has passed. */
  hasRoom = false;
  /** Answers webhooks. */
  answer: (webhook: OutgoingWebhook) => DeliveryResult = () => ({ kind: 'delivered', status: 200 });
  /** Called before and after each call to the Job store; what it throws is the answer. */
  before: (call: StoreCall) => void | Promise<void> = () => undefined;
  after: (call: StoreCall) => void | Promise<void> = () => undefined;
  /** Told of each Job that an operator made or changed, at the moment at which it happened. */
  onJobChange: (change: JobChange) => void = () => undefined;
  /** Ends of the operators' open watches. */
  readonly watches = new Set<(error: ServiceError) => void>();
  /** Every operator that there was. */
  readonly lives: Life[] = [];
  readonly #running = new Map<string, number>();
  readonly #attempts = new Map<string, number>();

  /** @param yaml the configuration, less what every configuration needs */
  constructor(yaml?: string) {
    this.liveConfig = new LiveConfig(testConfig(yaml));
    this.store = createLocalStore({
      clock: this.clock,
      runPod: this.#runPod,
      admit: ({ spec }) => (this.hasRoom ? undefined : planOf(spec.template.metadata.annotations).refused),
      schedule: ({ metadata }) => (this.hasRoom ? undefined : planOf(metadata.annotations).unschedulable),
    });
    for (const { queue } of this.config.sources) this.queues.create(queue);
  }

  /** The configuration as it is now. */
  get config(): Config {
    return this.liveConfig.current;
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
    this.lives.push(life);
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
    return this.snapshot().jobs;
  }

  /** Jobs and pods as they stand at this moment. */
  snapshot(): { readonly jobs: readonly JobRecord[]; readonly pods: readonly PodRecord[] } {
    const stop = new AbortController();
    let now: ReturnType<World['snapshot']> = { jobs: [], pods: [] };
    void this.store.follow((observation) => {
      if (observation.kind === 'listed') now = observation;
    }, stop.signal);
    stop.abort();
    return now;
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
    for (const life of this.lives) life.kill();
    await this.store[Symbol.asyncDispose]();
    await settled();
  }

  readonly #runPod: RunPod = async (pod, life) => {
    const data = pod.metadata.annotations[POD_ANNOTATION.taskData] ?? '{}';
    const payload = planOf(pod.metadata.annotations);
    const attempt = this.#attempts.get(data) ?? 0;
    this.#attempts.set(data, attempt + 1);
    const others = this.#running.get(data) ?? 0;
    if (others > 0) this.doubles.push(data);
    this.#running.set(data, others + 1);
    if (payload.stuck === undefined) life.started();
    else life.waiting(payload.stuck.reason, payload.stuck.message);
    await this.clock.sleep(payload.stuck === undefined ? (payload.runMs ?? 1000) : FOR_EVER_MS, life.stopping);
    const stopped = life.stopping.aborted;
    if (stopped) await this.clock.sleep(payload.stopMs ?? 0, UNSTOPPED);
    this.#running.set(data, (this.#running.get(data) ?? 1) - 1);
    if (stopped) return payload.stuck === undefined ? { exitCode: 143 } : undefined;
    const ends = payload.ends ?? [0];
    const end = ends[Math.min(attempt, ends.length - 1)] ?? 0;
    if (typeof end === 'number') return { exitCode: end };
    const report = parseReport(end.message ?? '');
    const base = pod.spec.containers[0].env.find(({ name }) => name === RUNNER_ENV.webhookId)?.value ?? '';
    if (report?.webhook === 'delivered') this.received.push({ id: webhookId(base, report.status), by: 'runner' });
    return end;
  };
}

/** How an operator lives. */
export interface LifeOptions {
  /** Dies when it has passed this checkpoint so many times: from then on none of its calls leaves the process. */
  readonly crashAt?: { readonly checkpoint: CheckpointName | AciCheckpointName; readonly time?: number };
  readonly log?: Log;
  /** Whether it may act from the start. Default: yes. */
  readonly leads?: boolean;
}

const NEVER = new Promise<never>(() => undefined);
const UNSTOPPED = new AbortController().signal;
const FOR_EVER_MS = 2 ** 40;
/** As deliver.ts. */
const PUT_BACK_S = 300;

export class Life {
  readonly pipeline: Pipeline;
  readonly metrics: Metrics = createMetrics();
  /** Asks it to stop, as SIGTERM does. */
  readonly stop = new AbortController();
  /** Deliveries that ended with an error. */
  readonly failures: unknown[] = [];
  /** Checkpoints that were passed. */
  readonly passed: (CheckpointName | AciCheckpointName)[] = [];
  /** Its machine's clock. */
  readonly clock: SkewedClock;
  #leads: boolean;
  #crashAt: LifeOptions['crashAt'];
  readonly #world: World;
  #dead = false;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(world: World, { crashAt, leads = true, log = createLog('silent', {}) }: LifeOptions) {
    this.#leads = leads;
    const { config } = world;
    const clock = new SkewedClock(world.clock);
    this.clock = clock;
    this.#world = world;
    this.#crashAt = crashAt;
    const checkpoint: Checkpoint = async (name) => {
      this.passed.push(name);
      const times = this.passed.filter((one) => one === name).length;
      if (name !== this.#crashAt?.checkpoint || times !== (this.#crashAt.time ?? 1)) return;
      this.kill();
      await NEVER;
    };
    this.pipeline = new Pipeline({
      config: world.liveConfig,
      store: this.#mortalStore(),
      queues: this.#mortalQueues(),
      clock,
      log,
      metrics: this.metrics,
      aci: world.aci,
      checkpoint,
      isLeading: () => this.#leads,
      beat: () => undefined,
      end: () => undefined,
      onFailedDelivery: (error) => this.failures.push(error),
      readResult: async (url) => ({ kind: 'missing', detail: `${url} is not there` }),
      sendWebhook: async (webhook, signal) => {
        if (this.#dead) return NEVER;
        const fault = world.faults.take('webhook') as WebhookFault | undefined;
        const { result, taken } =
          fault === undefined ? { result: world.answer(webhook), taken: undefined } : webhookFailing(fault);
        world.webhooks.push(webhook);
        if (taken ?? result.kind === 'delivered') world.received.push({ id: webhook.id, by: 'operator' });
        if (fault === 'hang') await clock.sleep(config.file.webhook.timeoutSeconds * 1000, signal ?? UNSTOPPED);
        world.effects.push(`webhook ${result.kind}`);
        return this.#dead ? NEVER : result;
      },
    });
  }

  get view(): JobsView {
    return this.pipeline.view;
  }

  get slots(): Slots {
    return this.pipeline.slots;
  }

  get leases(): Leases {
    return this.pipeline.leases;
  }

  get types(): TaskTypes {
    return this.pipeline.types;
  }

  get tools(): Pipeline['tools'] {
    return this.pipeline.tools;
  }

  /** Slots that are free; 0 while that is unknown. */
  get free(): number {
    return this.slots.census()?.room.total ?? 0;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Sees what there is, and what changes from now on. */
  observe(): void {
    this.#ended = Promise.all([this.#ended, this.pipeline.observe()]);
  }

  /** Dies when it passes this checkpoint next. */
  dieAt(checkpoint: CheckpointName | AciCheckpointName): void {
    this.#crashAt = { checkpoint, time: this.passed.filter((one) => one === checkpoint).length + 1 };
  }

  /** Is told that it leads now, or no longer. */
  lead(leads: boolean): void {
    this.#leads = leads;
    this.pipeline.leadershipChanged();
  }

  /** Has a Job looked at; nobody does while the loops do not run. */
  wake(name: string): void {
    this.pipeline.wake(name);
  }

  /** Runs all loops. */
  run(): void {
    this.#ended = Promise.all([this.#ended, this.pipeline.run(this.stop.signal)]);
  }

  /** SIGTERM: stops in order. Resolves when the process is gone. */
  async terminate(): Promise<void> {
    this.stop.abort();
    await this.#ended;
    this.kill();
  }

  /** Receives one message and delivers it; resolves when that has ended. */
  async deliverNext(source: Source = this.#source()): Promise<void> {
    const [message] = await this.tools.queues.receive(source.queue, 1, this.tools.config.file.lease.firstSeconds);
    if (message === undefined || this.free === 0)
      throw new Error(`there is no ${message === undefined ? 'message' : 'slot'}`);
    await deliver(this.tools, source, message, this.slots.take(source), this.stop.signal);
  }

  /** Looks at the only Job. */
  async reconcile(): Promise<number | undefined> {
    return reconcile(this.tools, (await this.#world.theJob()).name, UNSTOPPED);
  }

  /** SIGKILL: nothing that is under way ever ends, nothing more is done. */
  kill(): void {
    this.#dead = true;
    this.stop.abort();
    this.pipeline.abort();
  }

  #source(): Source {
    const [source] = this.#world.config.sources;
    if (source === undefined) throw new Error('no source');
    return source;
  }

  /** The same methods, which get no answer when this life is over. */
  #mortal<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, key) => {
        const member: unknown = Reflect.get(object, key, object);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          if (this.#dead) return NEVER;
          try {
            const answer: unknown = await Reflect.apply(member, object, args);
            return this.#dead ? NEVER : answer;
          } catch (error) {
            if (this.#dead) return NEVER;
            throw error;
          }
        };
      },
    });
  }

  #mortalQueues(): QueueService {
    const { queues, faults } = this.#world;
    const call = <T>(
      step: QueueStep,
      work: (signal?: AbortSignal) => Promise<T>,
      signal: AbortSignal | undefined,
    ): Promise<T> => {
      const fault = faults.take(step) as QueueFault | undefined;
      return fault === undefined ? work(signal) : faults.fail(queueFailing(step, fault), work, signal);
    };
    return this.#mortal<QueueService>({
      receive: (queue, count, lease, signal) =>
        call('receive', (signal) => queues.receive(queue, count, lease, signal), signal),
      renew: (queue, id, receipt, lease, signal) =>
        call(
          lease === 0 || lease === PUT_BACK_S ? 'release' : 'renew',
          (signal) => queues.renew(queue, id, receipt, lease, signal),
          signal,
        ),
      remove: (queue, id, receipt, signal) =>
        call('remove', (signal) => queues.remove(queue, id, receipt, signal), signal),
      put: (queue, text, ttl, signal) => call('put', (signal) => queues.put(queue, text, ttl, signal), signal),
      exists: (queue, signal) => call('exists', (signal) => queues.exists(queue, signal), signal),
      hasMessages: (queue, signal) => call('look', (signal) => queues.hasMessages(queue, signal), signal),
      list: (signal) => call('list queues', (signal) => queues.list(signal), signal),
      ensureQueue: (queue, signal) => call('ensureQueue', (signal) => queues.ensureQueue(queue, signal), signal),
    });
  }

  #mortalStore(): JobStore {
    const world = this.#world;
    const { store, faults } = world;
    const call = async <T>(
      method: keyof JobStore,
      step: ApiStep,
      job: string,
      work: (signal?: AbortSignal) => Promise<T>,
      signal: AbortSignal | undefined,
      detail?: string,
    ): Promise<T> => {
      await world.before({ method, job });
      const effect = async (signal?: AbortSignal) => {
        const answer = await work(signal);
        if (detail !== undefined) world.note({ method, job }, detail);
        return answer;
      };
      const fault = faults.take(step) as ApiFault | undefined;
      if (fault !== undefined) return faults.fail(apiFailing(step, fault), effect, signal);
      const answer = await effect(signal);
      await world.after({ method, job });
      return answer;
    };
    const changed = (job: JobRecord, patch?: JobPatch) => {
      world.onJobChange({ job, ...(patch === undefined ? {} : { patch }) });
      return job;
    };
    return {
      ...this.#mortal<Omit<JobStore, 'follow'>>({
        create: (job, signal) => {
          const name = job.metadata?.name ?? '';
          return call('create', 'create', name, async (signal) => changed(await store.create(job, signal)), signal, '');
        },
        dryRun: (job, signal) =>
          call('dryRun', 'dryRun', job.metadata?.name ?? '', (signal) => store.dryRun(job, signal), signal),
        get: (name, signal) =>
          call('get', 'get', name, (signal) => store.get(name, signal), signal).catch(answered(undefined, 'not-found')),
        patch: (name, patch, signal) => {
          const what = [
            ...Object.keys(patch.annotations ?? {})
              .map((key) => key.replace('slipway.dev/', ''))
              .filter((key) => key !== 'usage'),
            ...(patch.ttlSeconds === undefined ? [] : [`ttl ${patch.ttlSeconds}`]),
          ];
          const work = async (signal?: AbortSignal) => changed(await store.patch(name, patch, signal), patch);
          return call('patch', patchStep(patch), name, work, signal, `: ${what.join(', ')}`);
        },
        patchStatus: (name, status, resourceVersion, signal) =>
          store.patchStatus(name, status, resourceVersion, signal),
        deletePod: (pod, signal) =>
          call('deletePod', 'deletePod', pod.name, (signal) => store.deletePod(pod, signal), signal, '').catch(
            answered(undefined, 'not-found', 'conflict'),
          ),
        evictPod: (pod, signal) =>
          call('evictPod', 'evictPod', pod.name, (signal) => store.evictPod(pod, signal), signal, '').catch(
            answered(undefined, 'not-found', 'conflict'),
          ),
        expirePod: (pod, signal) => store.expirePod(pod, signal),
        podRefusal: (job, signal) =>
          call('podRefusal', 'podRefusal', job.name, (signal) => store.podRefusal(job, signal), signal),
        isTerminating: (namespace, signal) =>
          call('isTerminating', 'isTerminating', '', (signal) => store.isTerminating(namespace, signal), signal),
        notify: (notice) =>
          call('notify', 'notify', notice.about.name, () => store.notify(notice), undefined).catch(() => undefined),
      }),
      follow: (observe, signal) =>
        followWithTroubles({ store, clock: world.clock, faults, watches: world.watches }, observe, signal),
    };
  }
}

/** What the real store takes for an answer rather than an error. */
function answered<T>(answer: T, ...kinds: readonly ErrorKind[]): (error: unknown) => T {
  return (error) => {
    if (isKind(error, ...kinds)) return answer;
    throw error;
  };
}

function planOf(annotations: Readonly<Record<string, string>>): Plan {
  const { payload } = JSON.parse(annotations[POD_ANNOTATION.taskData] ?? '{}') as { payload?: Plan };
  return payload ?? {};
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)].toSorted();
}

/** A record is kept for its own time, or as long as its message might come back. */
function ttlKind(job: JobRecord): string {
  return job.ttlSeconds === undefined ? 'none' : job.annotations[ANNOTATION.settled] === undefined ? 'early' : 'set';
}
