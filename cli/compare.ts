/** Two records of the same tasks, such as the old way's and the new one's: what differs, and how long each took. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { tryParseJson } from '../lib/json.ts';

const reportSchema = z.looseObject({
  task_id: z.string(),
  status: z.string().optional(),
  result: z.unknown().optional(),
  error: z.looseObject({ code: z.string().optional() }).optional(),
  duration_ms: z.number().optional(),
});

/** What became of a task, as its webhook says it. */
export type Report = z.output<typeof reportSchema>;

/** A difference; a value that is not there is undefined. */
export interface Difference {
  readonly taskId: string;
  /** Such as `status`, `result.pages`. */
  readonly field: string;
  readonly old: unknown;
  readonly new: unknown;
}

/** Milliseconds; undefined where no report tells of any. */
export interface Times {
  readonly median: number | undefined;
  /** 95 of 100 took no longer. */
  readonly most: number | undefined;
}

/** What a comparison comes to. */
export interface Comparison {
  /** Tasks in both. */
  readonly both: number;
  readonly same: number;
  readonly onlyOld: readonly string[];
  readonly onlyNew: readonly string[];
  readonly differences: readonly Difference[];
  readonly times: { readonly old: Times; readonly new: Times };
}

/** Reads webhook bodies, one a line; of a task that is there twice the last one counts, since a webhook may come twice. */
export function readReports(text: string, name: string): ReadonlyMap<string, Report> | { readonly problem: string } {
  const reports = new Map<string, Report>();
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const parsed = reportSchema.safeParse(tryParseJson(line));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const where = issue === undefined || issue.path.length === 0 ? '' : ` ${issue.path.join('.')}:`;
      return {
        problem: `${name}, line ${at + 1}:${where} ${issue?.message ?? ''}. Each line has to be the body of a webhook, with task_id`,
      };
    }
    reports.set(parsed.data.task_id, parsed.data);
  }
  return reports;
}

/** @param ignore fields that may differ, such as `result.resultUrl` */
export function compareReports(
  old: ReadonlyMap<string, Report>,
  next: ReadonlyMap<string, Report>,
  ignore: readonly string[],
): Comparison {
  const both = [...old.keys()].filter((taskId) => next.has(taskId));
  const differences = both.flatMap((taskId) =>
    differencesOf(told(old.get(taskId)), told(next.get(taskId)), '')
      .filter(({ field }) => !ignore.some((one) => field === one || field.startsWith(`${one}.`)))
      .map((one) => ({ taskId, ...one })),
  );
  const different = new Set(differences.map(({ taskId }) => taskId));
  return {
    both: both.length,
    same: both.length - different.size,
    onlyOld: [...old.keys()].filter((taskId) => !next.has(taskId)),
    onlyNew: [...next.keys()].filter((taskId) => !old.has(taskId)),
    differences,
    times: { old: timesOf(old), new: timesOf(next) },
  };
}

/** What a receiver acts on; times and messages for people may differ. */
function told(report: Report | undefined): object {
  return { status: report?.status, result: report?.result, error: { code: report?.error?.code } };
}

function differencesOf(old: unknown, next: unknown, field: string): readonly Omit<Difference, 'taskId'>[] {
  if (isDeepStrictEqual(old, next)) return [];
  if (!isRecord(old) || !isRecord(next)) return [{ field, old, new: next }];
  const names = [...new Set([...Object.keys(old), ...Object.keys(next)])];
  return names.flatMap((name) => differencesOf(old[name], next[name], field === '' ? name : `${field}.${name}`));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function timesOf(reports: ReadonlyMap<string, Report>): Times {
  const all = [...reports.values()]
    .flatMap(({ duration_ms: ms }) => (ms === undefined ? [] : [ms]))
    .toSorted((a, b) => a - b);
  const part = (share: number) => all[Math.min(all.length - 1, Math.floor(all.length * share))];
  return { median: part(0.5), most: part(0.95) };
}
