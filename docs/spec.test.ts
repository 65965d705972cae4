/** docs/SPEC.md is true as far as that can be checked: what holds is tested, and its tests can fail. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Mutant, mutate, namesOf, readMutants } from '#/testing/mutants.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The invariants of a specification, with their status. */
function invariantsOf(spec: string): Map<string, string> {
  const rows = spec.matchAll(/^\| (I\d+) \| (.*?) \|/gm);
  return new Map([...rows].map(([, id = '', status = '']) => [id, status]));
}

/** The names of the tests and groups in a test file that begin with the invariant that they prove. */
function titlesOf(source: string): string[] {
  const calls = source.matchAll(/\(\s*(['"`])(I\d+(?: I\d+)*: (?:(?!\1)[^\\]|\\.)*)\1\s*,/g);
  return [...calls].map((match) => match[2] ?? '');
}

/** What is wrong between a specification, the names of tests, and the mutants. */
function gaps(
  invariants: ReadonlyMap<string, string>,
  titles: readonly string[],
  mutants: readonly string[],
): string[] {
  const tested = new Set(titles.flatMap(namesOf));
  const broken = new Set(mutants);
  const wrong: string[] = [];
  for (const [id, status] of invariants) {
    if (status !== 'holds' && status !== 'planned') wrong.push(`${id} is neither holds nor planned`);
    if (status === 'holds' && !tested.has(id)) wrong.push(`${id} holds, but no test names it`);
    if (status === 'holds' && !broken.has(id)) wrong.push(`${id} holds, but no mutant breaks it`);
    if (status === 'planned' && broken.has(id)) wrong.push(`${id} is planned, but a mutant breaks it`);
  }
  for (const id of tested) if (!invariants.has(id)) wrong.push(`a test names ${id}, which is no invariant`);
  for (const id of broken) if (!invariants.has(id)) wrong.push(`a mutant breaks ${id}, which is no invariant`);
  return wrong;
}

const testFiles = ['contract', 'lib', 'queue', 'webhook', 'operator', 'job-runner', 'testing', 'tests']
  .flatMap((part) =>
    readdirSync(join(root, part), { recursive: true, encoding: 'utf8' }).map((path) => join(part, path)),
  )
  .filter((path) => path.endsWith('.test.ts'));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const mutants = readMutants(root);

describe('docs/SPEC.md', () => {
  const invariants = invariantsOf(read('docs/SPEC.md'));

  test('numbers its invariants without a gap', () => {
    expect([...invariants.keys()]).toEqual(Array.from({ length: 14 }, (_, at) => `I${at + 1}`));
  });

  test('says that one holds only where a test names it and a mutant breaks it, and knows all that are named', () => {
    const titles = testFiles.flatMap((path) => titlesOf(read(path)));
    expect(titles.length).toBeGreaterThan(80);
    const broken = mutants.map(({ invariant }) => invariant);
    expect(gaps(invariants, titles, broken)).toEqual([]);
  });
});

describe('the mutants', () => {
  test.each(mutants)('$name still fits the source, and its tests are there', (mutant: Mutant) => {
    expect(mutate(read(mutant.file), mutant)).not.toBe(read(mutant.file));
    for (const path of mutant.tests) expect(testFiles, path).toContain(path);
    const titles = mutant.tests.flatMap((path) => titlesOf(read(path)));
    expect(titles.flatMap(namesOf)).toContain(mutant.invariant);
  });

  test('do one thing each', () => {
    const changes = mutants.map(({ file, find, replace }) => JSON.stringify([file, find, replace]));
    expect(new Set(changes).size).toBe(changes.length);
  });
});

describe('the check itself', () => {
  const invariants = new Map([
    ['I1', 'holds'],
    ['I2', 'planned'],
  ]);

  test.each<[what: string, titles: string[], broken: string[], expected: RegExp[]]>([
    ['all is well', ['I1: a', 'b'], ['I1'], []],
    ['a planned one may be tested', ['I1: a', 'I2: b'], ['I1'], []],
    ['no test', ['b'], ['I1'], [/^I1 holds, but no test/]],
    ['no mutant', ['I1: a'], [], [/^I1 holds, but no mutant/]],
    ['a mutant of what is planned', ['I1: a'], ['I1', 'I2'], [/^I2 is planned/]],
    ['a test of what there is not', ['I1, I7: a'], ['I1'], [/^a test names I7/]],
    ['a mutant of what there is not', ['I1: a'], ['I1', 'I7'], [/^a mutant breaks I7/]],
  ])('%s', (_, titles, broken, expected) => {
    expect(gaps(invariants, titles, broken)).toEqual(expected.map((one) => expect.stringMatching(one)));
  });

  test('reads the table of invariants', () => {
    const spec = '| id | status | x |\n|---|---|---|\n| I1 | holds | a |\n| I12 | planned | b |\nI3 is mentioned\n';
    expect([...invariantsOf(spec)]).toEqual([
      ['I1', 'holds'],
      ['I12', 'planned'],
    ]);
  });

  test('reads the names of tests and groups that begin with an invariant, and nothing else', () => {
    const source = `
      describe('I1: group', () => {
        test("I2: it's", async () => call('I9'));
        test.each([['I8', f(g(1))], [(2)]])('I3: %s', () => {});
        test.each<[a: string]>(table)(
          'I4: on the next line',
          () => {},
        );
        describe.each(Object.entries(calls))(\`I5: quoted\`, () => {});
        expect(text).toBe('I7: is no name');
        test('speaks of I6: in passing', () => {});
      });`;
    expect(titlesOf(source)).toEqual(['I1: group', "I2: it's", 'I3: %s', 'I4: on the next line', 'I5: quoted']);
  });

  test('a mutant that does not fit is told, not skipped', () => {
    const mutant: Mutant = { name: 'm', invariant: 'I1', breaks: '', file: 'f.ts', find: 'a', replace: 'b', tests: [] };
    expect(mutate('cat', mutant)).toBe('cbt');
    expect(() => mutate('dog', mutant)).toThrow('mutant m: its text stands 0 times in f.ts');
    expect(() => mutate('banana', mutant)).toThrow('stands 3 times');
    expect(() => mutate('cat', { ...mutant, replace: 'a' })).toThrow('changes nothing');
  });
});
