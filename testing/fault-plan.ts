/** Fault scripts that go on until every fault of a table was really done, then do some at random, then none. */
import { type Fault, type FaultProxy, type FaultScript, faultName } from '#/testing/fault-proxy.ts';
import { randomOf } from '#/testing/random.ts';

/** What is done to one operation. */
export interface PlannedOperation {
  readonly faults: readonly Fault[];
  /** How many of the calls are hit while some fault was not done yet, 0 to 1. */
  readonly first: number;
}

/** What a plan is made of. */
export interface FaultPlanOptions {
  /** Where it is carried out: a fault that was chosen, but never came to pass, is chosen again. */
  readonly proxy: Pick<FaultProxy, 'injected'>;
  readonly operations: Readonly<Record<string, PlannedOperation>>;
  /** The same seed makes the same choices; which calls they meet depends on who calls when. */
  readonly seed: number;
  /**
   * How many of the calls are hit after each fault was done once, and for how many calls of all operations together.
   */
  readonly afterwards: { readonly share: number; readonly calls: number };
}

/** A plan under way. */
export interface FaultPlan {
  readonly script: FaultScript;
  /** What was not done yet, to the operation or to any, as "fault of operation". */
  left(operation?: string): readonly string[];
}

/** Makes a plan. */
export function faultPlan({ proxy, operations, seed, afterwards }: FaultPlanOptions): FaultPlan {
  const random = randomOf(seed);
  const shuffled = new Map(Object.entries(operations).map(([name, { faults }]) => [name, shuffle(faults, random)]));
  const left = (operation: string) =>
    (shuffled.get(operation) ?? []).filter((fault) => proxy.injected(faultName(fault), operation) === 0);
  let calls = 0;
  return {
    left: (operation) =>
      (operation === undefined ? Object.keys(operations) : [operation]).flatMap((one) =>
        left(one).map((fault) => `${faultName(fault)} of ${one}`),
      ),
    script: ({ operation }) => {
      const planned = operations[operation];
      if (planned === undefined) return undefined;
      const first = left(operation);
      if (first.length > 0) return random() < planned.first ? first[calls++ % first.length] : undefined;
      if (calls >= afterwards.calls) return undefined;
      calls++;
      return random() < afterwards.share ? planned.faults[Math.floor(random() * planned.faults.length)] : undefined;
    },
  };
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => [random(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item);
}

/** The seeds to try: that of the environment's FAULT_SEED, or these. */
export function faultSeeds(...seeds: readonly number[]): readonly number[] {
  const asked = process.env['FAULT_SEED'];
  return asked === undefined ? seeds : [Number(asked)];
}
