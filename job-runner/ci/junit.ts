/** Test reports in JUnit's form, as most test programs write them: there is no one schema, so what is missing is not told. */
import { XMLParser } from 'fast-xml-parser';
import { messageOf } from '../../lib/errors.ts';

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
  /** Of all tests that tell their time; undefined when none does. */
  readonly seconds: number | undefined;
  readonly failures: readonly FailedTest[];
  readonly slowest: readonly { readonly name: string; readonly seconds: number }[];
}

interface Case {
  readonly name: string;
  readonly seconds: number | undefined;
  readonly outcome: 'passed' | 'skipped' | FailedTest;
}

const MOST_FAILURES = 20;
const MOST_SLOWEST = 5;
const LONGEST_MESSAGE = 500;
/** Suites may stand in suites; a report that was made to be deep ends here. */
const DEEPEST = 50;

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  attributesGroupName: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  // Entities of the report's own could make it grow without bound.
  processEntities: { enabled: true, maxTotalExpansions: 100_000, maxExpandedLength: 10_000_000 },
  isArray: (name) => ['testsuite', 'testcase', 'failure', 'error', 'skipped'].includes(name),
});

/**
 * Reads one report.
 *
 * @returns its tests, or why it cannot be read
 */
export function readJunit(xml: string): { readonly cases: readonly Case[] } | { readonly problem: string } {
  let root: unknown;
  try {
    root = parser.parse(xml, true);
  } catch (error) {
    return { problem: `is no XML: ${messageOf(error).slice(0, 200)}` };
  }
  const { testsuites, testsuite } = (root ?? {}) as Suite;
  if (testsuites === undefined && testsuite === undefined) return { problem: 'has neither testsuites nor testsuite' };
  return { cases: casesOf(testsuites, 0).concat(suitesOf({ testsuite }, 0)) };
}

/** Puts reports together. */
export function summarise(cases: readonly Case[]): TestSummary {
  const failures = cases.flatMap(({ outcome }) => (typeof outcome === 'object' ? [outcome] : []));
  const skipped = cases.filter(({ outcome }) => outcome === 'skipped').length;
  const timed = cases.flatMap(({ name, seconds }) => (seconds === undefined ? [] : [{ name, seconds }]));
  return {
    tests: cases.length,
    passed: cases.length - failures.length - skipped,
    failed: failures.length,
    skipped,
    seconds:
      timed.length === 0 ? undefined : Math.round(timed.reduce((sum, { seconds }) => sum + seconds, 0) * 1000) / 1000,
    failures: failures.slice(0, MOST_FAILURES),
    slowest: timed.toSorted((a, b) => b.seconds - a.seconds).slice(0, MOST_SLOWEST),
  };
}

type Attributes = Readonly<Record<string, string>>;
interface Suite {
  readonly '@'?: Attributes;
  readonly testsuites?: Suite;
  readonly testsuite?: readonly (Suite | string)[] | undefined;
  readonly testcase?: readonly (RawCase | string)[];
}
interface RawCase {
  readonly '@'?: Attributes;
  readonly failure?: readonly Told[];
  readonly error?: readonly Told[];
  readonly skipped?: readonly unknown[];
}
type Told = string | { readonly '@'?: Attributes; readonly '#text'?: string };

function suitesOf(suite: Suite | undefined, depth: number): Case[] {
  if (depth > DEEPEST) return [];
  return (suite?.testsuite ?? []).flatMap((one) => (typeof one === 'string' ? [] : casesOf(one, depth + 1)));
}

function casesOf(suite: Suite | undefined, depth: number): Case[] {
  const own = (suite?.testcase ?? []).flatMap((one) => (typeof one === 'string' ? [] : [caseOf(one)]));
  return own.concat(suitesOf(suite, depth));
}

function caseOf({ '@': attributes = {}, failure, error, skipped }: RawCase): Case {
  const { classname = attributes['file'] ?? '', name = '' } = attributes;
  const whole = [classname, name].filter((part) => part !== '').join(' › ');
  const seconds = Number(attributes['time']?.replaceAll(',', ''));
  const told = failure?.[0] ?? error?.[0];
  return {
    name: whole,
    seconds: attributes['time'] === undefined || !Number.isFinite(seconds) ? undefined : seconds,
    outcome:
      told !== undefined
        ? { name: whole, message: wordsOf(told), kind: failure === undefined ? 'error' : 'failure' }
        : skipped === undefined
          ? 'passed'
          : 'skipped',
  };
}

function wordsOf(told: Told): string {
  const text = typeof told === 'string' ? told : (told['@']?.['message'] ?? told['#text'] ?? told['@']?.['type'] ?? '');
  return text.trim().slice(0, LONGEST_MESSAGE).toWellFormed();
}
