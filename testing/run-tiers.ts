/**
 * Runs every tier that can run here, or those that are named, one after the other, but for those that run beside another. Its last line is `N passed, N failed`; before it
 * stands each failed test with its message, whichever tier it was in, and each tier that did not run with its reason. Exits with 0 only
 * when nothing failed and every tier ran, but those against real services, which run where their variables are set.
 *
 *     npm exec -- node testing/run-tiers.ts [TIER...]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { constants, setPriority, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { PassThrough, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { type Tier, tiers } from '#/testing/tiers.ts';

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** One text for each failure: tier, file, test and the first lines of its message. */
  readonly failures: readonly string[];
  /** Why it did not run, or not wholly. */
  readonly missed?: string;
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly success: boolean;
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

const root = fileURLToPath(new URL('..', import.meta.url));
/** Of a failure's message, so many lines are shown at the end: what is kept of a long run is often its end alone. */
const messageLines = 8;
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
/** Of what runs beside a tier that has deadlines of its own. */
const LOW_PRIORITY = constants.priority.PRIORITY_LOW;

/** @param output where it prints, and at low priority; undefined: here, at that of this process */
async function runTier({ name, obstacle }: Tier, output?: Writable): Promise<Outcome> {
  const reason = await obstacle();
  if (reason !== undefined) return { passed: 0, failed: 0, failures: [], missed: reason };
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-report-'));
  const file = join(directory.path, 'report.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const child = spawn(process.execPath, [vitest, 'run', '--project', name, '--passWithNoTests', ...reporters], {
    cwd: root,
    stdio: output === undefined ? 'inherit' : ['ignore', 'pipe', 'pipe'],
  });
  if (output !== undefined && child.pid !== undefined) setPriority(child.pid, LOW_PRIORITY);
  child.stdout?.pipe(output ?? process.stdout, { end: false });
  child.stderr?.pipe(output ?? process.stderr, { end: false });
  const [code] = await once(child, 'close');
  const written = await readFile(file, 'utf8').catch(() => undefined);
  if (written === undefined)
    return { passed: 0, failed: 1, failures: [`${name}: vitest broke off with exit code ${code}, and said why above`] };
  return judge(name, JSON.parse(written) as Report, code);
}

/** A test file that failed without a test of it failing (it could not be loaded, or set up) counts as one failure. */
function judge(tier: string, report: Report, exitCode: number | null): Outcome {
  if (report.numTotalTests === 0 && report.testResults.length === 0)
    return { passed: 0, failed: 0, failures: [], missed: 'has no tests' };
  const failures = report.testResults
    .filter((file) => file.status === 'failed')
    .flatMap((file) => {
      const where = `${tier}: ${relative(root, file.name)}`;
      const failed = file.assertionResults.filter(({ status }) => status === 'failed');
      if (failed.length === 0) return [`${where}\n${head(file.message)}`];
      return failed.map((test) => `${where}: ${test.fullName}\n${head((test.failureMessages ?? []).join('\n'))}`);
    });
  // Vitest also fails for what no test of it did, such as a rejection that nobody handled.
  if (failures.length === 0 && exitCode !== 0)
    failures.push(`${tier}: vitest ended with exit code ${exitCode} though no test failed, and said why above`);
  const skipped = report.numTotalTests - report.numPassedTests - report.numFailedTests;
  return {
    passed: report.numPassedTests,
    failed: failures.length,
    failures,
    ...(skipped === 0 ? {} : { missed: `${skipped} of its tests were skipped` }),
  };
}

function head(message: string): string {
  const lines = stripVTControlCharacters(message)
    .trimEnd()
    .split('\n')
    .filter((line) => !/^\s+at .*(node_modules|node:internal)/.test(line));
  return lines
    .slice(0, messageLines)
    .map((line) => `    ${line}`)
    .join('\n');
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !tiers.some((tier) => tier.name === name));
if (unknown.length > 0)
  throw new Error(`no such tier: ${unknown.join(', ')}. There are ${tiers.map(({ name }) => name).join(', ')}`);

const missed: string[] = [];
const notChosen: string[] = [];
const failures: string[] = [];
let passed = 0;
let failed = 0;

async function report(tier: Tier, output?: Writable): Promise<void> {
  const say = (line: string) => (output ?? process.stdout).write(`${line}\n`);
  const started = performance.now();
  say(`\n== ${tier.name}`);
  const outcome = await runTier(tier, output);
  const seconds = Math.round((performance.now() - started) / 1000);
  passed += outcome.passed;
  failed += outcome.failed;
  failures.push(...outcome.failures);
  if (outcome.missed !== undefined) (tier.optIn === true ? notChosen : missed).push(`${tier.name} (${outcome.missed})`);
  say(
    `== ${tier.name}: ${outcome.passed} passed, ${outcome.failed} failed, ${seconds} s${outcome.missed === undefined ? '' : `, ${outcome.missed}`}`,
  );
}

/** Runs them one after the other; what they print is told when the last one has ended. */
async function runBeside(quiet: readonly Tier[]): Promise<void> {
  if (quiet.length === 0) return;
  console.log(`(beside it, told at the end: ${quiet.map(({ name }) => name).join(', ')})`);
  const output = new PassThrough();
  const told = text(output);
  for (const tier of quiet) await report(tier, output);
  output.end();
  beside.push(await told);
}

const beside: string[] = [];
const chosen = tiers.filter(
  ({ name }) =>
    (name === 'unit' || existsSync(join(root, 'tests', name))) && (wanted.length === 0 || wanted.includes(name)),
);
const isBeside = (tier: Tier, another: Tier) => tier.beside === another.name && chosen.includes(another);
for (const tier of chosen.filter((one) => !chosen.some((another) => isBeside(one, another)))) {
  const quiet = chosen.filter((one) => isBeside(one, tier));
  await Promise.all([report(tier), runBeside(quiet)]);
}
for (const printed of beside) process.stdout.write(printed);
console.log('');
for (const failure of failures) console.log(`FAILED ${failure}\n`);
if (notChosen.length > 0) console.log(`not run, since nobody asked for it: ${notChosen.join('; ')}`);
if (missed.length > 0) console.log(`did not run: ${missed.join('; ')}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || missed.length > 0 ? 1 : 0;
