/** A picture of a chaos run over its time, as SVG. */
import type { History } from '#/testing/chaos/history.ts';
import type { ChaosRecord, DoneOutage } from '#/testing/chaos/run.ts';
import { runningSteps } from '#/testing/chaos/running.ts';

/** A number that changes: milliseconds since the start, and the number from then on. */
type Curve = readonly (readonly [ms: number, value: number])[];

const [WIDTH, LEFT, RIGHT] = [960, 60, 20];
const UPPER = { top: 50, height: 220 };
const LOWER = { top: 310, height: 130 };
const HEIGHT = 500;
const COLOURS = { queued: '#c77700', settled: '#2e7d32', running: '#1565c0', cap: '#b71c1c', kill: '#b71c1c' } as const;
const SHADES: Readonly<Record<DoneOutage['kind'], string>> = {
  'api-killed': '#9e9e9e',
  'api-stopped': '#bdbdbd',
  'queue-busy': '#ffe082',
  'queue-hangs': '#ffcc80',
  'azure-busy': '#b3e5fc',
  'azure-hangs': '#81d4fa',
};

/** Draws it: above, what waits and what is settled; below, what runs, beside its cap; marks for kills, bands for outages. */
export function picture({ history, startedAt, endedAt, kills, outages, plan }: ChaosRecord): string {
  const spanMs = Math.max(1, endedAt - startedAt);
  const maxRunning = history.caps.find(({ of }) => of === 'all')?.most ?? 0;
  const queued = queuedCurve(history, startedAt);
  const settled = settledCurve(history, startedAt);
  const running = runningSteps(history.jobs).map(({ at, running: value }) => [at - startedAt, value] as const);
  const x = (ms: number) => LEFT + (Math.min(Math.max(ms, 0), spanMs) / spanMs) * (WIDTH - LEFT - RIGHT);
  const most = (...curves: Curve[]) => curves.flat().reduce((max, [, value]) => Math.max(max, value), 1);
  const path = (curve: Curve, { top, height }: typeof UPPER, max: number, colour: string) => {
    const y = (value: number) => (top + height - (value / max) * height).toFixed(1);
    // Steps; those that fall on one tenth of a pixel are drawn once.
    const steps = new Map(curve.map(([ms, value]) => [x(ms).toFixed(1), y(value)]));
    const points = [...steps].map(([at, to]) => `H${at}V${to}`).join('');
    return `<path d="M${LEFT},${y(0)}${points}H${x(spanMs)}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
  };
  const frame = ({ top, height }: typeof UPPER, max: number) =>
    `<path d="M${LEFT},${top}V${top + height}H${WIDTH - RIGHT}" fill="none" stroke="#555"/>` +
    text(LEFT - 6, top + 4, max, 'end') +
    text(LEFT - 6, top + height, 0, 'end');
  const upperMax = most(queued, settled);
  const lowerMax = Math.max(most(running), maxRunning);
  const capY = LOWER.top + LOWER.height - (maxRunning / lowerMax) * LOWER.height;
  const bottom = LOWER.top + LOWER.height;
  const marks = [
    ...outages.map(({ kind, from, to }) => {
      const [start, end] = [x(from - startedAt), x(to - startedAt)];
      return `<rect x="${start.toFixed(1)}" y="${UPPER.top}" width="${Math.max(1, end - start).toFixed(1)}" height="${bottom - UPPER.top}" fill="${SHADES[kind]}" fill-opacity="0.6"><title>${kind}</title></rect>`;
    }),
    ...kills.map(({ at, replica }) => {
      const to = x(at - startedAt);
      return `<path d="M${(to - 4).toFixed(1)},${bottom + 4}h8l-4,8z" fill="${COLOURS.kill}"><title>SIGKILL of replica ${replica}</title></path>`;
    }),
  ];
  const ticks = Array.from({ length: 7 }, (_, at) => (spanMs / 6) * at).map((ms) =>
    text(x(ms), bottom + 28, `${Math.round(ms / 1000)} s`, 'middle'),
  );
  const legend = [
    ['queued', COLOURS.queued],
    ['settled', COLOURS.settled],
    ['running', COLOURS.running],
    ['cap', COLOURS.cap],
    ['▼ SIGKILL', COLOURS.kill],
    ['API server away', '#757575'],
    ['queue busy or hanging', '#ef9a00'],
    ...(plan.options.backend === 'aci' ? [['Azure too', '#0288d1'] as const] : []),
  ] as const;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(
      LEFT,
      20,
      `${history.puts.length} messages, ${plan.options.replicas} replicas, seed ${plan.options.seed}`,
      'start',
    ),
    ...legend.map(([name, colour], at) => text(LEFT + at * 118, 40, name, 'start', colour)),
    ...marks,
    frame(UPPER, upperMax),
    path(queued, UPPER, upperMax, COLOURS.queued),
    path(settled, UPPER, upperMax, COLOURS.settled),
    frame(LOWER, lowerMax),
    `<path d="M${LEFT},${capY.toFixed(1)}H${WIDTH - RIGHT}" stroke="${COLOURS.cap}" stroke-dasharray="4 3"/>`,
    path(running, LOWER, lowerMax, COLOURS.running),
    ...ticks,
    '</svg>',
    '',
  ].join('\n');
}

/** Messages that were put and have no Job yet; a malformed one leaves when it is removed. */
function queuedCurve(history: History, startedAt: number): Curve {
  const since = new Map<string, number>();
  for (const { messageId = '', createdAt } of history.jobs)
    since.set(messageId, Math.min(since.get(messageId) ?? createdAt, createdAt));
  for (const { kind, messageId, at } of history.calls)
    if (kind === 'removed' && !since.has(messageId)) since.set(messageId, at);
  return sum([
    ...history.puts.map(({ at }) => [at - startedAt, 1] as const),
    ...history.puts.flatMap(({ messageId, at }) => {
      const left = since.get(messageId);
      return left === undefined ? [] : [[Math.max(left, at) - startedAt, -1] as const];
    }),
  ]);
}

/** Messages that are settled. */
function settledCurve(history: History, startedAt: number): Curve {
  const at = new Map<string, number>();
  for (const { messageId = '', settled, answeredAt } of history.jobs)
    if (settled) at.set(messageId, Math.min(at.get(messageId) ?? answeredAt, answeredAt));
  const malformed = new Set(history.puts.flatMap((put) => (put.expected === 'malformed' ? [put.messageId] : [])));
  for (const call of history.calls)
    if (call.kind === 'removed' && malformed.has(call.messageId)) at.set(call.messageId, call.at);
  return sum([...at.values()].map((moment) => [moment - startedAt, 1] as const));
}

function sum(changes: Curve): Curve {
  let value = 0;
  return changes
    .toSorted(([a], [b]) => a - b)
    .map(([ms, change]) => {
      value += change;
      return [ms, value] as const;
    });
}

function text(x: number, y: number, what: string | number, anchor: string, colour = '#333'): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}" fill="${colour}">${what}</text>`;
}
