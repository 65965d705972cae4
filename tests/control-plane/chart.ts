/** Helm's answers about our chart, for the tests beside. Nothing here needs a cluster. */
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { findHelm } from '#/build/helm.ts';
import { ensureBinaries } from '#/testing/binaries.ts';
import { run } from '#/testing/shell.ts';

/** A file of the repository. */
export const pathOf = (name: string) => fileURLToPath(import.meta.resolve(`#/${name}`));

/** The chart's directory. */
export const CHART = pathOf('charts/slipway');

/** The arguments for the example values, which are the required ones. */
export const EXAMPLE = ['-f', pathOf('manifests/values.yaml')];

/** The arguments for the example of documents with a model and a database. */
export const DOCUMENTS = ['-f', pathOf('charts/slipway/examples/documents.yaml')];

/** The arguments for the example of tasks on Azure Container Instances. */
export const ON_AZURE = ['-f', pathOf('charts/slipway/examples/azure.yaml')];

/** The arguments for the example of CI tasks. */
export const CI = ['-f', pathOf('charts/slipway/examples/ci.yaml')];

/** A rendered object, as far as the tests look into it. */
export interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Record<string, string> };
  readonly spec?: { readonly template: PodTemplate };
  readonly data?: Record<string, string>;
}
interface PodTemplate {
  readonly metadata: object;
  readonly spec: {
    readonly serviceAccountName: string;
    readonly containers: readonly { readonly env: readonly { readonly name: string }[] }[];
  };
}

/** Runs helm and returns what it prints. */
export async function helm(args: readonly string[]): Promise<string> {
  if ((await findHelm()) === undefined) await ensureBinaries('build');
  return run((await findHelm()) ?? 'helm', args);
}

/** What the chart renders for the example values and further arguments. */
export async function render(
  args: readonly string[] = [],
  release = 'slipway',
  namespace = 'jobs',
): Promise<Rendered[]> {
  const text = await helm(['template', release, CHART, '-n', namespace, ...EXAMPLE, ...args]);
  return parseAllDocuments(text).map((document): Rendered => document.toJS());
}

/** The notes of an installation with the example values and further arguments. */
export async function notes(args: readonly string[] = [], release = 'slipway'): Promise<string> {
  const text = await helm(['install', release, CHART, '-n', 'jobs', ...EXAMPLE, ...args, '--dry-run=client']);
  return text.slice(text.indexOf('NOTES:'));
}

/** What helm says to values that it refuses. */
export function refusal(args: readonly string[]): Promise<string> {
  return helm(['template', 'slipway', CHART, ...args]).then(() => 'accepted', String);
}

/** The one object of a kind. */
export function only(objects: readonly Rendered[], kind: string): Rendered {
  const found = objects.filter((object) => object.kind === kind);
  expect(found, kind).toHaveLength(1);
  return found[0]!;
}

/** The operator's pod. */
export const podOf = (objects: readonly Rendered[]) => only(objects, 'Deployment').spec!.template;

/** The operator's container. */
export const containerOf = (objects: readonly Rendered[]) => podOf(objects).spec.containers[0]!;

/** One of its variables. */
export const envOf = (objects: readonly Rendered[], name: string) =>
  containerOf(objects).env.find((env) => env.name === name);

/** The configuration file. */
export const configOf = (objects: readonly Rendered[]) => only(objects, 'ConfigMap').data!['config.yaml']!;
