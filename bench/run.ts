/**
 * Benchmarks on real parts: a control plane with KWOK, Azurite, the bundles as the images carry them. Each figure stands beside a baseline
 * of the same run, since the machine may be shared; no time is asserted.
 */
import { parseArgs } from 'node:util';
import { burst } from '#/bench/burst.ts';
import { idleCost, latency } from '#/bench/idle.ts';
import { live } from '#/bench/live.ts';
import { runnerStart } from '#/bench/runner-start.ts';
import { startSite } from '#/bench/site.ts';
import { type Row, table } from '#/bench/table.ts';
import { bundle, programs } from '#/build/bundle.ts';
import { messageOf } from '#/lib/errors.ts';

const HELP = `npm run bench -- [--jobs N] [--burst N] [--price DOLLARS] [--json]

  --jobs N         running tasks for memory, CPU and traffic (default 1000)
  --burst N        messages that are there when the operator starts (default 500)
  --price DOLLARS  of 10,000 queue calls (default 0.004: Azure, general-purpose v2, LRS, East US)
  --json           the rows as one JSON array on standard output; progress goes to standard error

Examples:
  npm run bench                                  about 6 minutes
  npm run bench -- --jobs 10000 --burst 5000     much longer
  npm run -s bench -- --json > bench.json`;

const values = options();
if (values.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const [jobs, messages] = [number('jobs', 1, 10_000), number('burst', 10, 10_000)];
  const price = number('price', 0, 1000);
  const begun = Date.now();
  const tell = (line: string) => process.stderr.write(`${clock(Date.now() - begun)} ${line}\n`);
  tell('bundling');
  for (const program of programs) await bundle(program, { write: true });
  const rows: Row[] = [];
  tell('starting the runner again and again');
  rows.push(...(await runnerStart()));
  tell('starting a control plane and Azurite');
  await using site = await startSite();
  rows.push(...(await latency(site, tell)));
  rows.push(...(await idleCost(site, price, tell)));
  rows.push(...(await burst(site, messages, tell)));
  rows.push(...(await live(site, jobs, tell)));
  process.stdout.write(values.json ? `${JSON.stringify(rows, undefined, 2)}\n` : `\n${table(rows)}\n`);
}

function options() {
  try {
    return parseArgs({
      options: {
        jobs: { type: 'string', default: '1000' },
        burst: { type: 'string', default: '500' },
        price: { type: 'string', default: '0.004' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`bench: ${messageOf(error)} (--help shows how it is used)\n`);
    process.exit(2);
  }
}

function number(option: 'jobs' | 'burst' | 'price', least: number, most: number): number {
  const value = Number(values[option]);
  if (value >= least && value <= most) return value;
  process.stderr.write(`bench: --${option} ${values[option]}: give a number from ${least} to ${most}\n`);
  process.exit(2);
}

/** Minutes and seconds. */
function clock(forMs: number): string {
  const seconds = Math.floor(forMs / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')}`;
}
