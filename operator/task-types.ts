/**
 * Which task types may be started: a wrong configuration must not poison a queue. A type whose Job the API server refuses is paused, and
 * asked about again each minute, since the refusal may have come from the cluster (an admission policy, a limit range). A type whose last
 * tasks could not start, for reasons that lie in its image or settings, is paused until the configuration changes.
 */
import type { V1Job } from '@kubernetes/client-node';
import type { Category } from '../contract/diagnosis.ts';
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import { isKind, messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { Wakeup } from '../lib/wakeup.ts';
import { obstaclesOf } from './aci/obstacles.ts';
import { sampleBuild } from './ci/build.ts';
import { type Config, policyFor, policyOfClient, type Source, type TaskPolicy } from './config.ts';
import { type ManifestContext, manifest } from './jobs/manifest.ts';
import type { JobRecord } from './jobs/records.ts';
import type { JobStore } from './jobs/store.ts';
import type { LiveConfig } from './live-config.ts';
import type { Metrics } from './metrics.ts';

/** Tasks in a row that could not start, after which their type is paused. */
const START_FAILURES = 5;
/** What keeps a task from starting and is likely to keep the next one too. */
const OF_THE_TYPE: readonly Category[] = ['ImagePull', 'InvalidImage', 'ContainerConfig', 'InvalidSpec'];
const RECHECK_MS = 60_000;
const RETRY_MS = 2000;

export interface TaskTypesOptions {
  readonly config: LiveConfig;
  readonly context: () => ManifestContext;
  readonly sources: () => readonly Source[];
  readonly store: JobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Called when every type of the configuration has been asked about for the first time. */
  readonly onChecked: () => void;
}

export class TaskTypes {
  readonly #options: TaskTypesOptions;
  readonly #paused = new Map<string, string>();
  /** Of the paused ones, those that the API server refuses; its other answer resumes them. */
  readonly #refused = new Set<string>();
  /** Clients of the tasks in a row that could not start, by type. */
  readonly #notStarted = new Map<string, readonly string[]>();
  readonly #again = new Wakeup();
  /** The configuration whose types have all been asked about. */
  #checked: Config | undefined;

  constructor(options: TaskTypesOptions) {
    this.#options = options;
    options.config.onChange(() => {
      for (const type of this.#paused.keys()) options.metrics.typePaused.set({ type }, 0);
      this.#paused.clear();
      this.#refused.clear();
      this.#notStarted.clear();
      this.#again.wake();
    });
  }

  /** Why the type is paused; undefined for one that may be started. */
  pausedBecause(type: string): string | undefined {
    return this.#paused.get(type);
  }

  /** All paused types with their reasons. */
  get paused(): ReadonlyMap<string, string> {
    return this.#paused;
  }

  /** True once every type of the present configuration has been asked about: before that nothing is received. */
  get checked(): boolean {
    return this.#checked === this.#options.config.current;
  }

  /** The server has refused a Job of this type. */
  refuse(type: string, reason: string): void {
    this.#refused.add(type);
    this.#pause(type, `the API server refuses its Job: ${reason}`);
  }

  /**
   * A task has ended. Where there are several clients, those that could not start must be of two at least: one client's own images are no
   * reason to keep the others' tasks.
   */
  ended(job: JobRecord, category: Category): void {
    const { sources } = this.#options;
    const config = this.#options.config.current;
    const type = policyFor(config, job.labels[LABEL.taskType] ?? '')?.type;
    if (type === undefined || job.annotations[ANNOTATION.configHash] !== config.hash) return;
    if (!OF_THE_TYPE.includes(category)) {
      this.#notStarted.delete(type);
      return;
    }
    const clients = [...(this.#notStarted.get(type) ?? []), job.annotations[ANNOTATION.client] ?? ''].slice(-100);
    this.#notStarted.set(type, clients);
    const several = new Set(sources().map(({ client }) => client)).size > 1;
    if (clients.length < START_FAILURES || (several && new Set(clients).size < 2)) return;
    this.#pause(type, `the last ${clients.length} tasks could not start (${category}); the last one was ${job.name}`);
  }

  #pause(type: string, reason: string): void {
    const { log, metrics, store } = this.#options;
    const { podName } = this.#options.config.current;
    if (this.#paused.has(type)) return;
    this.#paused.set(type, reason);
    metrics.typePaused.set({ type }, 1);
    log.error(
      { type, reason },
      'the task type is paused and its messages are kept: correct taskTypes in the configuration',
    );
    if (podName === undefined) return;
    void store.notify({
      reason: 'TaskTypePaused',
      message: `Task type ${type} is paused, its messages are kept: ${reason}`,
      type: 'Warning',
      about: { kind: 'Pod', name: podName },
    });
  }

  /** Asks about every type, and then again each minute and after each change of the configuration, until `signal` aborts. */
  async keepChecking(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const config = this.#options.config.current;
      const answers = await Promise.all([...config.policies.values()].map((policy) => this.#ask(policy, signal)));
      if (!this.checked && answers.every(Boolean)) {
        this.#checked = config;
        this.#options.onChecked();
      }
      await this.#again.sleep(this.checked ? RECHECK_MS : RETRY_MS, clock, signal);
    }
  }

  /** @returns whether there was an answer */
  async #ask(policy: TaskPolicy, signal: AbortSignal): Promise<boolean> {
    const { store, log, metrics, config } = this.#options;
    const asked = config.current;
    const samples = this.#samples(policy);
    const [sample] = samples;
    const obstacles = policy.backend === 'aci' ? obstaclesOnAci(samples) : undefined;
    if (obstacles !== undefined) {
      this.#refused.add(policy.type);
      this.#pause(policy.type, obstacles);
      return true;
    }
    try {
      await store.dryRun(sample, signal);
    } catch (error) {
      if (isKind(error, 'invalid')) {
        if (config.current === asked) this.refuse(policy.type, messageOf(error));
        return true;
      }
      // Quota, policy and lost rights look alike, and pass: no reason to pause. Without an answer nothing is known yet.
      if (!signal.aborted)
        log.warn({ type: policy.type, err: error }, "could not ask the API server whether it takes this type's Job");
      return isKind(error, 'forbidden');
    }
    if (config.current === asked && this.#refused.delete(policy.type) && this.#paused.delete(policy.type)) {
      metrics.typePaused.set({ type: policy.type }, 0);
      log.info({ type: policy.type }, 'the task type is resumed: the API server takes its Job now');
    }
    return true;
  }

  /** The type's Job, and that of each client whose settings change it. */
  #samples(policy: TaskPolicy): readonly [V1Job, ...V1Job[]] {
    const clients = Object.values(this.#options.config.current.file.clients);
    return [this.#sample(policy), ...clients.map((client) => this.#sample(policyOfClient(policy, client)))];
  }

  #sample(policy: TaskPolicy): V1Job {
    const { context } = this.#options;
    const { storage } = this.#options.config.current;
    const message = { id: 'dry-run', popReceipt: 'none', dequeueCount: 1, insertedOn: 0, expiresOn: 0, leaseUntil: 0 };
    return manifest(
      {
        account: storage.account,
        queue: 'dry-run-tasks',
        client: 'dry-run',
        message,
        taskId: 'dry-run',
        taskType: policy.type,
        taskData: '{}',
        encoding: 'plain',
        webhookUrl: undefined,
        ...(policy.ci === undefined ? {} : { ci: sampleBuild(policy.ci) }),
      },
      policy,
      context(),
    );
  }
}

/** What of the Jobs Azure Container Instances cannot do, in a sentence; undefined when nothing is in the way. */
function obstaclesOnAci(samples: readonly V1Job[]): string | undefined {
  const obstacles = samples.flatMap(({ spec }) => obstaclesOf(spec?.template ?? {}));
  if (obstacles.length === 0) return undefined;
  const texts = new Set(obstacles.map(({ field, reason }) => `the pod template's ${field}: ${reason}`));
  return `it cannot run on Azure Container Instances: ${[...texts].join('; ')}`;
}
