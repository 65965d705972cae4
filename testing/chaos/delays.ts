/** How long the steps of tasks took. */
import type { History } from '#/testing/chaos/history.ts';

/** Milliseconds that a step took: for half of the tasks at most, for 95 of 100 at most. */
export interface Delay {
  readonly half: number;
  readonly most: number;
}

/** The steps of the tasks that came through them: in the queue, as an unfinished Job, as a finished one that is not settled. */
export function delays({ puts, jobs }: History): Readonly<Record<'queued' | 'unfinished' | 'unsettled', Delay>> {
  const putAt = new Map(puts.map(({ messageId, at }) => [messageId, at]));
  const spans = { queued: [] as number[], unfinished: [] as number[], unsettled: [] as number[] };
  for (const versions of Map.groupBy(jobs, ({ uid }) => uid).values()) {
    const created = versions.find(({ write }) => write === 'create');
    const put = putAt.get(created?.messageId ?? '');
    const first = (fits: (version: History['jobs'][number]) => boolean) =>
      versions.filter((version) => version.write !== 'found' && fits(version)).map(({ answeredAt }) => answeredAt)[0];
    const [ended, settled] = [first(({ end }) => end !== undefined), first((version) => version.settled)];
    if (created === undefined || put === undefined || ended === undefined || settled === undefined) continue;
    spans.queued.push(created.answeredAt - put);
    spans.unfinished.push(ended - created.answeredAt);
    spans.unsettled.push(settled - ended);
  }
  return {
    queued: delayOf(spans.queued),
    unfinished: delayOf(spans.unfinished),
    unsettled: delayOf(spans.unsettled),
  };
}

function delayOf(spans: readonly number[]): Delay {
  const sorted = spans.toSorted((a, b) => a - b);
  const part = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { half: part(0.5), most: part(0.95) };
}
