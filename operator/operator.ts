/** The operator: the pipeline, and around it what makes it a process among others: health, metrics, leadership, a configuration that changes. */
import { leaderLeaseName } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { QueueService } from '../queue/service.ts';
import { createLazyGroupsIn } from './aci/lazy-groups.ts';
import type { ReadReference } from './aci/references.ts';
import { aciTerms } from './aci/terms.ts';
import { isHeld, takesSlot } from './admission/slots.ts';
import { type Checkpoint, noCheckpoint } from './checkpoint.ts';
import { type Config, clientSettings } from './config.ts';
import { type Check, Health } from './health.ts';
import { serveHttp } from './http.ts';
import type { JobStore } from './jobs/store.ts';
import { LeaderElection } from './leader.ts';
import type { LeaseStore } from './lease-object.ts';
import { keepReading, LiveConfig } from './live-config.ts';
import { createMetrics } from './metrics.ts';
import { Pipeline } from './pipeline.ts';
import { createSendWebhook } from './send-webhook.ts';
import { createReadResult } from './settle/stored-result.ts';

/** What the operator is made of. */
export interface OperatorParts {
  readonly config: Config;
  /** Reads the configuration again; without it a change is not looked for. */
  readonly load?: () => Promise<Config>;
  readonly store: JobStore;
  /** Where replicas agree on the one that works; without it this process is the only one. */
  readonly leases?: LeaseStore;
  readonly queues: QueueService;
  /** Reads what tasks on Azure Container Instances refer to; without it none can be run there. */
  readonly readReference?: ReadReference;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends by itself as soon as nothing can be brought on, and hides running tasks' messages for so many seconds. */
  readonly once?: { readonly leaseSeconds: number };
  readonly checkpoint?: Checkpoint;
  /** Called once the HTTP server listens. */
  readonly onListening?: (port: number) => void;
}

/** Milliseconds for giving up leadership at the end. */
const RELEASE_MS = 10_000;

/** Runs until `stopping` aborts. */
export async function runOperator(parts: OperatorParts, stopping: AbortSignal): Promise<void> {
  const { store, queues, clock, log, checkpoint = noCheckpoint, load, readReference } = parts;
  const { namespace, installation, httpPort, storage, webhookSecrets, policies } = parts.config;
  const config = new LiveConfig(parts.config);
  const metrics = createMetrics();
  const health = new Health(clock, () => [...readiness(config, pipeline), leadership(election)]);
  const election = parts.leases && elect(parts.leases, parts, () => pipeline.leadershipChanged());
  const pipeline = new Pipeline({
    config,
    store,
    queues,
    clock,
    log,
    metrics,
    checkpoint,
    sendWebhook: createSendWebhook(() => config.current.file.webhook, webhookSecrets, metrics, clock),
    readResult: createReadResult(storage, clock),
    isLeading: () => election?.isLeading ?? true,
    beat: (loop) => health.beat(loop),
    end: (loop) => health.end(loop),
    aci: readReference && {
      terms: () => aciTerms(config.current.file),
      groupsIn: createLazyGroupsIn(() => config.current.file.aci?.endpoint, clock),
      read: readReference,
    },
  });

  await using server = await serveHttp(httpPort, health, metrics, () => {
    refreshGauges(metrics, config, pipeline);
    metrics.leading.set((election?.isLeading ?? true) ? 1 : 0);
  });
  parts.onListening?.(server.port);
  log.info(
    {
      queues: config.current.sources.map(({ queue }) => queue),
      discovery: config.current.file.discovery?.include,
      types: [...policies.keys()],
      namespace,
      installation,
      maxRunning: config.current.file.limits.maxRunning,
      receiving: config.current.file.receiving,
      port: server.port,
    },
    'the operator starts',
  );
  // Whichever part ends, the others end in order.
  const over = new AbortController();
  const ending = AbortSignal.any([stopping, over.signal]);
  const reading = load === undefined ? undefined : keepReading(config, { load, store, clock, log, metrics }, ending);
  if (parts.once !== undefined) {
    pipeline.partingLeaseSeconds = parts.once.leaseSeconds;
    void endWhenQuiet(pipeline, election, parts, over);
  }
  // It leads until all is done: what is being settled while it stops is still its own.
  const resigned = new AbortController();
  const electing = election?.run(resigned.signal);
  try {
    await pipeline.run(ending);
  } finally {
    over.abort();
    await election?.release(clock.deadline(RELEASE_MS));
    resigned.abort();
    await electing;
    await reading;
    log.info({}, 'the operator has stopped');
  }
}

const LOOK_EACH_MS = 500;
/** A run that comes while another works has nothing to do; one that died leaves a Lease of 15 s. */
const ELECTED_WITHIN_MS = 30_000;

/** Aborts `over` when twice in a row nothing was left to do. */
async function endWhenQuiet(
  pipeline: Pipeline,
  election: LeaderElection | undefined,
  { clock, log }: OperatorParts,
  over: AbortController,
): Promise<void> {
  const begun = clock.monotonic();
  for (let quiet = 0; quiet < 2 && !over.signal.aborted; ) {
    await clock.sleep(LOOK_EACH_MS, over.signal);
    const leads = election?.isLeading ?? true;
    quiet = leads && pipeline.isQuiet ? quiet + 1 : 0;
    if (leads || clock.monotonic() - begun < ELECTED_WITHIN_MS) continue;
    log.warn({ holder: election?.holder }, 'another operator works: this run has nothing to do');
    break;
  }
  over.abort(new Error('nothing is left to do'));
}

function elect(
  leases: LeaseStore,
  { config, clock, log }: OperatorParts,
  onChange: (isLeading: boolean) => void,
): LeaderElection {
  return new LeaderElection({
    leases,
    name: leaderLeaseName(config.installation),
    identity: config.podName ?? `process-${process.pid}`,
    clock,
    log,
    onChange,
  });
}

function leadership(election: LeaderElection | undefined): Check {
  const detail =
    election === undefined
      ? 'the only replica'
      : election.isLeading
        ? 'this replica works'
        : `standby; ${election.holder === undefined ? 'nobody works yet' : `${election.holder} works`}`;
  return { name: 'leadership', ok: true, detail };
}

function refreshGauges(metrics: ReturnType<typeof createMetrics>, config: LiveConfig, pipeline: Pipeline): void {
  const jobs = [...pipeline.view.jobs()];
  metrics.running.set(jobs.filter(takesSlot).length);
  metrics.unsettled.set(jobs.filter((job) => !job.settled).length);
  metrics.viewKnown.set(pipeline.view.state.kind === 'known' ? 1 : 0);
  metrics.groups.set(pipeline.aci?.groups ?? 0);
  metrics.awaitingGroups.set(pipeline.aci?.waiting ?? 0);
  metrics.held.reset();
  for (const [queue, held] of Map.groupBy(jobs.filter(isHeld), (job) => job.annotations['slipway.dev/queue'] ?? ''))
    metrics.held.set({ queue }, held.length);
  metrics.receiving.reset();
  for (const { queue, client } of pipeline.sources.current)
    metrics.receiving.set({ queue }, isReceiving(config.current, client) ? 1 : 0);
}

function isReceiving(config: Config, client: string): boolean {
  return config.file.receiving && clientSettings(config, client)?.receiving !== false;
}

function readiness(config: LiveConfig, { view, types, sources }: Pipeline): readonly Check[] {
  const { state } = view;
  const paused = [...types.paused].map(([type, reason]) => `${type}: ${reason}`);
  const asleep = sources.current.filter(({ client }) => !isReceiving(config.current, client));
  return [
    { name: 'jobs', ok: state.kind === 'known', detail: state.kind === 'known' ? 'listed and watched' : state.reason },
    {
      name: 'task types',
      ok: types.checked && paused.length < config.current.policies.size,
      detail: types.checked
        ? paused.length === 0
          ? 'all accepted by the API server'
          : `paused: ${paused.join('; ')}`
        : 'the API server was not asked about all of them yet',
    },
    { name: 'queues', ok: sources.problem === undefined, detail: sources.problem ?? `${sources.current.length} known` },
    {
      // That somebody wants it so is no fault.
      name: 'receiving',
      ok: true,
      detail: !config.current.file.receiving
        ? 'paused by configuration: nothing is received'
        : asleep.length === 0
          ? 'from all queues'
          : `paused by configuration: ${asleep.map(({ queue }) => queue).join(', ')}`,
    },
  ];
}
