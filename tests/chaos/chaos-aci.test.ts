/**
 * The same chaos with tasks on Azure Container Instances, whose stand-in is busy, hangs, loses answers, does late what it
 * was asked for, and says that it deletes what it does not.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { judge } from '#/testing/chaos/judge.ts';
import { runLog } from '#/testing/chaos/log.ts';
import { chaosPlan, describePlan } from '#/testing/chaos/plan.ts';
import { report } from '#/testing/chaos/report.ts';
import { runChaos } from '#/testing/chaos/run.ts';
import { faultSeeds } from '#/testing/fault-plan.ts';

const theirs = process.env['KUBECONFIG_TEST'] !== undefined;

describe.skipIf(theirs)("chaos (the API server is stopped, so not on a cluster of one's own)", () => {
  test.each(faultSeeds(1))(
    'I1 I2 I3 I7 I8 I13: 300 messages, each with one group, through 8 kills and outages of every kind (seed %i)',
    async (seed) => {
      await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-chaos-'));
      const plan = chaosPlan({ seed, tasks: 300, kills: 8, replicas: 2, spanMs: 60_000, backend: 'aci' });
      const tell = runLog(directory.path, (line) => process.stderr.write(`${line}\n`));
      for (const line of describePlan(plan)) tell(line);
      const record = await runChaos(plan, { directory: directory.path, tell });
      const verdict = judge(record.history);
      for (const line of report(record, verdict)) tell(line);

      expect(record.history.puts).toHaveLength(300);
      expect(record.kills).toHaveLength(8);
      expect(new Set(record.outages.map(({ kind }) => kind)).size).toBe(6);
      expect(new Set(record.audit.leaders.map(({ holder }) => holder)).size).toBeGreaterThan(1);
      expect(record.azureFaults).toBeGreaterThan(0);
      expect(Object.keys(record.history.groups?.starts ?? {}).length).toBeGreaterThan(250);

      expect(verdict.violations).toEqual([]);
      expect(record.ownEnds).toEqual([]);
      expect(record.exitCodes).toEqual([0, 0]);
    },
  );
});
