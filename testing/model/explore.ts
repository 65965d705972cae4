/** Random plays, each of which also has to meet one given fault; and how a failure is told. */
import fc from 'fast-check';
import { aPlay } from './arbitrary.ts';
import type { Coverage } from './coverage.ts';
import { type Cell, cellName } from './faults.ts';
import { type Command, Play } from './play.ts';
import { SCENARIOS } from './scenarios.ts';

/** What is to be explored. */
export interface Exploration {
  readonly cell: Cell;
  readonly seed: number;
  readonly runs: number;
  /** Which of the seed's plays to play alone: what an earlier failure printed. */
  readonly path?: string;
}

/** What was carried out, in all. */
export interface Tally {
  runs: number;
  commands: number;
}

const aRandomPlay = fc.record({
  /** One in eight is played beside a consumer that the operators are told of. */
  shared: fc.nat(7).map((one) => one === 7),
  commands: aPlay,
});

/**
 * Explores.
 *
 * @param onFailure told of a failure before it is shortened, which may take minutes
 * @returns how to understand and repeat the failure, or undefined when there is none
 */
export async function explore(
  { cell, seed, runs, path }: Exploration,
  coverage: Coverage,
  tally: Tally,
  onFailure: (violations: readonly string[]) => void = () => undefined,
): Promise<string | undefined> {
  const property = fc.asyncProperty(aRandomPlay, async ({ shared, commands }) => {
    const { violations, met } = await playOut(shared, commands, cell);
    tally.runs++;
    tally.commands += commands.length;
    coverage.add(met);
    if (violations.length > 0) throw new Error(violations.join('\n'));
  });
  // Leaving out commands by halves finds a short play in a hundred steps; fast-check's own way, which also tries smaller values, in thousands.
  const told = await fc.check(property, {
    seed,
    numRuns: runs,
    endOnFailure: true,
    ...(path === undefined ? {} : { path }),
  });
  const [play] = told.counterexample ?? [];
  if (play === undefined) return undefined;
  const { violations } = await playOut(play.shared, play.commands, cell);
  onFailure(violations);
  const [sign = ''] = violations.map(signOf);
  const commands = await shrink(play.commands, async (fewer) =>
    (await playOut(play.shared, fewer, cell)).violations.some((one) => signOf(one) === sign),
  );
  return [
    ...(await playOut(play.shared, commands, cell)).violations,
    `after these commands${play.shared ? ' (lease.shared)' : ''}, and then ${cellName(cell)}:`,
    ...commands.map((command) => `  ${tellCommand(command)}`),
    'Play it again:',
    `  MODEL_SEED=${told.seed} MODEL_PATH=${told.counterexamplePath ?? ''} MODEL_CELL='${cellName(cell)}' npm exec -- vitest run --project model operator`,
  ].join('\n');
}

/** A violation without what differs from play to play. */
function signOf(violation: string): string {
  return violation
    .replace(/\d+/g, '#')
    .replace(/\(.*?\)/g, '')
    .slice(0, 60);
}

/** Leaves out as many commands as possible, in ever smaller pieces. */
async function shrink(
  commands: readonly Command[],
  stillFails: (fewer: readonly Command[]) => Promise<boolean>,
): Promise<readonly Command[]> {
  let kept = commands;
  for (let size = Math.ceil(kept.length / 2), changed = false; size >= 1; ) {
    for (let at = 0; at < kept.length; ) {
      const fewer = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (await stillFails(fewer)) [kept, changed] = [fewer, true];
      else at += size;
    }
    // At the smallest size again as long as it helps: what one command needs may be gone by now.
    if (size === 1 && !changed) break;
    [size, changed] = [Math.max(1, Math.floor(size / 2)), false];
  }
  return kept;
}

/** Plays at random until all is calm, and then the scenario in which the cell is surely met. */
async function playOut(
  shared: boolean,
  commands: readonly Command[],
  cell: Cell,
): Promise<{ readonly violations: readonly string[]; readonly met: ReadonlyMap<string, number> }> {
  const scenario = SCENARIOS[cell.step];
  // Told of the other consumer, the operators leave it no message: a scenario that needs it would come to nothing.
  const isAlone = !scenario.some((command) => command.do === 'another consumer');
  await using play = new Play({ shared: shared && isAlone });
  for (const command of commands) await play.run(command);
  const early = await play.finish();
  if (early.length > 0) return { violations: early, met: play.world.faults.met };
  await play.run({ do: 'create queue' });
  await play.run({ do: 'kill operator', which: 0 });
  await play.run({ do: 'fault', cell, times: 1 });
  for (const command of scenario) await play.run(command);
  const violations = await play.finish();
  return { violations, met: play.world.faults.met };
}

/** A command in a line. */
function tellCommand({ do: what, ...fields }: Command): string {
  const texts = Object.entries(fields).map(([name, value]) =>
    name === 'cell' ? cellName(value as Cell) : `${name} ${value}`,
  );
  return texts.length === 0 ? what : `${what}: ${texts.join(', ')}`;
}
