/** What the sidecar of a CI task says when it ends, in its termination message: the operator puts it into the task's result. */
import { z } from 'zod';

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

/**
 * Bytes. The kubelet cuts the message of each container of a pod to the first 12288 / N bytes, where N are its init containers and containers
 * together, and a JSON text that is cut is none. A CI pod has four; a service mesh or the pod's template may add others. This is enough for
 * eight. The whole report lies in Blob.
 */
export const MAX_CI_REPORT_BYTES = 1500;

/** So many characters of names and messages, and so many of each list, in turn, until it fits. What failed stays longest. */
interface Size {
  readonly text: number;
  readonly failures: number;
  readonly problems: number;
  readonly slowest: number;
  readonly artifacts: number;
}

const SIZES: readonly Size[] = [
  { text: 500, failures: 20, problems: 20, slowest: 5, artifacts: 20 },
  { text: 200, failures: 10, problems: 10, slowest: 5, artifacts: 5 },
  { text: 160, failures: 5, problems: 3, slowest: 3, artifacts: 2 },
  { text: 120, failures: 3, problems: 2, slowest: 1, artifacts: 1 },
  { text: 120, failures: 3, problems: 1, slowest: 1, artifacts: 0 },
  { text: 100, failures: 2, problems: 1, slowest: 0, artifacts: 0 },
  { text: 50, failures: 2, problems: 1, slowest: 0, artifacts: 0 },
  { text: 30, failures: 1, problems: 1, slowest: 0, artifacts: 0 },
];
const LEAST: Size = { text: 0, failures: 0, problems: 0, slowest: 0, artifacts: 0 };

/** Writes a report in at most `MAX_CI_REPORT_BYTES`: lists and texts become shorter, counts and the place of the whole stay. */
export function formatCiReport(report: CiReport): string {
  const written = [...SIZES, LEAST].map((size) => JSON.stringify(shortened(report, size)));
  return (
    written.find((text) => Buffer.byteLength(text) <= MAX_CI_REPORT_BYTES) ??
    JSON.stringify(shortened({ ...report, url: undefined }, LEAST))
  );
}

function shortened(report: CiReport, size: Size): CiReport {
  const cut = (words: string) => (words.length <= size.text ? words : words.slice(0, size.text).toWellFormed());
  const { tests, artifacts, problems } = report;
  return {
    ...report,
    ...(tests === undefined
      ? {}
      : {
          tests: {
            ...tests,
            failures: tests.failures
              .slice(0, size.failures)
              .map((one) => ({ ...one, name: cut(one.name), message: cut(one.message) })),
            slowest: tests.slowest.slice(0, size.slowest).map((one) => ({ ...one, name: cut(one.name) })),
          },
        }),
    // A path or a URL that is cut leads nowhere.
    artifacts: artifacts.slice(0, size.artifacts),
    problems: problems.slice(0, size.problems).map(cut),
  };
}
