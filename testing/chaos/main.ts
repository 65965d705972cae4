/**
 * Chaos by hand: operators that are killed and started again, an API server that goes away, queues that answer 503 or
 * not at all, and a judge who has seen it all:
 *
 *   scripts/chaos [--tasks N] [--kills K] [--replicas R] [--seed S] [--minutes M] [--backend aci] [--out DIRECTORY]
 *
 * 1,000 messages, 20 kills and 2 replicas where not said; a seed of the moment; as many minutes as the messages take.
 * Into the directory go run.log, the replicas' logs, summary.json and run.svg. Exits with 0 when every promise was kept.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '#/lib/clock.ts';
import { judge } from '#/testing/chaos/judge.ts';
import { runLog } from '#/testing/chaos/log.ts';
import { picture } from '#/testing/chaos/picture.ts';
import { chaosPlan, describePlan } from '#/testing/chaos/plan.ts';
import { report, summary } from '#/testing/chaos/report.ts';
import { runChaos } from '#/testing/chaos/run.ts';
import { attempt } from '#/testing/shell.ts';

/** What two cores get through, while everything goes wrong. */
const TASKS_PER_MINUTE = 400;

async function main(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { tasks: text, kills: text, replicas: text, seed: text, minutes: text, out: text, backend: text },
  });
  const tasks = positive('tasks', values.tasks, 1000);
  const seed = positive('seed', values.seed, Math.floor(systemClock.now() % 2 ** 31));
  const plan = chaosPlan({
    seed,
    tasks,
    kills: positive('kills', values.kills, 20),
    replicas: positive('replicas', values.replicas, 2),
    backend: backendOf(values.backend),
    spanMs: positive('minutes', values.minutes, Math.max(1, tasks / TASKS_PER_MINUTE)) * 60_000,
  });
  const directory = values.out ?? join(tmpdir(), `slipway-chaos-${seed}`);
  mkdirSync(directory, { recursive: true });
  const tell = runLog(directory, console.log);
  for (const line of describePlan(plan)) tell(line);
  const record = await runChaos(plan, { directory, tell });
  const verdict = judge(record.history);
  for (const line of report(record, verdict)) tell(line);
  const { stdout } = await attempt('git', ['describe', '--always', '--dirty']);
  writeFileSync(
    join(directory, 'summary.json'),
    `${JSON.stringify(summary(record, verdict, stdout.trim()), undefined, 2)}\n`,
  );
  writeFileSync(join(directory, 'run.svg'), picture(record));
  tell(`see ${directory}`);
  return verdict.violations.length === 0 ? 0 : 1;
}

function backendOf(text = 'kubernetes'): 'kubernetes' | 'aci' {
  if (text === 'kubernetes' || text === 'aci') return text;
  throw new Error(`--backend must be kubernetes or aci, not "${text}"`);
}

/** A number above 0, or the default where none is given. */
function positive(name: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  const number = Number(text);
  if (!(number > 0)) throw new Error(`--${name} must be a number above 0, not "${text}"`);
  return number;
}

process.exitCode = await main(process.argv.slice(2));
