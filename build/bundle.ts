/**
 * Makes what the images carry: dist/operator/operator.mjs, dist/slipway/slipway.mjs (the command line, in the operator's image) and
 * dist/runner/runner.mjs, each with nothing beside it but chunks of its own.
 * Not minified, so that a stack trace from production can be read.
 *
 * A bundle is split at its dynamic imports and not forced into one file. As one file the runner has 5 MB, most of it document libraries,
 * and starts in 200 ms; split it starts in 35 ms for a handler that uses none of them. The operator gains 50 ms and 11 MiB.
 *
 *     npm run build
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OutputChunk, rolldown } from 'rolldown';
import { writeRunnerPackage } from './runner-package.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What is bundled, with the entry modules. */
const entries = {
  operator: { operator: 'operator/main.ts' },
  slipway: { slipway: 'cli/in-pod.ts', main: 'cli/main.ts' },
  runner: {
    runner: 'job-runner/main.ts',
    // The thread that reads documents is a program of its own.
    'extraction-worker': 'job-runner/documents/extraction-worker.ts',
  },
  // For handlers of one's own, see runner-package.ts. Apart: beside the runner it would bring all of zod into the runner's start.
  sdk: { sdk: 'job-runner/sdk.ts', testing: 'job-runner/testing.ts' },
} as const;

/** What is bundled. */
export type Program = keyof typeof entries;

/** All of them. */
export const programs = Object.keys(entries) as Program[];

/** Bundles a program into dist/, or only in memory. Returns its chunks, the entry first. */
export async function bundle(program: Program, options: { write: boolean } = { write: false }): Promise<OutputChunk[]> {
  await using build = await rolldown({
    input: entries[program],
    cwd: root,
    platform: 'node',
    // Two thirds of the operator's start and memory would be client-node's generated models, none of which it uses.
    treeshake: {
      moduleSideEffects: [{ test: /client-node\/dist\/(gen\/|(?!polyfill)[a-z_]+\.js$)/, sideEffects: false }],
    },
    onLog(level, log) {
      if (level === 'warn') throw new Error(`${program}: ${log.message}`);
    },
  });
  const { output } = await build[options.write ? 'write' : 'generate']({
    dir: `dist/${program}`,
    format: 'esm',
    entryFileNames: '[name].mjs',
    chunkFileNames: '[name].mjs',
    cleanDir: true,
  });
  return output.filter((file) => file.type === 'chunk').sort((a, b) => Number(b.isEntry) - Number(a.isEntry));
}

/** The packages of node_modules whose code stands in these chunks. */
export function packagesIn(chunks: readonly OutputChunk[]): string[] {
  const names = chunks
    .flatMap((chunk) => chunk.moduleIds)
    .map((id) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1])
    .filter((name) => name !== undefined);
  return [...new Set(names)].sort();
}

if (import.meta.main) {
  await rm(new URL('../dist', import.meta.url), { recursive: true, force: true });
  for (const program of programs) {
    for (const { fileName, code } of await bundle(program, { write: true })) {
      console.log(`dist/${program}/${fileName}`.padEnd(44), `${Math.ceil(code.length / 1024)} kB`);
    }
  }
  await writeRunnerPackage(join(root, 'dist/runner'));
}
