/** Every fault of every step, once and three times in a row, in a play of a few messages. */
import type { CheckpointName } from '#/operator/checkpoint.ts';
import type { World } from '#/testing/rig.ts';
import { CELLS, type Cell, cellName } from './faults.ts';
import { type Command, Play } from './play.ts';
import { CRASHES, SCENARIOS } from './scenarios.ts';

const LATER_MS = 600_000;

/** What a play came to. */
export interface Finding {
  /** How each message's story ended. */
  readonly endings: readonly string[];
  /** What must not be. */
  readonly violations: readonly string[];
  /** How often the fault was met. */
  readonly met: number;
  /** Poison copies, webhooks and receipts beyond the first of each message, and Jobs that say that their lease was lost. */
  readonly copies: number;
  readonly webhooks: number;
  readonly receipts: number;
  readonly leasesLost: number;
}

/** Plays the scenario of a step with its fault, so many times; with none when `times` is 0. */
export async function playCell(cell: Cell, times: number): Promise<Finding> {
  const fault: readonly Command[] = times === 0 ? [] : [{ do: 'fault', cell, times }];
  return find([...fault, ...SCENARIOS[cell.step]], (world) => world.faults.met.get(cellName(cell)) ?? 0, times);
}

/**
 * Plays the scenario of a checkpoint: the operator dies when it passes it first, and a new one comes at once.
 *
 * @returns with `met` 1 when it did die there
 */
export async function playCrash(checkpoint: CheckpointName): Promise<Finding> {
  const commands = CRASHES[checkpoint];
  const deaths = commands.filter((command) => command.do.startsWith('kill')).length;
  return find(commands, (world) => (world.lives.filter(({ dead }) => dead).length === deaths ? 1 : 0), 1);
}

async function find(commands: readonly Command[], met: (world: World) => number, times: number): Promise<Finding> {
  await using play = new Play();
  const { world, ledger } = play;
  let leasesLost = 0;
  const told = world.onJobChange;
  world.onJobChange = (change) => {
    told(change);
    if (change.patch?.annotations?.['slipway.dev/lease-lost'] !== undefined) leasesLost++;
  };
  for (const command of commands) await play.run(command);
  // A later time of a fault may come only after the scenario's end.
  if (met(world) < times) await world.clock.advance(LATER_MS);
  const beforeTheEnd = met(world);
  const violations = await play.finish();
  const entries = [...ledger.entries.values()];
  const beyondFirst = (counts: readonly number[]) => counts.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
  const perWebhook = Map.groupBy(world.received, ({ id }) => id);
  return {
    endings: play.endings(),
    violations,
    met: beforeTheEnd,
    copies: beyondFirst(entries.map((entry) => entry.copies)),
    webhooks: beyondFirst([...perWebhook.values()].map((sent) => sent.length)),
    receipts: beyondFirst(entries.map((entry) => entry.receipts)),
    leasesLost,
  };
}

/** A cell's row of the matrix. */
export interface Row {
  readonly cell: Cell;
  readonly undisturbed: Finding;
  readonly once: Finding;
  readonly thrice: Finding;
}

/** Plays the whole matrix. */
export async function playMatrix(cells: readonly Cell[] = CELLS): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const undisturbed = new Map<string, Finding>();
  for (const cell of cells) {
    const calm = undisturbed.get(cell.step) ?? (await playCell(cell, 0));
    undisturbed.set(cell.step, calm);
    rows.push({ cell, undisturbed: calm, once: await playCell(cell, 1), thrice: await playCell(cell, 3) });
  }
  return rows;
}
