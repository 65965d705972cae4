/** What is told of a CI task, whatever became of it: as `result` in its webhook, on its Job, and by `slipway why`. */
import { z } from 'zod';
import { ciTestsSchema } from './ci-report.ts';

const count = z.number().int().nonnegative();

export const ciResultSchema = z.object({
  conclusion: z.enum(['success', 'failure']),
  /** The commit that was checked out. */
  commit: z.string().optional(),
  /** With its tag. */
  image: z.string(),
  /** `sha256:…`, as the registry has it. */
  digest: z.string().optional(),
  /** Of the test command; left out where it did not run, or nobody knows. */
  exit_code: z.number().int().optional(),
  /** Seconds of each stage, where they are known. */
  stage_seconds: z.object({
    clone: z.number().optional(),
    build: z.number().optional(),
    test: z.number().optional(),
  }),
  /** Counts, first failures and slowest tests, where there were reports. */
  tests: ciTestsSchema.optional(),
  /** The first ones; all are in the whole report. */
  artifacts: z.array(z.object({ path: z.string(), bytes: count, url: z.string() })),
  artifact_count: count,
  /** What is missing or was in the way, a sentence each. */
  problems: z.array(z.string()),
  /** Where the whole report is. */
  report_url: z.string().optional(),
  /** The last lines of the stage that failed: clone, build or tests. */
  log_tail: z.string().optional(),
});

/** The result. */
export type CiResult = z.infer<typeof ciResultSchema>;
