/** A pod as a child process: what containerd does with an image, done with a command of this machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, open, readFile, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { TERMINATION_LOG_ENV } from '../../contract/runner-abi.ts';
import type { Clock } from '../../lib/clock.ts';
import { ContainerConfigError, type EnvSources, environmentOf, expand } from './env.ts';
import type { ContainerEnd, ContainerLife, RunPod } from './kubelet.ts';
import type { LocalPod } from './objects.ts';

/** Images by name; `command` stands for the image's entry point. */
export type Programs = Readonly<Record<string, { readonly command: readonly [string, ...string[]] }>>;

/** What running pods as processes needs to know. */
export interface ProcessOptions {
  readonly clock: Clock;
  readonly images: Programs;
  readonly sources: EnvSources;
  /** Directory for output, a file `POD.log` each; without it output is lost. */
  readonly logs?: string;
}

/** What a container image's own PATH usually is. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Kubernetes' limit for one container. */
const MAX_TERMINATION_MESSAGE_BYTES = 4096;

/**
 * Runs each pod as a process group in an empty directory. Its environment is what the pod's spec says, a PATH, and the file for the
 * termination message.
 */
export function runAsProcess(options: ProcessOptions): RunPod {
  return async (pod, life) => {
    const [container] = pod.spec.containers;
    const image = Object.hasOwn(options.images, container.image) ? options.images[container.image] : undefined;
    if (image === undefined) {
      life.waiting('ErrImagePull', `failed to pull image "${container.image}": not found`);
      return aborted(life.stopping);
    }
    let env: Record<string, string>;
    try {
      env = environmentOf(container, pod, options.sources);
    } catch (error) {
      if (!(error instanceof ContainerConfigError)) throw error;
      life.waiting('CreateContainerConfigError', error.message);
      return aborted(life.stopping);
    }
    const known = new Map(Object.entries(env));
    // The spec's command stands for the image's entry point, its args follow either.
    const entry = container.command.length === 0 ? image.command : container.command.map((part) => expand(part, known));
    const command = [...entry, ...container.args.map((part) => expand(part, known))];
    return run(command, env, pod, life, options);
  };
}

async function run(
  [file = '', ...args]: readonly string[],
  env: Record<string, string>,
  pod: LocalPod,
  life: ContainerLife,
  { clock, logs }: ProcessOptions,
): Promise<ContainerEnd> {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-pod-'));
  await using output = logs === undefined ? undefined : await open(join(logs, `${pod.metadata.name}.log`), 'a');
  const out = output?.fd ?? 'ignore';
  const terminationLog = join(directory.path, 'termination-log');
  await writeFile(terminationLog, '');
  const child = spawn(file, args, {
    cwd: directory.path,
    env: { PATH, ...env, [TERMINATION_LOG_ENV]: terminationLog },
    stdio: ['ignore', out, out],
    // A group of its own, so that nothing of it outlives it, as nothing outlives a container.
    detached: true,
  });
  await once(child, 'spawn');
  const exited = once(child, 'exit');
  life.started();
  const over = new AbortController();
  const stop = () => void endByForce(child, pod.spec.terminationGracePeriodSeconds * 1000, clock, over.signal);
  if (life.stopping.aborted) stop();
  else life.stopping.addEventListener('abort', stop, { once: true });
  try {
    const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null];
    const message = (await readFile(terminationLog)).subarray(0, MAX_TERMINATION_MESSAGE_BYTES).toString('utf8');
    return { exitCode: code ?? 128 + constants.signals[signal ?? 'SIGKILL'], message };
  } finally {
    over.abort();
    life.stopping.removeEventListener('abort', stop);
    signalGroup(child, 'SIGKILL');
  }
}

async function endByForce(child: ChildProcess, graceMs: number, clock: Clock, over: AbortSignal): Promise<void> {
  signalGroup(child, 'SIGTERM');
  await clock.sleep(graceMs, over);
  if (!over.aborted) signalGroup(child, 'SIGKILL');
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // Nothing of the group is left; macOS says EPERM while its leader is not collected.
    if (!(error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM'))) throw error;
  }
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort');
  return undefined;
}
