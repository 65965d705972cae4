/** `slipway compare`. */
import type { Command } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { type Comparison, compareReports, readReports, type Times } from './compare.ts';
import { type Output, USAGE } from './output.ts';
import type { ReadText } from './read-text.ts';
import { printable, shorten, table } from './text.ts';

/** What the command works with. */
export interface CompareSurroundings extends Output {
  readonly readText: ReadText;
}

interface Options {
  readonly ignore: readonly string[];
  readonly json?: boolean;
}

/** Differences that are shown; --json has all. */
const SHOWN = 20;
const VALUE_COLUMNS = 40;

/** Adds `compare`. */
export function addCompareCommand(
  program: Command,
  surroundings: CompareSurroundings,
  exit: (code: number) => void,
): void {
  program
    .command('compare')
    .description('Compares what became of the same tasks in two ways, such as the old worker and the operator.')
    .argument('<old>', 'webhook bodies as they were received, one JSON object a line; - for standard input')
    .argument('<new>', 'the same of the other way')
    .option(
      '--ignore <field>',
      'a field that may differ, such as result.resultUrl; may be given several times',
      (field: string, before: readonly string[]) => [...before, field],
      [] as readonly string[],
    )
    .option('--json', 'one JSON object, with every difference')
    .addHelpText(
      'after',
      `
Tasks are matched by task_id. Compared are status, result and the error's code; duration_ms is told, not judged.

Examples:
  slipway compare old.jsonl new.jsonl --ignore result.resultUrl
  slipway compare old.jsonl new.jsonl --json | jq -r '.differences[].taskId' | sort -u

Exit codes: 0 the same, 1 a difference, or a task that is in one of them only, 2 wrong usage.`,
    )
    .action(async (old: string, next: string, options: Options) =>
      exit(await compare(surroundings, old, next, options)),
    );
}

async function compare(
  { readText, out, err }: CompareSurroundings,
  old: string,
  next: string,
  { ignore, json }: Options,
): Promise<number> {
  const read = [];
  for (const path of [old, next]) {
    const text = await readText(path);
    const reports = typeof text === 'string' ? readReports(text, path === '-' ? 'standard input' : path) : text;
    if ('problem' in reports) {
      err(`slipway: ${reports.problem}\n`);
      return USAGE;
    }
    read.push(reports);
  }
  const [before = new Map(), after = new Map()] = read;
  const comparison = compareReports(before, after, ignore);
  out(json === true ? `${JSON.stringify(comparison, null, 2)}\n` : `${lines(comparison).join('\n')}\n`);
  const { differences, onlyOld, onlyNew } = comparison;
  return differences.length + onlyOld.length + onlyNew.length === 0 ? EXIT.done : EXIT.failed;
}

function lines({ both, same, onlyOld, onlyNew, differences, times }: Comparison): readonly string[] {
  const duration = (ms: number | undefined) => (ms === undefined ? 'not told' : `${Math.round(ms)} ms`);
  const row = (name: string, { median, most }: Times, only: readonly string[]) => [
    name,
    String(both + only.length),
    String(only.length),
    duration(median),
    duration(most),
  ];
  return [
    ...table(
      ['', 'TASKS', 'ONLY HERE', 'HALF WITHIN', '95 OF 100 WITHIN'],
      [row('old', times.old, onlyOld), row('new', times.new, onlyNew)],
    ),
    '',
    `${same} of ${both} tasks ended the same.`,
    ...only('old', onlyOld),
    ...only('new', onlyNew),
    ...(differences.length === 0
      ? []
      : [
          '',
          ...table(
            ['TASK', 'FIELD', 'OLD', 'NEW'],
            differences
              .slice(0, SHOWN)
              .map((one) => [one.taskId, one.field, shown(one.old), shown(one.new)].map(printable)),
          ),
          ...(differences.length > SHOWN ? [`… and ${differences.length - SHOWN} more: --json has all`] : []),
        ]),
  ];
}

function only(name: string, tasks: readonly string[]): readonly string[] {
  if (tasks.length === 0) return [];
  const more = tasks.length > SHOWN ? `, … and ${tasks.length - SHOWN} more` : '';
  return [`Only in ${name}: ${tasks.slice(0, SHOWN).map(printable).join(', ')}${more}`];
}

function shown(value: unknown): string {
  return value === undefined ? '-' : shorten(JSON.stringify(value), VALUE_COLUMNS);
}
