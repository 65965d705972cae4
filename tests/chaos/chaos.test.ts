/**
 * Many messages of many clients, two operators that are killed again and again, an API server that is killed and
 * stopped, queues that answer 503 or not at all; and what came of it, as the API server's audit log, the queues and the
 * webhooks' receiver tell it. `scripts/chaos` does the same for as long as one likes.
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
    'I1 I2 I3 I6 I7 I8: 1000 messages come to their one end through 20 kills and outages of every kind (seed %i)',
    async (seed) => {
      await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-chaos-'));
      const plan = chaosPlan({ seed, tasks: 1000, kills: 20, replicas: 2, spanMs: 80_000 });
      const tell = runLog(directory.path, (line) => process.stderr.write(`${line}\n`));
      for (const line of describePlan(plan)) tell(line);
      const record = await runChaos(plan, { directory: directory.path, tell });
      const verdict = judge(record.history);
      for (const line of report(record, verdict)) tell(line);

      // What was to be done was done: it was chaos.
      expect(record.history.puts).toHaveLength(1000);
      expect(record.kills).toHaveLength(20);
      expect(record.outages.map(({ kind }) => kind).sort()).toEqual([
        'api-killed',
        'api-stopped',
        'queue-busy',
        'queue-hangs',
      ]);
      // Leadership passed from one to the other.
      expect(new Set(record.audit.leaders.map(({ holder }) => holder)).size).toBeGreaterThan(1);
      expect(record.queueFaults).toBeGreaterThan(0);
      // Each cap was reached.
      for (const { cap, most } of verdict.caps) expect(most, JSON.stringify(cap)).toBeGreaterThanOrEqual(cap.most);

      expect(verdict.violations).toEqual([]);
      expect(record.ownEnds).toEqual([]);
      expect(record.exitCodes).toEqual([0, 0]);
    },
  );
});
