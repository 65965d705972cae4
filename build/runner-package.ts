/**
 * Makes dist/runner a package, `slipway-runner`, that handlers are written with and tested by: the bundle, the types of what it exports, and
 * a command of its name. It is what the image has under /app, where modules beneath it find it as `slipway-runner` too.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { VERSION } from '../lib/version.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const NAME = 'slipway-runner';
/** What can be imported: subpath → module of the sdk's bundle, and its source. */
const EXPORTS = { '.': ['sdk', 'job-runner/sdk.ts'], './testing': ['testing', 'job-runner/testing.ts'] } as const;

/** Writes what a package has beside its bundle. */
export async function writeRunnerPackage(directory: string): Promise<void> {
  await cp(join(root, 'dist/sdk'), join(directory, 'sdk'), { recursive: true });
  // What pdf.ts reads: data, not code.
  await cp(join(root, 'node_modules/pdfjs-dist/cmaps'), join(directory, 'cmaps'), { recursive: true });
  await writeTypes(join(directory, 'types'));
  const own = Object.entries(EXPORTS).map(([path, [module, source]]) => [
    path,
    { types: `./types/${source.replace(/\.ts$/, '.d.ts')}`, default: `./sdk/${module}.mjs` },
  ]);
  const { dependencies, license } = createRequire(import.meta.url)('../package.json') as PackageJson;
  const manifest = {
    name: NAME,
    version: VERSION,
    description: 'Runs task handlers of Slipway: what they are written with, tested by and run in.',
    license,
    type: 'module',
    engines: { node: '>=24' },
    bin: { [NAME]: './slipway-runner.mjs' },
    exports: Object.fromEntries(own),
    // For its types alone: the bundle has its own.
    dependencies: { zod: dependencies['zod'] },
  };
  await writeJson(join(directory, 'package.json'), manifest);
  await writeFile(join(directory, 'slipway-runner.mjs'), "#!/usr/bin/env node\nimport './runner.mjs';\n", {
    mode: 0o755,
  });
  await writeInner(join(directory, 'node_modules', NAME));
}

interface PackageJson {
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

/**
 * The same under node_modules, for handlers beneath the package that have a package.json of their own: Node.js looks for the nearest one, and
 * then in node_modules on the way up.
 */
async function writeInner(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [module] of Object.values(EXPORTS))
    await writeFile(join(directory, `${module}.mjs`), `export * from '../../sdk/${module}.mjs';\n`);
  const own = Object.entries(EXPORTS).map(([path, [module]]) => [path, `./${module}.mjs`]);
  await writeJson(join(directory, 'package.json'), { name: NAME, type: 'module', exports: Object.fromEntries(own) });
}

async function writeTypes(directory: string): Promise<void> {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const sources = Object.values(EXPORTS).map(([, source]) => join(root, source));
  const options = [
    '--ignoreConfig',
    '--declaration',
    '--emitDeclarationOnly',
    '--noEmit',
    'false',
    '--outDir',
    directory,
    '--rootDir',
    root,
  ];
  const like = [
    '--target',
    'ES2024',
    '--module',
    'nodenext',
    '--types',
    'node',
    '--strict',
    '--skipLibCheck',
    '--rewriteRelativeImportExtensions',
  ];
  const lib = [
    '--lib',
    'ES2025,ESNext.Disposable,ESNext.Array,ESNext.Promise',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
  ];
  await promisify(execFile)(process.execPath, [tsc, ...options, ...like, ...lib, ...sources], { cwd: root });
}

async function writeJson(file: string, value: object): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, undefined, 2)}\n`);
}
