/**
 * The delivery promise, with everything that can happen at random: messages of every kind, operators that start, die and stop, another
 * consumer, people who interfere, and faults of every call. Whatever came before, each fault of each step is met for certain.
 */
import { describe, expect, test } from 'vitest';
import { Coverage } from '#/testing/model/coverage.ts';
import { explore } from '#/testing/model/explore.ts';
import { CELLS, type Cell, cellName, STEPS } from '#/testing/model/faults.ts';

/** Fixed, so that a run tells of a change of the program and not of luck; `npm run soak` looks for new ones. */
const SEED = Number(process.env['MODEL_SEED'] ?? 20_260_101);
const PATH = process.env['MODEL_PATH'];
const ONLY = process.env['MODEL_CELL'];
/** Random plays for each cell. */
const RUNS = 1;

const coverage = new Coverage();
const tally = { runs: 0, commands: 0 };
const cellsOf = (step: Cell['step']) =>
  CELLS.filter((cell) => cell.step === step && (ONLY === undefined || ONLY === cellName(cell)));

describe('I1, I2, I3, I4, I6, I7, I8: each message has one outcome and never two workloads, whatever happens', () => {
  const steps = STEPS.filter((step) => cellsOf(step).length > 0);
  test.each(steps)('I7: and in the end the server fails at %s', async (step) => {
    const failures: string[] = [];
    for (const cell of cellsOf(step)) {
      const seed = ONLY === undefined ? SEED + CELLS.indexOf(cell) : SEED;
      const exploration = { cell, seed, runs: RUNS, ...(PATH === undefined ? {} : { path: PATH }) };
      const failure = await explore(exploration, coverage, tally);
      if (failure !== undefined) failures.push(failure);
    }
    expect(failures, failures.join('\n\n')).toEqual([]);
  });
});

test.runIf(ONLY === undefined)('every fault of every step was met', () => {
  console.log(`${tally.runs} plays, ${tally.commands} commands, seed ${SEED}\n${coverage}`);
  expect(coverage.missing()).toEqual([]);
  expect(tally.runs).toBeGreaterThanOrEqual(300);
});
