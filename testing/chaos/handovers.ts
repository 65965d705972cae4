/** When the lead of the operators changed hands, or whoever had it was killed. */

/** Who led: a pod's name, and since when. */
export interface Leader {
  readonly holder: string;
  readonly since: number;
}

/** A pod that was killed. */
export interface KilledPod {
  readonly pod: string;
  readonly at: number;
}

/** The moments, in no order. The first leader took over from nobody, and one that did not lead leaves nothing behind. */
export function handovers(leaders: readonly Leader[], kills: readonly KilledPod[]): readonly number[] {
  const ofLeaders = kills.filter(({ pod, at }) => leaders.findLast(({ since }) => since <= at)?.holder === pod);
  return [...ofLeaders.map(({ at }) => at), ...leaders.slice(1).map(({ since }) => since)];
}
