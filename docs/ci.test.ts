/** docs/ci.md lists what the workflows refer to, and docs/dependencies.md the actions that they use. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { workflow, workflowNames, workflowText } from '#/testing/workflows.ts';

const page = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');

/** What a workflow refers to, as `kind NAME`. */
function references(name: string): string[] {
  const found = workflowText(name).matchAll(/\b(vars|secrets)\.(\w+)/g);
  return [...found].map(([, kind, variable]) => `${kind === 'vars' ? 'variable' : 'secret'} ${variable}`);
}

/** The names in the first column of the table under a header that begins with `column`. */
function named(column: string): string[] {
  const [, table = ''] = new RegExp(`^\\| ${column} \\|.*\n\\|[-|]+\\|\n((?:\\|.*\n)+)`, 'm').exec(page('ci.md')) ?? [];
  return table
    .split('\n')
    .flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`(.*?)`/g)].map(([, name = '']) => name));
}

test('every secret and variable is listed with its kind, and no other', () => {
  const rows = [...page('ci.md').matchAll(/^\| `(\w+)` \| (secret|variable) \| .+ \| .+ \|$/gm)];
  const listed = rows.map(([, name, kind]) => `${kind} ${name}`);
  expect(new Set(listed).size).toBe(listed.length);
  // What the workflow for any image is given as secrets has names and a table of its own.
  const used = workflowNames.filter((name) => name !== 'worker-image').flatMap(references);
  expect(used.length).toBeGreaterThan(30);
  expect([...listed].sort()).toEqual([...new Set(used)].sort());
});

test('the workflow for any image takes what its tables say', () => {
  const { inputs = {}, secrets = {} } = workflow('worker-image').on.workflow_call ?? {};
  expect(named('input')).toEqual(Object.keys(inputs));
  expect(named('secret')).toEqual(Object.keys(secrets));
  const used = new Set(references('worker-image'));
  expect([...used].sort()).toEqual(
    Object.keys(secrets)
      .map((name) => `secret ${name}`)
      .sort(),
  );
});

test('every workflow has a row', () => {
  expect(workflowNames.filter((name) => !page('ci.md').includes(`](../.github/workflows/${name}.yml) |`))).toEqual([]);
});

test('every action is pinned to a commit, one version each, and has a row in dependencies.md', () => {
  const uses = workflowNames.flatMap((name) =>
    [...workflowText(name).matchAll(/uses: (.+)$/gm)].map(([, text = '']) => text),
  );
  const actions = uses.filter((text) => !text.startsWith('./'));
  expect(actions.filter((text) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(text))).toEqual([]);
  const distinct = [...new Set(actions)].sort();
  const names = distinct.map((text) => text.replace(/@.*/, ''));
  expect(names).toEqual([...new Set(names)]);
  const rows = [...page('dependencies.md').matchAll(/^\| `([\w-]+\/[\w-]+)` \|/gm)].map(([, name = '']) => name);
  expect(rows.sort()).toEqual(names);
});

test('no script has an expression in it, whose value could be a command', () => {
  const scripts = workflowNames.flatMap((name) =>
    Object.values(workflow(name).jobs).flatMap(({ steps = [] }) => steps.flatMap(({ run }) => run ?? [])),
  );
  expect(scripts.length).toBeGreaterThan(10);
  expect(scripts.filter((run) => run.includes('${{'))).toEqual([]);
});

test('Helm and actionlint are in the versions that the tests build', () => {
  const built = page('../testing/cluster/control-plane.sh');
  const helm = /\bHELM=(v\S+)/.exec(built)?.[1];
  const used = workflowNames.flatMap((name) => [
    ...workflowText(name).matchAll(/setup-helm@.*\n\s+with:\n\s+version: (\S+)/g),
  ]);
  expect(used.map(([, version]) => version)).toEqual([helm, helm]);
  const actionlint = /\bACTIONLINT=v(\S+)/.exec(built)?.[1];
  expect(page('dependencies.md')).toContain(`rhysd/actionlint\` (${actionlint})`);
});
