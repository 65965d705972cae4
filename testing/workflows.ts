/** The workflows of .github/workflows, as far as tests look into them. */
import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** A workflow. */
export interface Workflow {
  readonly on: {
    readonly workflow_call?: {
      readonly inputs?: Readonly<Record<string, { readonly default?: unknown; readonly required?: boolean }>>;
      readonly secrets?: Readonly<Record<string, unknown>>;
    };
  };
  readonly jobs: Readonly<
    Record<
      string,
      {
        /** Where it calls another workflow: what it gives to it. */
        readonly with?: Readonly<Record<string, unknown>>;
        readonly steps?: readonly { readonly name?: string; readonly uses?: string; readonly run?: string }[];
      }
    >
  >;
}

const directory = new URL('../.github/workflows/', import.meta.url);

/** The names of all workflows, without `.yml`. */
export const workflowNames: readonly string[] = readdirSync(directory).map((file) => file.replace(/\.yml$/, ''));

/** The text of a workflow. */
export const workflowText = (name: string): string => readFileSync(new URL(`${name}.yml`, directory), 'utf8');

/** A workflow; its anchors and aliases are resolved. */
export const workflow = (name: string): Workflow => parse(workflowText(name)) as Workflow;

/** The script of a step, by the step's name. */
export function stepScript(name: string, job: string, step: string): string {
  const script = workflow(name).jobs[job]?.steps?.find((one) => one.name === step)?.run;
  if (script === undefined) throw new Error(`${name}.yml: the job ${job} has no step "${step}" with a script`);
  return script;
}
