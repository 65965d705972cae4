/**
 * Completes package-lock.json after `npm install`: `npm run lock`.
 *
 * npm writes only those platform packages (esbuild-style optional dependencies such as `@biomejs/cli-darwin-arm64`) into the lock file that
 * the registry in use could give it. Where a mirror lacks some, `npm ci` later refuses the file: "Missing: …@ from lock file". Each missing
 * one gets an entry with its version and platform, but without a checksum, which nobody here could know: npm skips it on other platforms,
 * and takes it from the registry on its own.
 */
import { readFile, writeFile } from 'node:fs/promises';

interface Entry {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const file = new URL('../package-lock.json', import.meta.url);
const OS = ['android', 'darwin', 'freebsd', 'linux', 'openbsd', 'netbsd', 'sunos', 'aix', 'openharmony', 'win32'];
const CPU = ['arm64', 'arm', 'x64', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64', 'mips64el', 'wasm32'];

/** The platform in a package's name; undefined for a package that is for none in particular. */
export function platformOf(name: string): Pick<Entry, 'os' | 'cpu' | 'libc'> | undefined {
  const words = name.split(/[/-]/);
  const os = OS.find((one) => words.includes(one));
  const cpu = CPU.find((one) => words.includes(one));
  if (cpu === undefined) return undefined;
  const libc = os !== 'linux' ? undefined : words.some((word) => word.startsWith('musl')) ? 'musl' : 'glibc';
  return { ...(os === undefined ? {} : { os: [os] }), cpu: [cpu], ...(libc === undefined ? {} : { libc: [libc] }) };
}

/** Adds the missing entries. Returns the names added. */
export function complete(packages: Record<string, Entry>): string[] {
  const added: string[] = [];
  for (const [parent, entry] of Object.entries({ ...packages })) {
    // Beside its parent: there no other version of it can be.
    const beside = parent.slice(0, parent.lastIndexOf('node_modules/') + 'node_modules/'.length);
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const platform = platformOf(name);
      if (parent === '' || platform === undefined) continue;
      if ([`${beside}${name}`, `node_modules/${name}`].some((place) => packages[place]?.version === version)) continue;
      packages[`${beside}${name}`] = { version, ...(entry.dev ? { dev: true } : {}), optional: true, ...platform };
      added.push(name);
    }
  }
  return added;
}

if (import.meta.main) {
  const lock: { packages: Record<string, Entry> } = JSON.parse(await readFile(file, 'utf8'));
  const added = complete(lock.packages);
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFile(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(
    added.length === 0
      ? 'nothing was missing'
      : `added without checksum:\n${added.map((name) => `  ${name}`).join('\n')}`,
  );
}
