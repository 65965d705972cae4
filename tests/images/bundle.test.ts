import { builtinModules } from 'node:module';
import type { OutputChunk } from 'rolldown';
import { beforeAll, expect, test } from 'vitest';
import { bundle, type Program, packagesIn, programs } from '#/build/bundle.ts';

const documents = ['unpdf', 'mammoth', 'html-to-text', 'marked'];
const models = ['openai', '@supabase/supabase-js'];

/** What must not be in a bundle: it would only make an image larger and a process slower to start. */
const excluded: Record<Program, readonly string[]> = {
  operator: [...documents, ...models, 'azurite'],
  slipway: [...documents, ...models, 'azurite', 'prom-client'],
  runner: ['@kubernetes/client-node', 'prom-client', 'azurite'],
  sdk: [...documents, ...models, '@azure/storage-blob', '@kubernetes/client-node', 'prom-client'],
};

const bundles = {} as Record<Program, readonly OutputChunk[]>;
beforeAll(async () => {
  for (const program of programs) bundles[program] = await bundle(program);
});

test.each(programs)('%s: holds no package that is not its own', (program) => {
  const packages = packagesIn(bundles[program]);
  expect(packages).toContain('zod');
  expect(packages.filter((name) => excluded[program].includes(name))).toEqual([]);
});

test.each(programs)('%s: needs no package at run time', (program) => {
  const chunks = bundles[program];
  const files = new Set(chunks.map((chunk) => chunk.fileName));
  const outside = chunks
    .flatMap((chunk) => [...chunk.imports, ...chunk.dynamicImports])
    .filter((name) => !files.has(name));
  expect(outside.filter((name) => !name.startsWith('node:') && !builtinModules.includes(name))).toEqual([]);
});

test('runner: starts without the libraries that only some handlers use', () => {
  const atStart = packagesIn(loadedAtStart(bundles.runner));
  const lazy = [...documents, ...models, '@azure/storage-blob'];
  expect(atStart.filter((name) => lazy.includes(name))).toEqual([]);
  expect(packagesIn(bundles.runner)).toEqual(expect.arrayContaining([...documents, '@azure/storage-blob']));
});

/** The entry and what it imports, at any depth, other than by `import()`. */
function loadedAtStart(chunks: readonly OutputChunk[]): OutputChunk[] {
  const loaded = new Set(chunks.filter((chunk) => chunk.isEntry));
  for (const chunk of loaded) {
    for (const other of chunks) if (chunk.imports.includes(other.fileName)) loaded.add(other);
  }
  return [...loaded];
}
