/**
 * Mutants: small changes that break one invariant each (tests/mutants/*.yaml). Each is tried in a copy of the project, on the unit tests
 * that it names, and counts as caught only when one of them fails that names the invariant: a copy that cannot be loaded proves nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { cp, mkdtempDisposable, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

const schema = z.strictObject({
  invariant: z.string().regex(/^I\d+$/),
  /** What is wrong with the changed program. */
  breaks: z.string(),
  file: z.string(),
  /** Stands exactly once in the file. */
  find: z.string().min(1),
  replace: z.string(),
  /** Test files that are run. */
  tests: z.array(z.string()).min(1),
});

/** A change that breaks an invariant; its name is its file's. */
export type Mutant = z.output<typeof schema> & { readonly name: string };

/** What became of a mutant. */
export type Verdict =
  | { readonly kind: 'caught'; readonly by: string }
  | { readonly kind: 'survived'; readonly detail: string };

/** All mutants, by name. */
export function readMutants(root: string): Mutant[] {
  const directory = join(root, 'tests/mutants');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .toSorted()
    .map((name) => {
      const parsed = schema.safeParse(parse(readFileSync(join(directory, name), 'utf8')));
      if (!parsed.success) throw new Error(`tests/mutants/${name}: ${z.prettifyError(parsed.error)}`);
      return { ...parsed.data, name: basename(name, '.yaml') };
    });
}

/** The changed file. Throws when the mutant no longer fits the source. */
export function mutate(source: string, { name, file, find, replace }: Mutant): string {
  const times = source.split(find).length - 1;
  if (times !== 1)
    throw new Error(`mutant ${name}: its text stands ${times} times in ${file}, not once; write it anew`);
  if (find === replace) throw new Error(`mutant ${name} changes nothing`);
  return source.replace(find, () => replace);
}

/** What unit tests are made of. */
const COPIED = [
  'contract',
  'lib',
  'queue',
  'kaniko',
  'webhook',
  'job-runner',
  'operator',
  'testing',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
];

/** A copy of the project to change and to test. */
export interface Laboratory extends AsyncDisposable {
  /** Runs the tests of a mutant. */
  examine(mutant: Mutant): Promise<Verdict>;
  /** Runs test files of the unchanged copy; the names of those tests that fail. */
  failures(tests: readonly string[]): Promise<readonly string[]>;
}

/** Copies the project. */
export async function createLaboratory(root: string): Promise<Laboratory> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await mkdtempDisposable(join(tmpdir(), 'slipway-mutants-'))).path;
  for (const part of COPIED) await cp(join(root, part), join(directory, part), { recursive: true });
  await symlink(join(root, 'node_modules'), join(directory, 'node_modules'));
  const kept = stack.move();
  const failures = (tests: readonly string[]) => failingTests(directory, tests);
  return {
    failures,
    async examine(mutant) {
      const path = join(directory, mutant.file);
      const source = await readFile(path, 'utf8');
      try {
        await writeFile(path, mutate(source, mutant));
        return judge(mutant, await failures(mutant.tests));
      } finally {
        await writeFile(path, source);
      }
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

function judge({ invariant }: Mutant, failed: readonly string[]): Verdict {
  const by = failed.find((name) => namesOf(name).includes(invariant));
  if (by !== undefined) return { kind: 'caught', by };
  return {
    kind: 'survived',
    detail:
      failed.length === 0 ? 'no test fails' : `no failing test names ${invariant}: ${failed.slice(0, 3).join(' | ')}`,
  };
}

/** The invariants that a text names. */
export function namesOf(text: string): string[] {
  return text.match(/\bI\d+\b/g) ?? [];
}

const reportSchema = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      message: z.string(),
      assertionResults: z.array(z.object({ status: z.string(), fullName: z.string() })),
    }),
  ),
});

/** Far more than the tests of a mutant take on a busy machine. */
const LONGEST_RUN_MS = 240_000;

async function failingTests(directory: string, tests: readonly string[]): Promise<readonly string[]> {
  const report = join(directory, 'report.json');
  const vitest = join(directory, 'node_modules/vitest/vitest.mjs');
  const options = [
    '--project',
    'unit',
    '--reporter=json',
    `--outputFile=${report}`,
    '--testTimeout=30000',
    '--no-cache',
  ];
  // A vitest within a vitest would take itself for the outer one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')));
  const child = spawn(process.execPath, [vitest, 'run', ...options, ...tests], {
    cwd: directory,
    env,
    stdio: 'ignore',
  });
  const limit = setTimeout(() => child.kill('SIGKILL'), LONGEST_RUN_MS);
  const [, signal] = await once(child, 'exit');
  clearTimeout(limit);
  // A loop that gives no other task a turn lets no test time out.
  if (signal === 'SIGKILL')
    throw new Error(`the tests did not end within ${LONGEST_RUN_MS / 1000} s: write the mutant so that they do`);
  const { testResults } = reportSchema.parse(JSON.parse(await readFile(report, 'utf8')));
  const unloaded = testResults.filter(({ assertionResults }) => assertionResults.length === 0);
  if (unloaded.length > 0 || testResults.length < tests.length)
    throw new Error(
      `tests could not be loaded: ${unloaded.map(({ name, message }) => `${name}: ${message}`).join('; ')}`,
    );
  return testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
  );
}
