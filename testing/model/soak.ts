/**
 * Random plays with ever new seeds, until the time is over or one breaks a promise:
 *
 *   npm run soak -- [--minutes N] [--seed N]    10 minutes, and a seed of the moment, where not said
 *
 * Exits with 0 when every play kept every promise, and with 1 at the first that did not, which is printed shortened, with its seed.
 */
import { parseArgs } from 'node:util';
import { systemClock } from '#/lib/clock.ts';
import { Coverage } from './coverage.ts';
import { explore } from './explore.ts';
import { CELLS } from './faults.ts';

/** How often progress is told. */
const TELL_MS = 30_000;

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
  const minutes = positive('minutes', values.minutes, 10);
  const first = positive('seed', values.seed, Math.floor(systemClock.now() % 2 ** 31));
  const coverage = new Coverage();
  const tally = { runs: 0, commands: 0 };
  const started = systemClock.monotonic();
  const minutesGone = () => ((systemClock.monotonic() - started) / 60_000).toFixed(1);
  const tell = (more: string) =>
    console.log(`${minutesGone()} min: ${tally.runs} plays, ${tally.commands} commands, seed ${first}${more}`);
  let told = started;
  for (let at = 0; systemClock.monotonic() - started < minutes * 60_000; at++) {
    const cell = CELLS[at % CELLS.length];
    if (cell === undefined) throw new Error('there are no faults');
    const seed = (first + at) % 2 ** 31;
    const failure = await explore({ cell, seed, runs: 1 }, coverage, tally, (violations) =>
      tell(`: seed ${seed} breaks a promise, and is being shortened:\n${violations.join('\n')}`),
    );
    if (failure !== undefined) {
      console.log(failure);
      return 1;
    }
    if (systemClock.monotonic() - told < TELL_MS) continue;
    told = systemClock.monotonic();
    tell('');
  }
  tell(`, no promise broken\n${coverage}`);
  return 0;
}

/** A number above 0, or the default where none is given. */
function positive(name: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  const number = Number(text);
  if (!(number > 0)) throw new Error(`--${name} must be a number above 0, not "${text}"`);
  return number;
}

process.exitCode = await main(process.argv.slice(2));
