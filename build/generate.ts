/**
 * Makes what is generated and committed:
 *
 *   node build/generate.ts            writes it
 *   node build/generate.ts --check    exits 1 and names what differs
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { HINTS } from '../contract/diagnosis.ts';
import { ACI_PERMISSIONS, CI_NAMESPACE_PERMISSIONS, CI_PERMISSIONS, PERMISSIONS } from '../operator/permissions.ts';
import { valuesReference } from './chart-reference.ts';
import { chartSchema } from './chart-schema.ts';
import { findHelm, HELM_REMEDY, helmTemplate } from './helm.ts';
import { kanikoRecords } from './kaniko-records.ts';
import { roleRules } from './permissions.ts';

/** A committed file and how it is made; `make` gives undefined where helm is needed and missing. */
export interface Artefact {
  readonly path: string;
  readonly make: (helm: string | undefined) => Promise<string | undefined>;
}

const root = new URL('../', import.meta.url);
const at = (path: string) => fileURLToPath(new URL(path, root));
const read = (path: string) => readFile(at(path), 'utf8');

const MANIFEST_HEADER = `# Generated from charts/slipway with manifests/values.yaml: not edited here; npm run generate makes it anew.
#
# For a cluster without helm. In a copy, put your own for the two images (registry.example.com/…) and the queue (acme-tasks). Then:
#   kubectl create namespace slipway
#   kubectl -n slipway create secret generic slipway-storage --from-literal=connection-string='DefaultEndpointsProtocol=https;AccountName=…'
#   kubectl apply -f slipway.yaml
# A later change of the ConfigMap takes effect with: kubectl -n slipway rollout restart deployment/slipway
`;

const ROLE_MARKERS = { begin: '  # generated from operator/permissions.ts: begin', end: '  # generated: end' };

/** Everything that is generated, in the order in which one builds on the other. */
export const ARTEFACTS: readonly Artefact[] = [
  {
    path: 'charts/slipway/values.schema.json',
    make: async () => `${JSON.stringify(chartSchema(), null, 2)}\n`,
  },
  {
    path: 'charts/slipway/README.md',
    make: async () => {
      const values: unknown = parse(await read('charts/slipway/values.yaml'));
      const markers = { begin: '<!-- generated from values.schema.json: begin -->', end: '<!-- generated: end -->' };
      return replaceBetween(
        await read('charts/slipway/README.md'),
        markers,
        `\n${valuesReference(chartSchema(), values)}\n`,
      );
    },
  },
  {
    path: 'charts/slipway/templates/role.yaml',
    make: async () => {
      const isOfCi = 'has .Release.Namespace (include "slipway.ciNamespaces" . | fromJsonArray)';
      const ofCi = `{{- if ${isOfCi} }}\n${roleRules(CI_PERMISSIONS)}\n{{- end }}`;
      const onAci = `{{- if include "slipway.usesAci" . }}\n${roleRules(ACI_PERMISSIONS)}\n{{- end }}`;
      const rules = `${roleRules(PERMISSIONS)}\n${ofCi}\n${onAci}`.replace(/^(?!{{-)/gm, '  ');
      return replaceBetween(await read('charts/slipway/templates/role.yaml'), ROLE_MARKERS, rules);
    },
  },
  {
    path: 'charts/slipway/templates/ci-role.yaml',
    make: async () => {
      const rules = roleRules(CI_NAMESPACE_PERMISSIONS, '$namespace').replace(/^/gm, '  ');
      return replaceBetween(await read('charts/slipway/templates/ci-role.yaml'), ROLE_MARKERS, rules);
    },
  },
  {
    path: 'docs/verdicts.md',
    make: async () => {
      const markers = {
        begin: '<!-- generated from contract/diagnosis.ts: begin -->',
        end: '<!-- generated: end -->',
      };
      const rows = Object.entries(HINTS).map(([category, hint]) => `| \`${category}\` | ${hint} |`);
      return replaceBetween(
        await read('docs/verdicts.md'),
        markers,
        ['| category | hint |', '|---|---|', ...rows].join('\n'),
      );
    },
  },
  {
    path: 'docs/kaniko.md',
    make: async () => {
      const markers = { begin: '<!-- generated from testing/builder: begin -->', end: '<!-- generated: end -->' };
      return replaceBetween(await read('docs/kaniko.md'), markers, await kanikoRecords());
    },
  },
  {
    path: 'manifests/slipway.yaml',
    make: async (helm) =>
      helm === undefined
        ? undefined
        : MANIFEST_HEADER + (await helmTemplate(helm, at('charts/slipway'), at('manifests/values.yaml'), 'slipway')),
  },
];

/** Puts text between two marker lines. */
function replaceBetween(text: string, markers: { begin: string; end: string }, content: string): string {
  const begin = text.indexOf(`${markers.begin}\n`);
  const end = text.indexOf(markers.end, begin);
  if (begin < 0 || end < 0) throw new Error(`the marker lines "${markers.begin}" and "${markers.end}" are missing`);
  return `${text.slice(0, begin + markers.begin.length)}\n${content}\n${text.slice(end)}`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await read(path);
  } catch {
    return undefined;
  }
}

/** Writes or compares everything. Returns the exit code: a manifest that was not checked for want of helm is said, but is no difference. */
async function main(args: readonly string[]): Promise<number> {
  const check = args.includes('--check');
  const helm = await findHelm();
  let code = 0;
  for (const { path, make } of ARTEFACTS) {
    const made = await make(helm);
    if (made === undefined) {
      console.error(`${path}: not ${check ? 'checked' : 'generated'}: ${HELM_REMEDY}`);
      if (!check) code = 1;
    } else if (made !== (await readIfThere(path))) {
      console.error(check ? `${path}: differs from what is generated. Run npm run generate` : `${path}: written`);
      if (check) code = 1;
      else await writeFile(at(path), made);
    }
  }
  return code;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
