/** `slipway config check`. */
import type { Command } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { summarize, summaryLines } from './config-report.ts';
import type { Output } from './output.ts';
import { paint } from './paint.ts';
import { ANY_ENVIRONMENT, readConfig } from './read-config.ts';
import type { ReadText } from './read-text.ts';
import { wrapped } from './wrap.ts';

/** What the command works with. */
export interface ConfigSurroundings extends Output {
  readonly readText: ReadText;
}

/** Adds `config check`. */
export function addConfigCommand(
  program: Command,
  surroundings: ConfigSurroundings,
  exit: (code: number) => void,
): void {
  const config = program.command('config').description('The configuration file of the operator.');
  config
    .command('check')
    .description('Judges a configuration file as the operator would, and shows what it comes to.')
    .argument('<file>', "the operator's configuration file, or a values file of the chart; - for standard input")
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Neither storage account nor cluster is asked. In a values file only \`config\` is judged; helm judges the rest.

Examples:
  slipway config check values.yaml
  slipway config check config.yaml --json | jq -r '.warnings[]'
  kubectl -n slipway get configmap slipway -o go-template='{{ index .data "config.yaml" }}' | slipway config check -

Exit codes: 0 good, 2 wrong usage, 78 wrong configuration.`,
    )
    .action(async (path: string, options: { readonly json?: boolean }) =>
      exit(await checkConfig(surroundings, path, options.json === true)),
    );
}

async function checkConfig(surroundings: ConfigSurroundings, path: string, json: boolean): Promise<number> {
  const { out, err, colour, columns } = surroundings;
  const name = path === '-' ? 'standard input' : path;
  const text = await surroundings.readText(path);
  const read =
    typeof text === 'string'
      ? readConfig(text, name, ANY_ENVIRONMENT)
      : { kind: 'wrong' as const, form: 'config' as const, problems: [text.problem] };
  if (read.kind === 'wrong') {
    const { form, problems } = read;
    if (json) out(`${JSON.stringify({ file: name, form, good: false, problems }, null, 2)}\n`);
    else {
      err(`${name} has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n`);
      for (const problem of problems) err(`${wrapped('- ', problem.replace(`${name}: `, ''), columns)}\n`);
    }
    return EXIT.badConfig;
  }
  const summary = summarize(read.config);
  if (json) {
    out(`${JSON.stringify({ file: name, form: read.form, good: true, problems: [], ...summary }, null, 2)}\n`);
    return EXIT.done;
  }
  const kind = read.form === 'values' ? ' It is a values file of the chart, of which `config` was judged.' : '';
  out(`${paint(colour, 'green', `${name} is good.`)}${kind}\n\n`);
  out(`${summaryLines(summary, columns).join('\n')}\n`);
  if (summary.warnings.length > 0) out('\n');
  for (const warning of summary.warnings)
    out(`${wrapped(paint(colour, 'yellow', 'Warning: '), warning, columns, 9)}\n`);
  return EXIT.done;
}
