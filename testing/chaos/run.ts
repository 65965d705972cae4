/** A chaos run: a plan is carried out, what is left then is waited for, and the history is gathered. */
import { z } from 'zod';
import { poisonQueueOf } from '#/contract/identity.ts';
import { parseEnvelope } from '#/contract/poison.ts';
import { systemClock } from '#/lib/clock.ts';
import type { ArmServer } from '#/testing/arm/server.ts';
import type { ArmFault, ArmRequest } from '#/testing/arm/service.ts';
import { type Audit, foundJob, type RawObject, readAudit } from '#/testing/chaos/audit.ts';
import { handovers } from '#/testing/chaos/handovers.ts';
import type { Delivery, Groups, History, JobVersion, PoisonCopy, PutMessage } from '#/testing/chaos/history.ts';
import type { Tell } from '#/testing/chaos/log.ts';
import { type ChaosPlan, type OutageKind, type PlannedOutage, QUEUES } from '#/testing/chaos/plan.ts';
import { type DoneKill, type OwnEnd, startReplicas } from '#/testing/chaos/replicas.ts';
import { expectedOf, messageText } from '#/testing/chaos/tasks.ts';
import { BATCH, CAPS, type ChaosWorld, NAMESPACE, startWorld } from '#/testing/chaos/world.ts';
import type { FaultScript } from '#/testing/fault-proxy.ts';
import { azureError } from '#/testing/fault-servers.ts';
import { randomOf } from '#/testing/random.ts';

/** An outage that came to pass. */
export interface DoneOutage {
  readonly kind: OutageKind;
  readonly from: number;
  readonly to: number;
}

/** What was done, and what came of it. */
export interface ChaosRecord {
  readonly plan: ChaosPlan;
  readonly history: History;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly kills: readonly DoneKill[];
  readonly ownEnds: readonly OwnEnd[];
  readonly outages: readonly DoneOutage[];
  /** Exit codes at the last stop. */
  readonly exitCodes: readonly (number | null)[];
  /** Calls of the queues that met a fault. */
  readonly queueFaults: number;
  /** The same of Azure Resource Manager's. */
  readonly azureFaults: number;
  /** How many writes it tells of, and what else there is to it. */
  readonly audit: Pick<Audit, 'conflicts' | 'broken' | 'leaders'> & { readonly lines: number };
}

/** How a run is carried out. */
export interface RunOptions {
  /** For the replicas' logs. */
  readonly directory: string;
  readonly tell: Tell;
}

/** When nothing has changed for so long, nothing more is waited for: a PUT that nobody knows of is waited for 90 s. */
const PATIENCE_MS = 120_000;
const LOOK_MS = 2_000;
const TELL_MS = 10_000;
/** Of the queue's calls while no outage is. */
const DRIZZLE = 0.01;
/** Of Azure's. */
const AZURE_DRIZZLE = 0.05;

/** Carries a plan out. */
export async function runChaos(plan: ChaosPlan, { directory, tell }: RunOptions): Promise<ChaosRecord> {
  tell('starting the API server, Azurite and the rest');
  await using world = await startWorld(plan.options.backend);
  const count = plan.options.replicas;
  const operator = {
    kubeconfig: world.kubeconfig,
    namespace: NAMESPACE,
    connectionString: world.queueProxy.connectionString,
    config: world.config,
  };
  const broken = new AbortController();
  const { signal } = broken;
  const onHopeless = (error: Error) => broken.abort(error);
  await using replicas = startReplicas({ count, operator, directory, tell, onHopeless });
  const startedAt = systemClock.now();
  const sleep = async (ms: number) => {
    await systemClock.sleep(ms, signal);
    signal.throwIfAborted();
  };
  const at = (ms: number) => sleep(Math.max(0, startedAt + ms - systemClock.now()));
  const puts: PutMessage[] = [];
  const outages: DoneOutage[] = [];
  const drizzle = drizzleOf(plan.options.seed);
  world.queueProxy.use(drizzle);
  const azureDrizzle = azureDrizzleOf(plan.options.seed);
  world.arm?.use(azureDrizzle);

  const outage = async ({ kind, atMs, forMs }: PlannedOutage) => {
    await at(atMs);
    const from = systemClock.now();
    tell(`${kind} for ${(forMs / 1000).toFixed(1)} s`);
    await begin(world, kind);
    await sleep(forMs);
    await end(world, kind, drizzle, azureDrizzle);
    outages.push({ kind, from, to: systemClock.now() });
    tell(`${kind} is over`);
  };
  const oneByOne = async (of: 'api' | 'queue' | 'azure') => {
    for (const one of plan.outages) if (one.kind.startsWith(of)) await outage(one);
  };
  const produce = async () => {
    for (const { atMs, id, queue, kind, webhook, refusedOnce } of plan.puts) {
      await at(atMs);
      const path = `/${id}`;
      if (refusedOnce) world.sink.answer(path, { status: 503 }, { status: 204 });
      const text = messageText(kind, id, webhook ? `${world.sink.url}${path}` : undefined);
      const { messageId } = await world.queues.service.getQueueClient(queue).sendMessage(text);
      puts.push({ id, messageId, queue, kind, expected: expectedOf(kind), webhook, at: systemClock.now() });
    }
    tell('all messages are put');
  };
  const kill = async () => {
    for (const planned of plan.kills) {
      await at(planned.atMs);
      // While there is no API server to ask, or nobody leads: as planned.
      const leader = planned.leader ? await holderOf(world) : '';
      await replicas.kill(replicas.replicaOf(leader) ?? planned.replica, planned.leader, signal);
    }
  };
  const done = new AbortController();
  const telling = progress(world, puts, AbortSignal.any([done.signal, signal]), tell);
  const parts = [produce(), kill(), oneByOne('api'), oneByOne('queue'), oneByOne('azure')];
  // One that fails ends the others: when they are over, nobody touches the servers any more, and they can be stopped.
  await Promise.all(parts.map((part) => part.catch((error) => broken.abort(error))));
  signal.throwIfAborted();
  tell('no more faults; waiting until all is settled');
  world.queueProxy.use(undefined);
  world.arm?.use(undefined);
  await calm(world, sleep, tell);
  done.abort();
  await telling;
  const endedAt = systemClock.now();
  const exitCodes = await replicas.stop();
  tell(`replicas stopped with ${exitCodes.join(', ')}; reading the audit log`);

  const audit = await readAudit(world.cluster.auditLog ?? '');
  const history: History = {
    puts,
    jobs: [...audit.jobs, ...(await unheardOf(world, audit.jobs))],
    pods: audit.pods,
    deliveries: deliveriesOf(world),
    poison: await poisonOf(world),
    calls: world.calls,
    left: Object.fromEntries(
      await Promise.all(QUEUES.map(async (queue) => [queue, await world.queues.count(queue)] as const)),
    ),
    caps: CAPS,
    overlap: count > 1 ? BATCH : 0,
    changes: handovers(audit.leaders, replicas.kills),
    groups: world.arm && groupsOf(world.arm),
  };
  return {
    plan,
    history,
    startedAt,
    endedAt,
    kills: replicas.kills,
    ownEnds: replicas.ownEnds,
    outages,
    exitCodes,
    queueFaults: world.queueProxy.injected(),
    azureFaults: world.arm?.faults() ?? 0,
    audit: {
      conflicts: audit.conflicts,
      broken: audit.broken,
      leaders: audit.leaders,
      lines: audit.jobs.length + audit.pods.length,
    },
  };
}

async function begin({ cluster, queueProxy, arm }: ChaosWorld, kind: OutageKind): Promise<void> {
  switch (kind) {
    case 'api-killed':
      return cluster.stopApiServer('KILL');
    case 'api-stopped':
      return cluster.stopApiServer('TERM');
    case 'queue-busy':
      return queueProxy.use(() => azureError(503));
    case 'queue-hangs':
      return queueProxy.use(() => ({ kind: 'hang' }));
    case 'azure-busy':
      return arm?.use(() => ({ status: 429, code: 'TooManyRequests', retryAfterSeconds: 1 }));
    case 'azure-hangs':
      return arm?.use(() => ({ status: 0, code: 'none', hangs: true }));
  }
}

async function end(
  { cluster, queueProxy, arm }: ChaosWorld,
  kind: OutageKind,
  drizzle: FaultScript,
  azureDrizzle: ArmScript,
): Promise<void> {
  if (kind.startsWith('api')) await cluster.startApiServer();
  else if (kind.startsWith('azure')) arm?.use(azureDrizzle);
  else queueProxy.use(drizzle);
}

/** Some calls of the queues go wrong all the time, as in life. */
function drizzleOf(seed: number): FaultScript {
  const random = randomOf(seed + 1);
  const faults = [azureError(500), { kind: 'reset' }, { kind: 'lost-reply' }] as const;
  return () => (random() < DRIZZLE ? faults[Math.floor(random() * faults.length)] : undefined);
}

type ArmScript = (request: ArmRequest) => ArmFault | undefined;

/** The same for Azure: errors and lost connections, with their effect or without, at once or late; deletes that come to nothing. */
function azureDrizzleOf(seed: number): ArmScript {
  const random = randomOf(seed + 2);
  const faults: readonly ArmFault[] = [
    { status: 500, code: 'InternalServerError' },
    { status: 500, code: 'InternalServerError', takesEffect: true },
    { status: 0, code: 'reset' },
    { status: 0, code: 'reset', takesEffect: true },
    { status: 409, code: 'ContainerGroupTransitioning' },
  ];
  const late: ArmFault = { status: 0, code: 'reset', takesEffectAfterMs: 3000 };
  const silent: ArmFault = { status: 204, code: 'none' };
  return ({ operation }) => {
    if (random() >= AZURE_DRIZZLE) return undefined;
    const own = operation === 'put' ? [late] : operation === 'delete' ? [silent] : [];
    const all = [...faults, ...own];
    return all[Math.floor(random() * all.length)];
  };
}

function groupsOf(arm: ArmServer): Groups {
  const put = arm.requests.filter(({ operation }) => operation === 'put').map(({ group }) => group);
  const starts = [...new Set(put)].map((name) => [name, arm.starts(name)] as const);
  return { starts: Object.fromEntries(starts), overwritten: arm.overwritten, left: arm.groups };
}

interface Left {
  readonly messages: number;
  readonly jobs: number;
  readonly groups: number;
}

/** What is still to be done: messages in queues, Jobs that are not settled, and groups. */
async function leftToDo({ queues, cluster, arm }: ChaosWorld): Promise<Left> {
  const counts = await Promise.all(QUEUES.map((queue) => queues.count(queue)));
  const active = await cluster.kubectl([
    '-n',
    NAMESPACE,
    'get',
    'jobs',
    '-l',
    'slipway.dev/state=active',
    '-o',
    'name',
  ]);
  return {
    messages: counts.reduce((sum, count) => sum + count, 0),
    jobs: active.split('\n').filter(Boolean).length,
    groups: arm?.groups.length ?? 0,
  };
}

/** Waits until nothing is left to do, or nothing changes any more: what is missing then, the judge says. */
async function calm(world: ChaosWorld, sleep: (ms: number) => Promise<void>, tell: Tell): Promise<void> {
  let last = '';
  let changedAt = systemClock.monotonic();
  for (;;) {
    const left = await leftToDo(world);
    if (left.messages + left.jobs + left.groups === 0) return;
    const now = JSON.stringify([left, world.sink.requests.length]);
    if (now !== last) [last, changedAt] = [now, systemClock.monotonic()];
    if (systemClock.monotonic() - changedAt > PATIENCE_MS) {
      tell(
        `nothing changes any more: ${left.messages} messages, ${left.jobs} unsettled Jobs and ${left.groups} container groups are left`,
      );
      return;
    }
    await sleep(LOOK_MS);
  }
}

/** Who holds the operators' Lease; '' when nobody does, or it cannot be read. */
async function holderOf({ cluster }: ChaosWorld): Promise<string> {
  const list = ['-n', NAMESPACE, 'get', 'leases', '-o', 'jsonpath={.items[*].spec.holderIdentity}'];
  return (await cluster.kubectl([...list, '--request-timeout=2s']).catch(() => '')).trim();
}

async function progress(world: ChaosWorld, puts: readonly PutMessage[], over: AbortSignal, tell: Tell): Promise<void> {
  for (;;) {
    await systemClock.sleep(TELL_MS, over);
    if (over.aborted) return;
    const counts = await Promise.all(QUEUES.map((queue) => world.queues.count(queue)));
    const removed = new Set(world.calls.flatMap(({ kind, messageId }) => (kind === 'removed' ? [messageId] : [])));
    tell(
      `${puts.length} put, ${counts.reduce((sum, count) => sum + count, 0)} in the queues, ${removed.size} removed, ` +
        `${world.sink.requests.length} webhooks`,
    );
  }
}

/** Jobs as they stand at the end, where the audit log does not tell of that: its server may be killed before it writes. */
async function unheardOf({ cluster }: ChaosWorld, known: readonly JobVersion[]): Promise<readonly JobVersion[]> {
  const heard = new Set(known.map(({ uid, revision }) => `${uid} ${revision}`));
  const found: JobVersion[] = [];
  let next = '';
  do {
    const path = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs?limit=500&continue=${encodeURIComponent(next)}`;
    const page = JSON.parse(await cluster.kubectl(['get', '--raw', path])) as {
      metadata: { continue?: string };
      items: RawObject[];
    };
    found.push(...page.items.map((object) => foundJob(object, systemClock.now())));
    next = page.metadata.continue ?? '';
  } while (next !== '');
  return found.filter(({ uid, revision }) => !heard.has(`${uid} ${revision}`));
}

const reportSchema = z.object({ status: z.string() });

function deliveriesOf({ sink }: ChaosWorld): readonly Delivery[] {
  return sink.requests.map(({ path, headers, body }) => ({
    id: path.slice(1),
    webhookId: String(headers['webhook-id']),
    status: statusOf(body),
  }));
}

function statusOf(body: string): string {
  try {
    return reportSchema.parse(JSON.parse(body)).status;
  } catch {
    return 'unreadable';
  }
}

async function poisonOf({ queues }: ChaosWorld): Promise<readonly PoisonCopy[]> {
  const copies = await Promise.all(
    QUEUES.map(async (queue) =>
      (await queues.texts(poisonQueueOf(queue))).map((text) => ({ queue, messageId: parseEnvelope(text)?.id })),
    ),
  );
  return copies.flat();
}
