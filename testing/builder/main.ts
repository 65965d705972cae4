/**
 * A stand-in for Kaniko's executor, for tests: see README.md. It takes the executor's arguments, builds in its own container's root folder and
 * pushes to a registry; what it cannot do ends it with an error that names it. Errors begin as Kaniko's do, and exit codes are its own.
 */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { KANIKO_FLAGS } from '../../kaniko/flags.ts';
import { type Instruction, parseDockerfile } from './dockerfile.ts';
import { type Options, parseFlags } from './flags.ts';
import { ignores } from './ignore.ts';
import { describe, extend, type Image, pull, push, SCRATCH } from './image.ts';
import { copySource, metaArgs, plan } from './plan.ts';
import { openRepository, parseReference } from './registry.ts';
import { clear, OWN, readIgnored, takeSnapshot, unlessGone, unpack, writeLayer } from './root.ts';
import { executeStage, RunFailed } from './stage.ts';

const SCRATCH_ENV = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
const RETRY_MS = 1000;

/** As Kaniko writes them without a terminal. */
function log(level: 'info' | 'warning', text: string): void {
  const time = new Date().toISOString().replace(/\.\d+/, '');
  process.stderr.write(`time="${time}" level=${level} msg=${JSON.stringify(text)}\n`);
}

/** Puts words before what an error says, and keeps its kind. */
async function during<T>(words: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error) error.message = `${words}: ${error.message}`;
    throw error;
  }
}

async function retried<T>(more: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (more === 0) throw error;
    log('warning', `retrying in ${RETRY_MS} ms: ${String(error)}`);
    await setTimeout(RETRY_MS);
    return retried(more - 1, work);
  }
}

/** What is found to be wrong before anything is done. Kaniko's library for command lines then explains every flag, and so the error is not last. */
async function prepare(args: readonly string[]) {
  const options = parseFlags(args);
  return { options, dockerfile: await during('error resolving dockerfile path', () => findDockerfile(options)) };
}

function usage(): string {
  const flags = KANIKO_FLAGS.map((name) => `      --${name.padEnd(40)} Kaniko says here what this flag is for.\n`).join(
    '',
  );
  return `Usage:\n  executor [flags]\n\nFlags:\n${flags}\nUse "executor [command] --help" for more information about a command.\n`;
}

async function execute(options: Options, dockerfile: string): Promise<void> {
  const { destinations, insecureRegistries } = options;
  for (const flag of options.withoutEffect)
    log('warning', `the stand-in for Kaniko takes --${flag}, which has no effect`);
  await during('error checking push permissions', async () => {
    for (const name of destinations)
      await during(`checking push permission for "${name}"`, () =>
        openRepository(parseReference(name), insecureRegistries).checkPush(),
      );
  });
  const image = await during('error building image', () => build(options, dockerfile));
  const described = describe(image);
  await during('error pushing image', async () => {
    // Before the push, as Kaniko does: that it is there does not say that the image is.
    if (options.digestFile !== undefined) {
      await mkdir(dirname(options.digestFile), { recursive: true });
      await writeFile(options.digestFile, described.digest);
    }
    for (const name of destinations) {
      log('info', `Pushing image to ${name}`);
      await during(`failed to push to destination ${name}`, () =>
        retried(options.pushRetry, () => push(image, described, name, insecureRegistries)),
      );
      log('info', `Pushed ${name}@${described.digest}`);
    }
  });
}

async function findDockerfile({ context, dockerfile }: Options): Promise<string> {
  for (const path of [resolve(dockerfile), join(context, dockerfile)]) {
    if ((await stat(path).catch(unlessGone))?.isFile()) return path;
  }
  throw new Error('please provide a valid path to a Dockerfile within the build context with --dockerfile');
}

async function build(options: Options, dockerfile: string): Promise<Image> {
  const { stages, args } = await during('parsing dockerfile', async () =>
    parseDockerfile(await readFile(dockerfile, 'utf8')),
  );
  const meta = metaArgs(args, options.buildArgs);
  const planned = plan(stages, meta, options.target);
  const patterns = [`${dockerfile}.dockerignore`, join(options.context, '.dockerignore')].map((path) =>
    readFile(path, 'utf8').catch(unlessGone),
  );
  const excluded = ignores((await Promise.all(patterns)).find((text) => text !== undefined) ?? '');
  const ignored = await readIgnored();
  const built = new Map<number, { readonly image: Image; readonly args: ReadonlyMap<string, string> }>();
  const fetched = (name: string) => retried(options.downloadRetry, () => pull(name, options.insecureRegistries));

  const sourceOf = async (instruction: Instruction) => {
    const from = copySource(instruction, stages);
    if (from === undefined) return undefined;
    const folder = join(OWN, 'deps', encodeURIComponent(from));
    if (await stat(folder).catch(unlessGone)) return folder;
    const source = typeof from === 'number' ? built.get(from)?.image : await fetched(from);
    await mkdir(folder, { recursive: true });
    for (const layer of source?.layers ?? []) await unpack(layer.file, folder, () => false);
    return folder;
  };

  let image = SCRATCH;
  for (const { base, instructions, index } of planned) {
    log('info', `Building stage '${base}' [idx: '${index}']`);
    const below = typeof base === 'number' ? built.get(base) : undefined;
    const from = below?.image ?? (base === 'scratch' ? SCRATCH : await fetched(String(base)));
    const { OnBuild, ...config } = from.file.config ?? {};
    if (OnBuild && OnBuild.length > 0) throw new Error(`the stand-in for Kaniko cannot do ONBUILD, which ${base} has`);
    if (index !== planned[0]?.index) await clear(ignored);
    for (const layer of from.layers) await unpack(layer.file, '/', ignored);
    const before = await takeSnapshot(ignored);
    const done = await during('error building stage', () =>
      executeStage(instructions, {
        config: { ...config, Env: config.Env ?? SCRATCH_ENV },
        args: below?.args ?? new Map(),
        given: options.buildArgs,
        meta,
        context: options.context,
        excluded,
        ignored,
        sourceOf,
        log: (text) => log('info', text),
      }),
    );
    const by = instructions.at(-1)?.original;
    await mkdir(join(OWN, 'layers'), { recursive: true });
    const layer = by === undefined ? undefined : await writeLayer(join(OWN, 'layers', String(index)), before, ignored);
    image = extend(from, done.config, layer && { layer, by: by ?? '' });
    built.set(index, { image, args: done.args });
  }
  return { ...image, file: { ...image.file, ...{ created: new Date().toISOString() } } };
}

function failed(code: number, text: string): undefined {
  process.stderr.write(`${text}\n`);
  process.exitCode = code;
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));
const prepared = await prepare(process.argv.slice(2)).catch((error) =>
  failed(1, `Error: ${message(error)}\n${usage()}`),
);
if (prepared !== undefined) {
  await execute(prepared.options, prepared.dockerfile).catch((error) =>
    failed(error instanceof RunFailed ? error.exitCode : 1, message(error)),
  );
}
