/** Every fault of every call, once and three times in a row: the same end as undisturbed, or the one that is documented. */
import { describe, expect, test } from 'vitest';
import { CHECKPOINTS } from '#/operator/checkpoint.ts';
import { CELLS, type Cell, cellName } from '#/testing/model/faults.ts';
import { playCell, playCrash } from '#/testing/model/matrix.ts';
import { makeDocument } from '#/testing/model/reliability.ts';

/** Faults that change how a message ends, and into what. All others must not. */
const OTHER_ENDS: Readonly<Record<string, RegExp>> = Object.fromEntries(
  ['400', '410', '413', '422'].map((status) => [
    `webhook: ${status}`,
    /its webhook given up|^is malformed, with a webhook/,
  ]),
);

const undisturbed = new Map<Cell['step'], ReturnType<typeof playCell>>();

describe('I3, I7, I8: a fault leads to the same end', () => {
  test.each(CELLS.map((cell) => [cellName(cell), cell] as const))('I3: %s', async (name, cell) => {
    const calm = undisturbed.get(cell.step) ?? playCell(cell, 0);
    undisturbed.set(cell.step, calm);
    const { endings } = await calm;
    for (const times of [1, 3]) {
      const finding = await playCell(cell, times);
      expect(finding.violations).toEqual([]);
      expect(finding.met).toBeGreaterThan(0);
      const others = finding.endings.filter((ending) => !endings.includes(ending));
      expect(others.filter((ending) => !OTHER_ENDS[name]?.test(ending))).toEqual([]);
      expect(finding.endings).toHaveLength(endings.length);
    }
  });
});

describe('I2, I3: a crash leads to the same end', () => {
  test.each(CHECKPOINTS)('I3: after %s', async (checkpoint) => {
    const { violations, met } = await playCrash(checkpoint);
    expect(violations).toEqual([]);
    expect(met).toBe(1);
  });
});

test('docs/reliability.md says what happens (npm exec -- node testing/model/reliability.ts writes it)', async () => {
  const { committed, made } = await makeDocument();
  expect(committed).toBe(made);
});
