/** The executor's command line, as far as the stand-in can do what it asks for. Pure. */
import { KANIKO_FLAGS } from '../../kaniko/flags.ts';

/** What is to be built, and where it goes. */
export interface Options {
  /** A folder. */
  readonly context: string;
  readonly dockerfile: string;
  readonly destinations: readonly string[];
  readonly digestFile: string | undefined;
  readonly buildArgs: ReadonlyMap<string, string>;
  readonly target: string | undefined;
  readonly insecureRegistries: readonly string[];
  /** Further attempts. */
  readonly pushRetry: number;
  readonly downloadRetry: number;
  /** What was asked for and has no effect. */
  readonly withoutEffect: readonly string[];
}

const SWITCHES: readonly string[] = ['cache', 'single-snapshot', 'compressed-caching'];
const VALUES: readonly string[] = [
  'context',
  'dockerfile',
  'destination',
  'digest-file',
  'build-arg',
  'target',
  'cache-repo',
  'insecure-registry',
  'push-retry',
  'image-download-retry',
  'log-format',
];

/** Reads the arguments. Throws an error that names what is not known, not implemented or missing. */
export function parseFlags(args: readonly string[]): Options {
  const given = new Map<string, string[]>();
  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i] ?? '';
    const found = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg);
    if (!found) throw new Error(`unknown argument: ${arg}`);
    const [, name = '', value] = found;
    if (!KANIKO_FLAGS.includes(name)) throw new Error(`unknown flag: --${name}`);
    if (!SWITCHES.includes(name) && !VALUES.includes(name))
      throw new Error(`the stand-in for Kaniko cannot do --${name}`);
    const word = value ?? (SWITCHES.includes(name) ? 'true' : args[++i]);
    if (word === undefined) throw new Error(`flag needs an argument: --${name}`);
    given.set(name, [...(given.get(name) ?? []), word]);
  }
  const all = (name: string) => given.get(name) ?? [];
  const last = (name: string) => all(name).at(-1);
  const number = (name: string) => {
    const word = last(name) ?? '0';
    if (!/^\d+$/.test(word)) throw new Error(`invalid argument ${JSON.stringify(word)} for --${name}: not a number`);
    return Number(word);
  };

  const context = last('context') ?? 'dir:///workspace';
  if (!context.startsWith('dir://'))
    throw new Error(`the stand-in for Kaniko cannot do --context=${context}: dir://… only`);
  // With a cache Kaniko makes a layer of each step; this makes one, and says that it has no cache.
  if (last('single-snapshot') !== 'true' && last('cache') !== 'true')
    throw new Error('the stand-in for Kaniko cannot do without --single-snapshot');
  const format = last('log-format') ?? 'text';
  if (format !== 'text') throw new Error(`the stand-in for Kaniko cannot do --log-format=${format}: text only`);
  if (all('destination').length === 0) throw new Error('you must provide --destination, or use --no-push');
  return {
    context: context.slice('dir://'.length),
    dockerfile: last('dockerfile') ?? 'Dockerfile',
    destinations: all('destination'),
    digestFile: last('digest-file'),
    buildArgs: new Map(all('build-arg').map(pair)),
    target: last('target'),
    insecureRegistries: all('insecure-registry'),
    pushRetry: number('push-retry'),
    downloadRetry: number('image-download-retry'),
    withoutEffect: ['cache', 'cache-repo'].filter((name) => given.has(name) && last(name) !== 'false'),
  };
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new Error(`the stand-in for Kaniko cannot do --build-arg=${text}: NAME=VALUE only`);
  return [text.slice(0, at), text.slice(at + 1)];
}
