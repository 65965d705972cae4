/** The import arrows of the architecture, and the few files that may read environment, clock and randomness. */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { codeOf, type Import, importsOf, readSource, sourceFiles } from './source.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Arrows {
  readonly parts: readonly string[];
  readonly packages: readonly string[];
  /** Single files of further parts, each with the reason. */
  readonly files?: Readonly<Record<string, string>>;
}

/** What each part of the product may import: parts of the project, and packages. `node:` is free to all. */
const ARROWS: Readonly<Record<string, Arrows>> = {
  contract: { parts: [], packages: ['zod'] },
  lib: { parts: [], packages: ['pino'] },
  queue: { parts: ['contract', 'lib'], packages: ['@azure/storage-queue'] },
  webhook: { parts: ['contract', 'lib'], packages: ['ipaddr.js'] },
  kaniko: { parts: [], packages: [] },
  operator: {
    parts: ['kaniko', 'queue', 'webhook', 'contract', 'lib'],
    packages: [
      'zod',
      'yaml',
      'prom-client',
      '@kubernetes/client-node',
      '@azure/storage-blob',
      '@azure/arm-containerinstance',
      '@azure/identity',
    ],
  },
  cli: {
    parts: ['queue', 'contract', 'lib'],
    packages: ['commander', 'yaml', 'zod', '@kubernetes/client-node'],
    // Of the operator what is pure, its configuration, and its way to the API server; nothing that runs tasks.
    files: {
      'operator/config.ts': 'a configuration is judged as the operator judges it',
      'operator/config-schema.ts': 'types: the configuration file',
      'operator/ci/build.ts': 'pure: what a CI task would build',
      'kaniko/flags.ts': 'the flags that the builder has are data',
      'operator/aci/attempts.ts': 'pure: the container groups that stand on a Job',
      'operator/aci/lazy-groups.ts': 'container groups, asked for as the operator asks',
      'operator/aci/groups.ts': 'types: container groups',
      'operator/aci/terms.ts': 'pure: where groups are made',
      'operator/aci/obstacles.ts': 'pure: what of a pod template ACI cannot do',
      'operator/aci/arm-template.ts': 'pure: the container group that a task would be',
      'operator/permissions.ts': 'what the operator must be allowed is data',
      'operator/discover.ts': 'pure: the queues that a pattern takes',
      'operator/admission/slots.ts': 'pure: which Jobs count against a cap',
      'operator/jobs/manifest.ts': 'pure: the Job that a message would become',
      'operator/jobs/records.ts': 'pure: a Job as the operator reads it',
      'operator/jobs/api.ts': 'requests to the API server',
      'operator/jobs/kubernetes.ts': 'Jobs and pods, listed and watched as the operator does it',
      'operator/jobs/store.ts': 'types: what watching reports',
      'operator/jobs/notes.ts': 'pure: what the operator noted on a Job',
      'operator/jobs/outcome.ts': 'pure: how a task ended',
      'operator/settle/webhook-state.ts': 'pure: whether its webhook is owed',
      'operator/lease-object.ts': 'the Lease by which an operator shows that it runs',
    },
  },
  'job-runner': {
    parts: ['queue', 'webhook', 'contract', 'lib'],
    packages: [
      'zod',
      '@azure/storage-blob',
      '@supabase/supabase-js',
      'sax',
      'html-to-text',
      'mammoth',
      'marked',
      'openai',
      'unpdf',
    ],
  },
};

/** Packages that only some files may import while the program runs; types are free. */
const KEPT: readonly (readonly [packageName: string, files: readonly string[]])[] = [
  ['@kubernetes/client-node', ['operator/jobs/api.ts', 'operator/main.ts', 'cli/cluster.ts']],
  ['@azure/storage-queue', ['queue/service.ts', 'queue/inspect.ts']],
  ['@azure/storage-blob', ['operator/settle/stored-result.ts', 'job-runner/blob-store.ts']],
  ['@azure/arm-containerinstance', ['operator/aci/azure.ts']],
  ['@azure/identity', ['operator/aci/azure.ts']],
  ['sax', ['job-runner/ci/junit.ts']],
  ['openai', ['job-runner/analysis/openai.ts']],
  ['@supabase/supabase-js', ['job-runner/supabase/documents.ts']],
  ['commander', ['cli/program.ts', 'cli/poison-commands.ts', 'cli/task-commands.ts', 'cli/explain-command.ts']],
  ['pino', ['lib/log.ts']],
  ['prom-client', ['operator/metrics.ts']],
];

/** What may be used in one place only, and where. */
const SOURCES: readonly (readonly [what: string, pattern: RegExp, files: readonly string[]])[] = [
  [
    'the environment',
    /\bprocess\b(?!\s*\.\s*(?!env\b))/,
    ['cli/config.ts', 'operator/config.ts', 'job-runner/config.ts'],
  ],
  [
    'clock, timers and randomness',
    /\bDate\s*\.\s*now\b|\bnew Date\(\s*\)|\bset(Timeout|Interval|Immediate)\b|\bperformance\b|\bhrtime\b|\bAbortSignal\s*\.\s*timeout\b|\bMath\s*\.\s*random\b|\brandom(UUID|Bytes|Int)\b/,
    ['lib/clock.ts'],
  ],
];

const isTest = (path: string) => path.endsWith('.test.ts');
const product = Object.keys(ARROWS).flatMap((part) => sourceFiles(ROOT, part).filter((path) => !isTest(path)));

/** The file that an import leads to; undefined for a package. */
function fileOf(file: string, { from }: Import): string | undefined {
  if (from.startsWith('#/')) return from.slice(2);
  return from.startsWith('.') ? normalize(join(dirname(file), from)) : undefined;
}

function packageOf(from: string): string {
  return from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/');
}

/** What is wrong with the imports of a file of the product. */
function wrongImports(file: string, imports: readonly Import[]): string[] {
  const own = file.split('/')[0] ?? '';
  const allowed: Arrows = ARROWS[own] ?? { parts: [], packages: [] };
  return imports
    .filter((one) => !one.from.startsWith('node:'))
    .filter((one) => {
      const target = fileOf(file, one);
      if (target === undefined) return !allowed.packages.includes(packageOf(one.from));
      const part = target.split('/')[0] ?? '';
      return part !== own && !allowed.parts.includes(part) && allowed.files?.[target] === undefined;
    })
    .map((one) => `${file} → ${one.from}`);
}

/** What is wrong with where the packages of few files are imported. */
function wrongPlaces(file: string, imports: readonly Import[]): string[] {
  return KEPT.flatMap(([name, files]) =>
    imports
      .filter(({ from, typeOnly }) => !typeOnly && packageOf(from) === name && !files.includes(file))
      .map(() => `${file} → ${name}`),
  );
}

describe('the product', () => {
  const imports = new Map(product.map((file) => [file, importsOf(readSource(ROOT, file))]));

  test('has the parts that the arrows are about', () => {
    for (const part of Object.keys(ARROWS)) expect(existsSync(join(ROOT, part)), part).toBe(true);
    expect(product.length).toBeGreaterThan(50);
  });

  test('imports along the arrows only: neither tests nor tools, and no other part', () => {
    expect([...imports].flatMap(([file, all]) => wrongImports(file, all))).toEqual([]);
  });

  test('uses every single file that is allowed', () => {
    for (const [part, { files = {} }] of Object.entries(ARROWS)) {
      const used = [...imports].flatMap(([file, all]) =>
        file.startsWith(`${part}/`) ? all.map((one) => fileOf(file, one)) : [],
      );
      expect(Object.keys(files).filter((file) => !used.includes(file))).toEqual([]);
    }
  });

  test('keeps each SDK in its place', () => {
    expect([...imports].flatMap(([file, all]) => wrongPlaces(file, all))).toEqual([]);
  });

  test.each(SOURCES)('reads %s in one place only', (_, pattern, files) => {
    const using = product.filter((file) => pattern.test(codeOf(readSource(ROOT, file))));
    expect(using.filter((file) => !files.includes(file))).toEqual([]);
    expect(using.length).toBeGreaterThan(0);
  });

  test('imports every file of its own with its ending', () => {
    const own = [...imports].flatMap(([, all]) => all.filter(({ from }) => /^[.#]/.test(from)));
    expect(own.length).toBeGreaterThan(100);
    expect(own.filter(({ from }) => !/\.(ts|json)$/.test(from))).toEqual([]);
  });
});

describe('the check itself', () => {
  test('finds every kind of import', () => {
    const source = `
      import a from 'a';
      import type { B } from "b";
      import { type C, c } from './c.ts';
      import d, * as e from '#/lib/d.ts';
      import {
        f,
        g,
      } from 'f/deep';
      import 'side-effect';
      export { h } from './h.ts';
      export type { I } from './i.ts';
      export * from '@scope/j/deep';
      export const k = 'from nowhere';
      const l = await import('l');
      // import m from 'm';
      /* import n from 'n'; */
      const o = "import p from 'p'";
    `;
    const found = importsOf(source);
    expect(found.map(({ from }) => from).toSorted()).toEqual(
      ['a', 'b', './c.ts', '#/lib/d.ts', 'f/deep', './h.ts', './i.ts', '@scope/j/deep', 'side-effect', 'l'].toSorted(),
    );
    expect(found.filter(({ typeOnly }) => typeOnly).map(({ from }) => from)).toEqual(['b', './i.ts']);
  });

  test('sees an arrow that is not allowed', () => {
    const arrows = (file: string, ...from: string[]) =>
      wrongImports(
        file,
        from.map((one) => ({ from: one, typeOnly: false })),
      );
    expect(arrows('contract/a.ts', 'zod', 'node:crypto', './b.ts')).toEqual([]);
    expect(arrows('contract/a.ts', '../lib/b.ts', 'pino')).toHaveLength(2);
    expect(arrows('lib/a.ts', '../testing/b.ts', '#/testing/b.ts', 'zod')).toHaveLength(3);
    expect(arrows('operator/jobs/a.ts', '../b.ts', '../../queue/c.ts', '../../job-runner/d.ts')).toEqual([
      'operator/jobs/a.ts → ../../job-runner/d.ts',
    ]);
    expect(arrows('cli/a.ts', '../operator/jobs/api.ts', '../operator/reconcile.ts', '../webhook/b.ts')).toEqual([
      'cli/a.ts → ../operator/reconcile.ts',
      'cli/a.ts → ../webhook/b.ts',
    ]);
    expect(arrows('queue/a.ts', '../webhook/b.ts', '../operator/c.ts', '@azure/storage-queue/x')).toHaveLength(2);
  });

  test('sees an SDK outside of its place, but lets types be', () => {
    const place = (file: string, typeOnly: boolean) =>
      wrongPlaces(file, [{ from: '@kubernetes/client-node', typeOnly }]);
    expect(place('operator/jobs/manifest.ts', true)).toEqual([]);
    expect(place('operator/jobs/manifest.ts', false)).toHaveLength(1);
    expect(place('operator/jobs/api.ts', false)).toEqual([]);
  });

  test.each([
    ['Date.now()', true],
    ['new Date()', true],
    ['new Date(ms)', false],
    ['await setTimeout(5)', true],
    ['Math.random()', true],
    ["'Date.now()'", false],
    ['// Date.now()', false],
    ['`setTimeout`', false],
    ['/[\'"]/.test(x); Date.now()', true],
    ['a / b; Date.now() / c', true],
  ])('whether %s reads the clock: %s', (code, expected) => {
    expect(SOURCES[1]?.[1].test(codeOf(`const x = ${code};`))).toBe(expected);
  });

  test.each([
    ['process.env.X', true],
    ['const { env } = process;', true],
    ['process.exitCode = 1', false],
    ['process.on(signal)', false],
    ["process['env']", true],
    ['environment', false],
  ])('whether %s reads the environment: %s', (code, expected) => {
    expect(SOURCES[0]?.[1].test(codeOf(code))).toBe(expected);
  });
});
