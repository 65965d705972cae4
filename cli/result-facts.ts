/** The result of a CI task in lines for people. Pure. */
import type { CiResult } from '../contract/ci-result.ts';
import { printable } from './text.ts';

type Fact = readonly [name: string, value: string];

const SHOWN = 5;

/** What there is to say, in the order in which it is asked for. Texts of the repository's are made printable. */
export function resultFacts(result: CiResult): readonly Fact[] {
  const { commit, image, digest, stage_seconds, tests, artifacts, artifact_count, problems, report_url } = result;
  const stages = Object.entries(stage_seconds).map(([stage, seconds]) => `${stage} ${seconds} s`);
  return [
    ['Result', conclusionOf(result)],
    ...(tests?.failures ?? [])
      .slice(0, SHOWN)
      .map(({ name, message }): Fact => ['', `${printable(name)}: ${printable(message)}`]),
    ...logOf(result),
    ...problems.slice(0, SHOWN).map((problem): Fact => ['Note', printable(problem)]),
    ...(commit === undefined ? [] : ([['Commit', commit]] as const)),
    ['Image', digest === undefined ? image : `${image}@${digest}`],
    ...(stages.length === 0 ? [] : ([['Stages', stages.join(', ')]] as const)),
    ...artifacts.slice(0, SHOWN).map(({ path, url }): Fact => ['Artifact', `${printable(path)} ${printable(url)}`]),
    ...(artifact_count > SHOWN ? ([['', `and ${artifact_count - SHOWN} more`]] as const) : []),
    ...(report_url === undefined ? [] : ([['Report', printable(report_url)]] as const)),
  ];
}

/** The end of the failed stage's log, where no report tells which tests failed. */
function logOf({ tests, log_tail = '' }: CiResult): readonly Fact[] {
  if (tests !== undefined && tests.failures.length > 0) return [];
  const lines = log_tail.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-SHOWN).map((line, at): Fact => [at === 0 ? 'Log' : '', printable(line)]);
}

function conclusionOf({ conclusion, exit_code, tests }: CiResult): string {
  const skipped = tests !== undefined && tests.skipped > 0 ? `, ${tests.skipped} skipped` : '';
  const counts = tests === undefined ? '' : `, ${tests.failed} of ${tests.tests} tests failed${skipped}`;
  const code = exit_code === undefined ? ', the tests did not run to an end' : `, exit code ${exit_code}`;
  return `${conclusion}${counts}${code}`;
}
