/**
 * Tries every mutant, or those that are named, two at a time, and prints a table. Exits with 0 only when all were caught.
 *
 *     npm exec -- node testing/run-mutants.ts [MUTANT...]
 */
import { fileURLToPath } from 'node:url';
import { examineAll } from '#/testing/mutant-run.ts';
import { readMutants } from '#/testing/mutants.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv.slice(2);
const mutants = readMutants(root).filter(({ name }) => wanted.length === 0 || wanted.includes(name));
if (mutants.length < wanted.length) throw new Error(`there is no mutant of one of these names: ${wanted.join(', ')}`);

const started = performance.now();
let survivors = 0;
await using run = await examineAll(root, mutants);
for (const { name, invariant, breaks } of mutants) {
  const verdict = await run.verdict(name);
  if (verdict.kind === 'survived') survivors++;
  const outcome = verdict.kind === 'caught' ? `caught by "${verdict.by}"` : `SURVIVED (${verdict.detail})`;
  console.log(`${invariant.padEnd(4)} ${name.padEnd(34)} ${breaks}\n${' '.repeat(40)}${outcome}`);
}
const seconds = Math.round((performance.now() - started) / 1000);
console.log(`\n${mutants.length - survivors} caught, ${survivors} survived, ${seconds} s`);
process.exitCode = survivors > 0 ? 1 : 0;
