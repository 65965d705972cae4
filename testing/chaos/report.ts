/** What a chaos run was and what came of it, for people and as data. */
import { delays } from '#/testing/chaos/delays.ts';
import { nameOf, PROMISES, type Verdict } from '#/testing/chaos/judge.ts';
import type { ChaosRecord } from '#/testing/chaos/run.ts';
import { columns } from '#/testing/demo/text.ts';

/** How many violations of each promise are printed; the summary has all. */
const SHOWN = 10;

/** The lines of the report. */
export function report(record: ChaosRecord, verdict: Verdict): readonly string[] {
  const { plan, history, kills, ownEnds, outages, startedAt, endedAt, audit, exitCodes } = record;
  const { caps, repeated, secondJobs, violations } = verdict;
  const kinds = Object.entries(verdict.outcomes).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const steps = Object.entries(delays(history))
    .map(([step, { half, most }]) => `${step} ${seconds(half)} / ${seconds(most)} s`)
    .join(', ');
  const count = (kind: string) => outages.filter((outage) => outage.kind === kind).length;
  return [
    '',
    ...columns([
      ['messages', 'put', 'completed', 'failed', 'rejected', 'unfinished'],
      ...kinds.map(([kind, { completed, failed, rejected, unfinished }]) =>
        [kind, completed + failed + rejected + unfinished, completed, failed, rejected, unfinished].map(String),
      ),
      ['all', ...totals(kinds.map(([, row]) => row))].map(String),
    ]),
    '',
    ...columns(
      [
        ['seed', String(plan.options.seed)],
        ['replicas', `${plan.options.replicas}, stopped at the end with ${exitCodes.join(', ')}`],
        ['SIGKILLs', `${kills.length}${ownEnds.length === 0 ? '' : `; ${ownEnds.length} ends that nobody caused`}`],
        ['leaders', `${audit.leaders.length}, one after the other`],
        ['API server', `${count('api-killed')} killed, ${count('api-stopped')} stopped, each started again`],
        [
          'queue',
          `${count('queue-busy')} times busy, ${count('queue-hangs')} times hanging; ${record.queueFaults} faults`,
        ],
        ...azureRows(record, count),
        [
          'audit log',
          `${audit.lines} writes; ${audit.conflicts} creates of a Job that was there; ${audit.broken} broken lines`,
        ],
        [
          'second Jobs',
          `${secondJobs.all}, of which ${secondJobs.concurrent} began while another Job of the message ran`,
        ],
        ...caps.map(({ cap, most, times, overMs }, at) => [
          at === 0 ? 'most running' : '',
          `${nameOf(cap)}: ${most} of ${cap.most}; ${times} times over it, ${seconds(overMs)} s`,
        ]),
        [
          'repeated',
          `${repeated.webhooks} webhooks, ${repeated.poison} poison copies (allowed, each under its one id)`,
        ],
        ['twin pods', `${verdict.twinPods} (Kubernetes itself may start a program twice)`],
        ['tasks', `${steps} (half of them, 95 of 100)`],
        ['time', `${((endedAt - startedAt) / 1000).toFixed(0)} s`],
      ],
      140,
    ),
    '',
    ...[...Map.groupBy(violations, ({ promise }) => promise)].flatMap(([promise, broken]) => [
      `BROKEN ${promise}, ${broken.length} times: ${PROMISES[promise]}`,
      ...broken.slice(0, SHOWN).map(({ task, evidence }) => `  ${task}: ${evidence}`),
      ...(broken.length > SHOWN ? [`  … and ${broken.length - SHOWN} more`] : []),
    ]),
    violations.length === 0 ? 'every promise was kept' : `${violations.length} promises were broken`,
  ];
}

function azureRows({ history: { groups }, azureFaults }: ChaosRecord, count: (kind: string) => number): string[][] {
  if (groups === undefined) return [];
  const made = Object.values(groups.starts).reduce((sum, times) => sum + times, 0);
  return [
    ['Azure', `${count('azure-busy')} times busy, ${count('azure-hangs')} times hanging; ${azureFaults} faults`],
    [
      'groups',
      `${made} made for ${Object.keys(groups.starts).length} Jobs; ${groups.overwritten.length} over another, ${groups.left.length} left`,
    ],
  ];
}

/** The same as data, for a file. */
export function summary(record: ChaosRecord, verdict: Verdict, commit: string): object {
  const { plan, startedAt, endedAt, kills, ownEnds, outages, exitCodes, queueFaults, azureFaults, audit } = record;
  const since = (at: number) => at - startedAt;
  return {
    commit,
    options: plan.options,
    startedAt: new Date(startedAt).toISOString(),
    durationMs: endedAt - startedAt,
    overlap: record.history.overlap,
    ...verdict,
    delays: delays(record.history),
    kills: kills.map(({ replica, at }) => ({ replica, atMs: since(at) })),
    ownEnds: ownEnds.map(({ replica, at, code }) => ({ replica, atMs: since(at), code })),
    outages: outages.map(({ kind, from, to }) => ({ kind, fromMs: since(from), toMs: since(to) })),
    exitCodes,
    queueFaults,
    azureFaults,
    audit,
  };
}

function totals(rows: readonly Verdict['outcomes'][string][]): readonly number[] {
  const sum = (of: (row: Verdict['outcomes'][string]) => number) => rows.reduce((total, row) => total + of(row), 0);
  const parts = [
    sum(({ completed }) => completed),
    sum(({ failed }) => failed),
    sum(({ rejected }) => rejected),
    sum(({ unfinished }) => unfinished),
  ];
  return [parts.reduce((total, part) => total + part, 0), ...parts];
}
