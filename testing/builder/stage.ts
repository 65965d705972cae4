/** The instructions of one stage, executed one after the other. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, normalize, resolve } from 'node:path';
import { copy, MissingSource } from './copy.ts';
import type { Instruction } from './dockerfile.ts';
import type { RunConfig } from './image.ts';
import { type Ignored, unlessGone } from './root.ts';
import { type Accounts, ownerOf, runnerOf } from './users.ts';
import { expand, pairs, words } from './words.ts';

/** A RUN that failed: the executor ends with its code. */
export class RunFailed extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`waiting for process to exit: exit status ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** What a stage begins with, and what it can ask for. */
export interface StageContext {
  readonly config: RunConfig;
  /** ARGs of the stage that this one is based on. */
  readonly args: ReadonlyMap<string, string>;
  /** By --build-arg. */
  readonly given: ReadonlyMap<string, string>;
  /** Before the first FROM. */
  readonly meta: ReadonlyMap<string, string>;
  readonly context: string;
  /** By .dockerignore. */
  readonly excluded: (path: string) => boolean;
  readonly ignored: Ignored;
  /** The folder of what a COPY --from names. */
  readonly sourceOf: (instruction: Instruction) => Promise<string | undefined>;
  readonly log: (text: string) => void;
}

/** Given to a RUN without an ARG. */
const PROXIES = ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'all_proxy'].flatMap((one) => [
  one,
  one.toUpperCase(),
]);
/** Set by Kaniko from the platform, where an ARG names them. */
const PREDEFINED = /^(?:TARGET(?:PLATFORM|OS|ARCH|VARIANT|STAGE)|BUILD(?:PLATFORM|OS|ARCH|VARIANT))$/;
const SHELL = ['/bin/sh', '-c'];

/** Executes them in this container's root; gives the configuration and the ARGs that then hold. */
export async function executeStage(instructions: readonly Instruction[], stage: StageContext) {
  const config: RunConfig = { ...stage.config };
  const args = new Map(stage.args);
  for (const instruction of instructions) {
    stage.log(instruction.original);
    await execute(instruction, config, args, stage).catch((error: Error) => {
      if (!(error instanceof MissingSource)) error.message = `failed to execute command: ${error.message}`;
      throw error;
    });
  }
  // An image's CMD does not go with another ENTRYPOINT.
  const has = (name: string) => instructions.some((one) => one.name === name);
  if (has('ENTRYPOINT') && !has('CMD')) config.Cmd = null;
  return { config, args };
}

async function execute(
  instruction: Instruction,
  config: RunConfig,
  args: Map<string, string>,
  stage: StageContext,
): Promise<void> {
  const { name, text, list } = instruction;
  const env = environment(config, args, stage.given);
  const filled = (word: string) => expand(word, env);
  const workdir = config.WorkingDir || '/';
  switch (name) {
    case 'ARG':
      for (const word of words(text)) declare(word, filled, args, stage);
      return;
    case 'ENV':
      for (const [key, value] of pairs(text).map((pair) => pair.map(filled))) {
        if (key === undefined || value === undefined) continue;
        const others = config.Env ?? [];
        const at = others.findIndex((one) => one.startsWith(`${key}=`));
        config.Env = at < 0 ? [...others, `${key}=${value}`] : others.with(at, `${key}=${value}`);
        args.delete(key);
      }
      return;
    case 'LABEL':
      config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(text).map((pair) => pair.map(filled))) };
      return;
    case 'EXPOSE':
      for (const port of words(text).map(filled)) {
        const full = port.includes('/') ? port : `${port}/tcp`;
        if (!/^\d+(?:-\d+)?\/(?:tcp|udp)$/.test(full)) throw new Error(`invalid exposed port: ${port}`);
        config.ExposedPorts = { ...config.ExposedPorts, [full]: {} };
      }
      return;
    case 'CMD':
      config.Cmd = list ?? [...SHELL, text];
      return;
    case 'ENTRYPOINT':
      config.Entrypoint = list ?? [...SHELL, text];
      return;
    case 'USER':
      config.User = text.split(':').map(filled).join(':');
      return;
    case 'WORKDIR':
      config.WorkingDir = resolve(workdir, normalize(filled(text)));
      return makeWorkdir(config, env);
    case 'COPY':
      return copyFiles(instruction, config, env, stage);
    case 'RUN':
      return run(list ?? [...SHELL, text], config, env);
    default:
      throw new Error(`${name} may not stand here`);
  }
}

/** What variables are put in from: ARGs go before what ENV has set earlier. */
function environment(config: RunConfig, args: ReadonlyMap<string, string>, given: ReadonlyMap<string, string>) {
  const set = (config.Env ?? []).map((one): [string, string] => [
    one.slice(0, one.indexOf('=')),
    one.slice(one.indexOf('=') + 1),
  ]);
  const proxies = PROXIES.flatMap((name): [string, string][] =>
    given.has(name) ? [[name, given.get(name) ?? '']] : [],
  );
  return new Map([...set, ...proxies, ...args]);
}

function declare(
  word: string,
  filled: (word: string) => string,
  args: Map<string, string>,
  { given, meta }: StageContext,
): void {
  const [, name = '', value] = /^([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
  const set = given.get(name) ?? (value === undefined ? meta.get(name) : filled(value));
  if (set !== undefined) args.set(name, set);
  else if (PREDEFINED.test(name))
    throw new Error(`the stand-in for Kaniko cannot do ARG ${name}: it sets no predefined ones`);
}

async function makeWorkdir(
  { WorkingDir = '/', User = '' }: RunConfig,
  env: ReadonlyMap<string, string>,
): Promise<void> {
  if (await stat(WorkingDir).catch(unlessGone)) return;
  await mkdir(WorkingDir, { recursive: true });
  const { uid, gid } = User === '' ? { uid: 0, gid: 0 } : ownerOf(expand(User, env), await accounts());
  await chown(WorkingDir, uid, gid);
}

async function copyFiles(
  instruction: Instruction,
  config: RunConfig,
  env: ReadonlyMap<string, string>,
  stage: StageContext,
): Promise<void> {
  const { flags, list, text } = instruction;
  const paths = (list ?? text.split(/\s+/)).map((word) => expand(word, env));
  const destination = paths.pop();
  if (destination === undefined || paths.length === 0)
    throw new Error('COPY requires at least two arguments, a source and a destination');
  const from = await stage.sourceOf(instruction);
  const chmod = flags.get('chmod');
  const mode = chmod === undefined ? undefined : expand(chmod, env);
  if (mode !== undefined && !/^[0-7]{3,4}$/.test(mode))
    throw new Error(`the stand-in for Kaniko cannot do --chmod=${mode}: octal only`);
  // As in Kaniko: what comes from the context belongs to USER, what comes from a stage to whom it belonged there.
  const owner = flags.get('chown') ?? (from === undefined ? config.User || '0:0' : undefined);
  await copy({
    root: from ?? stage.context,
    sources: paths,
    destination,
    workdir: config.WorkingDir || '/',
    owner: owner === undefined ? undefined : ownerOf(expand(owner, env), await accounts()),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
    excluded: from === undefined ? stage.excluded : () => false,
    ignored: stage.ignored,
  });
}

async function run(command: readonly string[], config: RunConfig, env: ReadonlyMap<string, string>): Promise<void> {
  const [program = '', ...rest] = command;
  const { uid, gid, home } = runnerOf(expand(config.User ?? '', env), await accounts());
  const workdir = config.WorkingDir || '/';
  const cwd = (await stat(workdir).catch(unlessGone)) ? workdir : '/';
  if (!(await mayEnter(cwd, uid, gid))) throw new Error(`starting command: fork/exec ${program}: permission denied`);
  const child = spawn(program, rest, {
    cwd,
    env: { HOME: home, ...Object.fromEntries(env) },
    uid,
    gid,
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true, // a process group of its own, which is ended with it
  });
  const [code] = (await once(child, 'exit').catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === 'ENOENT' ? 'no such file or directory' : error.message;
    throw new Error(`starting command: fork/exec ${program}: ${reason}`);
  })) as [number | null];
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // it has left nothing behind
  }
  if (code !== 0) throw new RunFailed(code ?? 255);
}

/** Kaniko enters the folder as that user, Node.js before it becomes one. */
async function mayEnter(folder: string, uid: number, gid: number): Promise<boolean> {
  const stats = await stat(folder);
  const bit = stats.uid === uid ? 0o100 : stats.gid === gid ? 0o010 : 0o001;
  if (uid !== 0 && (stats.mode & bit) === 0) return false;
  return folder === '/' || mayEnter(dirname(folder), uid, gid);
}

async function accounts(): Promise<Accounts> {
  const read = async (name: string) => (await readFile(join('/etc', name), 'utf8').catch(unlessGone)) ?? '';
  return { passwd: await read('passwd'), group: await read('group') };
}
