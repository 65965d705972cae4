/** What a chaos run does, and when: decided by its seed before it begins. All times are milliseconds from its start. */
import { SHARES, type TaskKind, tellsItsWebhook } from '#/testing/chaos/tasks.ts';
import { randomOf } from '#/testing/random.ts';

/** What a plan is made of. */
export interface ChaosOptions {
  readonly seed: number;
  readonly tasks: number;
  readonly kills: number;
  readonly replicas: number;
  /** For how long messages are put and faults begin; what is left then is done in peace. */
  readonly spanMs: number;
  /** Where the tasks run. Default: Kubernetes, whose pods KWOK plays; `aci`: on the stand-in for Azure Container Instances. */
  readonly backend?: 'kubernetes' | 'aci';
}

/** A message that is put. */
export interface PlannedPut {
  /** Of the message in this run; its task id, and the path of its webhook. */
  readonly id: string;
  readonly atMs: number;
  readonly queue: string;
  readonly kind: TaskKind;
  readonly webhook: boolean;
  /** The webhook's receiver is busy (503) at the first try. */
  readonly refusedOnce: boolean;
}

/** A SIGKILL. */
export interface PlannedKill {
  readonly atMs: number;
  readonly replica: number;
  /**
   * Whether it is not this replica, but the one that leads then, and another pod takes its place, under another name;
   * else the same pod is started again, which may go on where it was.
   */
  readonly leader: boolean;
}

/** What goes away for a while. */
export type OutageKind = 'api-killed' | 'api-stopped' | 'queue-busy' | 'queue-hangs' | 'azure-busy' | 'azure-hangs';

/** A time in which one of the servers is away. */
export interface PlannedOutage {
  readonly kind: OutageKind;
  readonly atMs: number;
  readonly forMs: number;
}

/** A whole plan; each list is in order of time. */
export interface ChaosPlan {
  readonly options: ChaosOptions;
  readonly puts: readonly PlannedPut[];
  readonly kills: readonly PlannedKill[];
  readonly outages: readonly PlannedOutage[];
}

/** The queues of the clients. */
export const QUEUES = ['acme', 'globex', 'hooli', 'initech', 'umbrella'].map((client) => `${client}-tasks`);

/** How long outages of each kind last, from and to. */
const LENGTHS = {
  'api-killed': [3_000, 8_000],
  'api-stopped': [3_000, 8_000],
  'queue-busy': [4_000, 10_000],
  'queue-hangs': [5_000, 12_000],
  'azure-busy': [4_000, 10_000],
  'azure-hangs': [5_000, 12_000],
} as const satisfies Record<OutageKind, readonly [number, number]>;

/** One outage of each kind in so much time, and at least one. */
const OUTAGE_EVERY_MS = 120_000;
/** Of so many kills one is of the leader for good. */
const LEADER_EVERY = 10;
/** Nobody is killed for so long after that: whoever waits for leadership to run out begins anew when it is killed. */
const TAKEOVER_MS = 20_000;
/** Until an API server that is started again answers, and one of the operators leads. */
const RECOVERY_MS = 12_000;
/** Messages come in bursts of up to so many. */
const BURST = 12;

/** Makes a plan. The same options give the same one. */
export function chaosPlan(options: ChaosOptions): ChaosPlan {
  const random = randomOf(options.seed);
  const between = (from: number, to: number) => Math.floor(from + random() * (to - from));
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T;
  const { tasks, replicas, spanMs } = options;

  const puts: PlannedPut[] = [];
  while (puts.length < tasks) {
    const [atMs, queue] = [between(0, spanMs), pick(QUEUES)];
    for (let left = Math.min(between(1, BURST + 1), tasks - puts.length); left > 0; left--) {
      const kind = pickKind(random);
      const webhook = tellsItsWebhook(kind) && random() < 0.95;
      const id = `c-${String(puts.length + 1).padStart(6, '0')}`;
      puts.push({ id, atMs, queue, kind, webhook, refusedOnce: webhook && random() < 0.03 });
    }
  }

  const rounds = Math.max(1, Math.floor(spanMs / OUTAGE_EVERY_MS));
  const outagesOf = (kinds: readonly OutageKind[]) =>
    // Each has a part of the time of its own, so that outages of one server do not meet; of two servers they may.
    Array.from({ length: rounds * kinds.length }, (_, at): PlannedOutage => {
      const kind = kinds[at % kinds.length] as OutageKind;
      const [part, forMs] = [spanMs / (rounds * kinds.length), between(LENGTHS[kind][0], LENGTHS[kind][1])];
      return { kind, atMs: Math.floor(part * at) + between(0, Math.max(1, part - forMs)), forMs };
    });

  const leaders = Math.ceil(options.kills / LEADER_EVERY);
  const quietMs = Math.min(TAKEOVER_MS, spanMs / leaders / 2);
  const outages = [...outagesOf(['api-killed', 'api-stopped']), ...outagesOf(['queue-busy', 'queue-hangs'])];
  // While the API server is away, or has just come back, nobody can be asked who leads.
  const isAsked = (ms: number) =>
    outages.every(({ kind, atMs, forMs }) => !kind.startsWith('api') || ms < atMs || ms > atMs + forMs + RECOVERY_MS);
  const kills: PlannedKill[] = Array.from({ length: leaders }, (_, at) => {
    // When the work has begun, and another can still take over before the end.
    const part = Array.from({ length: 100 }, (__, step) => ((at + 0.1 + step / 200) * spanMs) / leaders);
    const fit = part.filter(isAsked);
    return { atMs: Math.floor(pick(fit.length > 0 ? fit : part)), replica: between(0, replicas), leader: true };
  });
  const isQuiet = (ms: number) => kills.some(({ leader, atMs }) => leader && ms >= atMs && ms < atMs + quietMs);
  // Spread over the rest of the time, so that work is begun between them.
  const free = Array.from({ length: spanMs / 100 }, (_, at) => at * 100).filter((ms) => !isQuiet(ms));
  const others = options.kills - leaders;
  for (let at = 0; at < others; at++) {
    const atMs = free[Math.floor(((at + random()) * free.length) / others)] ?? 0;
    kills.push({ atMs, replica: between(0, replicas), leader: false });
  }

  if (options.backend === 'aci') outages.push(...outagesOf(['azure-busy', 'azure-hangs']));

  return {
    options,
    puts: puts.toSorted((a, b) => a.atMs - b.atMs),
    kills: kills.toSorted((a, b) => a.atMs - b.atMs),
    outages: outages.toSorted((a, b) => a.atMs - b.atMs),
  };
}

/** The plan for people, less its messages. */
export function describePlan({ options, puts, kills, outages }: ChaosPlan): readonly string[] {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return [
    `seed ${options.seed}: ${puts.length} messages in ${seconds(options.spanMs)}, ${options.replicas} replicas${options.backend === 'aci' ? ', tasks on Azure Container Instances' : ''}`,
    `SIGKILL: ${kills.map(({ atMs, replica, leader }) => `${seconds(atMs)} replica ${replica}${leader ? ' (the leader)' : ''}`).join(', ') || 'none'}`,
    ...outages.map(({ kind, atMs, forMs }) => `${kind}: from ${seconds(atMs)} for ${seconds(forMs)}`),
  ];
}

function pickKind(random: () => number): TaskKind {
  const kinds = Object.entries(SHARES) as [TaskKind, number][];
  let left = random() * kinds.reduce((sum, [, share]) => sum + share, 0);
  for (const [kind, share] of kinds) {
    left -= share;
    if (left < 0) return kind;
  }
  return 'succeed';
}
