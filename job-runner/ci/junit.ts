/**
 * Test reports in JUnit's form, as most test programs write them: there is no one schema, so what is missing is not told. A report is read piece
 * by piece, and what is kept of it is as much for a hundred tests as for a million: some repeat all that their tests have printed.
 */
import sax from 'sax';

/** A test that failed, or could not be run. */
export interface FailedTest {
  /** Class or file, and name. */
  readonly name: string;
  readonly message: string;
  readonly kind: 'failure' | 'error';
}

/** What reports come to. */
export interface TestSummary {
  readonly tests: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Of all tests that tell their time; undefined when none does. Always finite, as all of them are. */
  readonly seconds: number | undefined;
  /** The first ones. */
  readonly failures: readonly FailedTest[];
  readonly slowest: readonly { readonly name: string; readonly seconds: number }[];
}

const MOST_FAILURES = 20;
const MOST_SLOWEST = 5;
const LONGEST = 500;
/** Of one test, 31 years: a sum of greater ones may become infinite, which JSON does not know. */
const LONGEST_SECONDS = 1e9;
/** Suites may stand in suites; a report that was made to be deep ends here. */
const DEEPEST = 100;
/** Of one text or attribute: a failure may hold a whole document, and what it should have been. The parser's own limit is 64 KiB. */
const LONGEST_TEXT = 4 * 1024 * 1024;

Object.assign(sax, { MAX_BUFFER_LENGTH: LONGEST_TEXT });

/** What no report comes to. */
export const NO_TESTS: TestSummary = {
  tests: 0,
  passed: 0,
  failed: 0,
  skipped: 0,
  seconds: undefined,
  failures: [],
  slowest: [],
};

/** A test as its report has it. */
interface Case {
  readonly classname: string;
  readonly name: string;
  readonly time: string | undefined;
  readonly told: { readonly kind: FailedTest['kind']; readonly message: string } | undefined;
  readonly isSkipped: boolean;
}

/**
 * Reads one report.
 *
 * @param chunks its text in pieces, cut anywhere. What they throw is thrown.
 * @returns what it comes to, or why it cannot be read
 */
export async function readJunit(
  chunks: AsyncIterable<string> | Iterable<string>,
): Promise<{ readonly summary: TestSummary } | { readonly problem: string }> {
  let summary = NO_TESTS;
  const reader = casesOf((one) => {
    summary = withCase(summary, one);
  });
  for await (const chunk of chunks) {
    reader.write(chunk);
    const problem = reader.problem();
    if (problem !== undefined) return { problem };
  }
  reader.close();
  const problem = reader.problem();
  return problem === undefined ? { summary: { ...summary, seconds: rounded(summary.seconds) } } : { problem };
}

/** Puts two together. */
export function together(a: TestSummary, b: TestSummary): TestSummary {
  return {
    tests: a.tests + b.tests,
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    seconds: rounded(sum(a.seconds, b.seconds)),
    failures: [...a.failures, ...b.failures].slice(0, MOST_FAILURES),
    slowest: slowestOf([...a.slowest, ...b.slowest]),
  };
}

function withCase(all: TestSummary, { classname, name, time, told, isSkipped }: Case): TestSummary {
  const seconds = time === undefined ? Number.NaN : Number(time.replaceAll(',', ''));
  const isTimed = seconds >= 0 && seconds <= LONGEST_SECONDS;
  const isAmongSlowest = isTimed && seconds > (all.slowest[MOST_SLOWEST - 1]?.seconds ?? -1);
  const isAmongFailures = told !== undefined && all.failures.length < MOST_FAILURES;
  const whole =
    isAmongSlowest || isAmongFailures ? own([classname, name].filter((part) => part !== '').join(' › ')) : '';
  return {
    tests: all.tests + 1,
    passed: all.passed + (told === undefined && !isSkipped ? 1 : 0),
    failed: all.failed + (told === undefined ? 0 : 1),
    skipped: all.skipped + (told === undefined && isSkipped ? 1 : 0),
    seconds: isTimed ? sum(all.seconds, seconds) : all.seconds,
    failures: isAmongFailures
      ? [...all.failures, { name: whole, message: own(told.message), kind: told.kind }]
      : all.failures,
    slowest: isAmongSlowest ? slowestOf([...all.slowest, { name: whole, seconds }]) : all.slowest,
  };
}

/** Calls `found` for each test of a report that is written into it. */
function casesOf(found: (one: Case) => void) {
  const parser = sax.parser(true);
  let problem: string | undefined;
  let depth = 0;
  let hasRoot = false;
  let open:
    | { readonly depth: number; readonly attributes: Attributes; told: Case['told']; isSkipped: boolean }
    | undefined;
  /** A failure without a message, which its text may be, or else its type. */
  let telling: { readonly type: string } | undefined;

  parser.onerror = ({ message }) => {
    problem ??= `is no XML: ${message.split('\n', 1)[0]} (line ${parser.line + 1})`;
  };
  parser.onopentag = ({ name, attributes: all }) => {
    const attributes = all as Attributes;
    depth++;
    hasRoot = true;
    if (depth === 1 && !['testsuites', 'testsuite'].includes(name)) problem ??= NO_REPORT;
    if (depth > DEEPEST) problem ??= `has elements in elements, more than ${DEEPEST} deep`;
    if (open === undefined) {
      if (name === 'testcase') open = { depth, attributes, told: undefined, isSkipped: false };
      return;
    }
    if (depth !== open.depth + 1) return;
    if (name === 'skipped') open.isSkipped = true;
    if ((name === 'failure' || name === 'error') && open.told === undefined) {
      const { message, type = '' } = attributes;
      if (message === undefined) telling = { type };
      open.told = { kind: name, message: message ?? '' };
    }
  };
  const tell = (text: string) => {
    if (telling !== undefined && open?.told !== undefined && open.told.message.length < LONGEST)
      open.told = { ...open.told, message: `${open.told.message}${text}`.trimStart().slice(0, LONGEST) };
  };
  parser.ontext = tell;
  parser.oncdata = tell;
  parser.onclosetag = () => {
    depth--;
    if (open === undefined || depth > open.depth) return;
    if (telling !== undefined && open.told?.message === '') open.told = { ...open.told, message: telling.type };
    telling = undefined;
    if (depth === open.depth) return;
    const { attributes, told, isSkipped } = open;
    const { classname = attributes['file'] ?? '', name = '', time } = attributes;
    found({ classname, name, time, told, isSkipped });
    open = undefined;
  };
  return {
    write: (text: string) => void parser.write(text),
    close: () => {
      parser.close();
      if (!hasRoot) problem ??= NO_REPORT;
    },
    problem: () => problem,
  };
}

type Attributes = Readonly<Record<string, string>>;

const NO_REPORT = 'has neither testsuites nor testsuite';

function slowestOf(all: TestSummary['slowest']): TestSummary['slowest'] {
  return all.toSorted((a, b) => b.seconds - a.seconds).slice(0, MOST_SLOWEST);
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : a + b;
}

function rounded(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000) / 1000;
}

/** A text of its own: a part of a text keeps the whole of it in memory. */
function own(text: string): string {
  return Buffer.from(text.trim().slice(0, LONGEST)).toString();
}
