/** Many mutants at once. */
import { createLaboratory, type Mutant, type Verdict } from '#/testing/mutants.ts';

/** Two tests of this project keep two cores busy. */
const LABORATORIES = 2;

/** A run under way. */
export interface MutantRun extends AsyncDisposable {
  /** What became of a mutant, as soon as it is known. */
  verdict(name: string): Promise<Verdict>;
}

/** Starts examining; fails when a test that a mutant names fails without it. */
export async function examineAll(root: string, mutants: readonly Mutant[]): Promise<MutantRun> {
  const laboratories = await Promise.all(Array.from({ length: LABORATORIES }, () => createLaboratory(root)));
  const tests = [...new Set(mutants.flatMap((mutant) => mutant.tests))];
  const failing = (await laboratories[0]?.failures(tests)) ?? [];
  if (failing.length > 0) throw new Error(`without any mutant these tests fail already: ${failing.join('; ')}`);

  const verdicts = new Map(mutants.map(({ name }) => [name, Promise.withResolvers<Verdict>()]));
  const rest = [...mutants];
  const work = laboratories.map(async (laboratory) => {
    for (let mutant = rest.shift(); mutant !== undefined; mutant = rest.shift()) {
      const { resolve, reject } = verdicts.get(mutant.name) ?? Promise.withResolvers<Verdict>();
      await laboratory.examine(mutant).then(resolve, reject);
    }
  });
  for (const { promise } of verdicts.values()) promise.catch(() => undefined);
  return {
    verdict: async (name) => {
      const verdict = verdicts.get(name);
      if (verdict === undefined) throw new Error(`no mutant ${name} is examined`);
      return verdict.promise;
    },
    async [Symbol.asyncDispose]() {
      rest.length = 0;
      await Promise.all(work);
      for (const laboratory of laboratories) await laboratory[Symbol.asyncDispose]();
    },
  };
}
