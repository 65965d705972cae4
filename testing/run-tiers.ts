/**
 * Runs every tier that can run here, or those that are named, one after the other. Its last line is `N passed, N failed`; tiers that did
 * not run stand in the line before, each with its reason. Exits with 0 only when every tier ran and nothing failed.
 *
 *     npm exec -- node testing/run-tiers.ts [TIER...]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Tier, tiers } from '#/testing/tiers.ts';

interface Outcome {
  readonly passed: number;
  readonly failed: number;
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
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(root, 'node_modules/vitest/vitest.mjs');

async function runTier({ name, obstacle }: Tier): Promise<Outcome> {
  const reason = await obstacle();
  if (reason !== undefined) return { passed: 0, failed: 0, missed: reason };
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-report-'));
  const file = join(directory.path, 'report.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const child = spawn(process.execPath, [vitest, 'run', '--project', name, '--passWithNoTests', ...reporters], {
    cwd: root,
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return { passed: 0, failed: 1 }; // vitest itself broke off, and said why
  return judge(JSON.parse(text) as Report, code === 0);
}

/** A test file that failed without a test of it failing (it could not be loaded, or set up) counts as one failure. */
function judge(report: Report, exitedWell: boolean): Outcome {
  if (report.numTotalTests === 0 && report.testResults.length === 0)
    return { passed: 0, failed: 0, missed: 'has no tests' };
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((result) => result.status === 'failed'),
  ).length;
  const failed = report.numFailedTests + broken;
  const skipped = report.numTotalTests - report.numPassedTests - report.numFailedTests;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && !exitedWell ? 1 : failed,
    ...(skipped === 0 ? {} : { missed: `${skipped} of its tests were skipped` }),
  };
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !tiers.some((tier) => tier.name === name));
if (unknown.length > 0)
  throw new Error(`no such tier: ${unknown.join(', ')}. There are ${tiers.map(({ name }) => name).join(', ')}`);

const missed: string[] = [];
let passed = 0;
let failed = 0;
for (const tier of tiers) {
  if (tier.name !== 'unit' && !existsSync(join(root, 'tests', tier.name))) continue; // there is none of these yet
  if (wanted.length > 0 && !wanted.includes(tier.name)) continue;
  const started = performance.now();
  console.log(`\n== ${tier.name}`);
  const outcome = await runTier(tier);
  const seconds = Math.round((performance.now() - started) / 1000);
  passed += outcome.passed;
  failed += outcome.failed;
  if (outcome.missed !== undefined) missed.push(`${tier.name} (${outcome.missed})`);
  console.log(
    `== ${tier.name}: ${outcome.passed} passed, ${outcome.failed} failed, ${seconds} s${outcome.missed === undefined ? '' : `, ${outcome.missed}`}`,
  );
}
console.log('');
if (missed.length > 0) console.log(`did not run: ${missed.join('; ')}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || missed.length > 0 ? 1 : 0;
