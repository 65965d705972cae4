/** What the sidecar of a CI task says when it ends, in its termination message: the operator puts it into the task's result. */
import { z } from 'zod';
import { MAX_REPORT_BYTES } from './runner-abi.ts';

const count = z.number().int().nonnegative();

/** What reports in JUnit's form say together. */
export const ciTestsSchema = z.object({
  tests: count,
  passed: count,
  failed: count,
  skipped: count,
  seconds: z.number().optional(),
  /** The first ones. */
  failures: z.array(z.object({ name: z.string(), message: z.string(), kind: z.enum(['failure', 'error']) })),
  slowest: z.array(z.object({ name: z.string(), seconds: z.number() })),
});

const reportSchema = z.object({
  v: z.literal(1),
  tests: ciTestsSchema.optional(),
  /** The first ones; all are in the whole report. */
  artifacts: z.array(z.object({ path: z.string(), bytes: count, url: z.string() })),
  artifactCount: count,
  /** What is missing, and why. */
  problems: z.array(z.string()),
  /** Where the whole report is; undefined where there is no place for it. */
  url: z.string().optional(),
});

/** The report. */
export type CiReport = z.infer<typeof reportSchema>;

/** Reads a termination message; undefined when it is none of a CI task's sidecar. */
export function parseCiReport(text: string): CiReport | undefined {
  try {
    const parsed = reportSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** So many characters of names and messages, and so many of each list, in turn, until it fits. */
const SIZES = [
  { text: 500, list: 20 },
  { text: 200, list: 10 },
  { text: 100, list: 5 },
  { text: 60, list: 2 },
  { text: 0, list: 0 },
] as const;

/** Writes a report in at most `MAX_REPORT_BYTES`: lists and texts become shorter, counts and the place of the whole stay. */
export function formatCiReport(report: CiReport): string {
  const written = SIZES.map((size) => JSON.stringify(shortened(report, size)));
  return (
    written.find((text) => Buffer.byteLength(text) <= MAX_REPORT_BYTES) ??
    JSON.stringify(shortened({ ...report, url: undefined }, { text: 0, list: 0 }))
  );
}

function shortened(report: CiReport, { text, list }: { readonly text: number; readonly list: number }): CiReport {
  const cut = (words: string) => (words.length <= text ? words : words.slice(0, text).toWellFormed());
  const { tests, artifacts, problems } = report;
  return {
    ...report,
    ...(tests === undefined
      ? {}
      : {
          tests: {
            ...tests,
            failures: tests.failures
              .slice(0, list)
              .map((one) => ({ ...one, name: cut(one.name), message: cut(one.message) })),
            slowest: tests.slowest.slice(0, list).map((one) => ({ ...one, name: cut(one.name) })),
          },
        }),
    // A path or a URL that is cut leads nowhere.
    artifacts: artifacts.slice(0, list),
    problems: problems.slice(0, list).map(cut),
  };
}
