/** Which stages are built, and on what. Pure. */
import type { Instruction, Stage } from './dockerfile.ts';
import { expand } from './words.ts';

/** A stage that is built. */
export interface PlannedStage {
  /** Its place in the Dockerfile; the first is 0. */
  readonly index: number;
  /** `scratch`, the name of an image, or the place of an earlier stage. */
  readonly base: string | number;
  readonly instructions: readonly Instruction[];
  /** Whether a later one copies from it. */
  readonly isSource: boolean;
}

/** The variables that the FROMs see. */
export function metaArgs(
  args: readonly Instruction[],
  given: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const known = new Map<string, string>();
  for (const { text } of args) {
    const [, name = '', value] = /^([^=\s]+)(?:=(.*))?$/s.exec(text) ?? [];
    const set = given.get(name) ?? (value === undefined ? undefined : expand(value, known));
    if (set !== undefined) known.set(name, set);
  }
  return known;
}

/** What a COPY copies from: a stage's place, an image's name, or undefined: the context. */
export function copySource({ flags }: Instruction, stages: readonly Stage[]): number | string | undefined {
  const from = flags.get('from');
  if (from === undefined) return undefined;
  const found = stages.findIndex((stage, index) => stage.name === from.toLowerCase() || String(index) === from);
  return found < 0 ? from : found;
}

/**
 * The stages that the target needs, in their order; the target is the last.
 *
 * As in Kaniko, a stage that one other is based on, and nothing else needs, becomes one with it: the two make one layer.
 */
export function plan(
  stages: readonly Stage[],
  meta: ReadonlyMap<string, string>,
  target: string | undefined,
): PlannedStage[] {
  const last = target === undefined ? stages.length - 1 : findTarget(stages, target);
  const planned: PlannedStage[] = [];
  const needed = new Map([[last, 1]]);
  const sources = new Set<number>();
  for (let index = last; index >= 0; index -= 1) {
    const stage = stages[index];
    if (!stage || (!needed.has(index) && !sources.has(index))) continue;
    const name = expand(stage.base, meta);
    if (name === '') throw new Error(`base name (${stage.base}) should not be blank`);
    const base = stages.slice(0, index).findIndex((other) => other.name === name.toLowerCase());
    if (base >= 0) needed.set(base, (needed.get(base) ?? 0) + 1);
    for (const from of stage.instructions.map((one) => copySource(one, stages))) {
      if (typeof from !== 'number') continue;
      if (from >= index) throw new Error(`stage ${index}: COPY --from may only name an earlier stage`);
      sources.add(from);
    }
    planned.unshift({
      index,
      base: base < 0 ? name : base,
      instructions: stage.instructions,
      isSource: sources.has(index),
    });
  }
  const whole: PlannedStage[] = [];
  for (const stage of planned) {
    const at = whole.findIndex(({ index, isSource }) => index === stage.base && !isSource && needed.get(index) === 1);
    const [below] = at < 0 ? [] : whole.splice(at, 1);
    const instructions = [...(below?.instructions ?? []), ...stage.instructions];
    whole.push({ ...stage, base: below?.base ?? stage.base, instructions });
  }
  return whole;
}

function findTarget(stages: readonly Stage[], target: string): number {
  const found = stages.findIndex(({ name }) => name === target.toLowerCase());
  if (found < 0) throw new Error(`error finding target stage: "${target}" is not a valid target build stage`);
  return found;
}
