import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, test } from 'vitest';
import { examineAll, type MutantRun } from '#/testing/mutant-run.ts';
import { readMutants } from '#/testing/mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const mutants = readMutants(root);
let run: MutantRun;
beforeAll(async () => {
  run = await examineAll(root, mutants);
});
afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
});

test.each(mutants)('$invariant: it is noticed when $breaks ($name)', async ({ name }) => {
  const verdict = await run.verdict(name);
  if (verdict.kind === 'survived') throw new Error(`the mutant ${name} survived: ${verdict.detail}`);
});
