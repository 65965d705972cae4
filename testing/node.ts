import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binDirectory, ensureBinaries } from '#/testing/binaries.ts';
import { cacheDirectory } from '#/testing/cache.ts';
import { type Cluster, cluster } from '#/testing/kubernetes.ts';
import { service } from '#/testing/service.ts';
import { run } from '#/testing/shell.ts';

/** A cluster with one real node: containerd, kubelet, kube-proxy, DNS and a registry, in a network namespace of their own. */
export interface RealNode extends Cluster, AsyncDisposable {
  /** The registry as pods and this process name it. Holds `busybox:1`, `base:26` (Node.js) and what was pushed. */
  readonly registry: string;
  /** The address at which pods reach servers of this process; listen on it, not on loopback. */
  readonly hostAddress: string;
  /** Puts an image archive (`docker save`, or OCI) into the registry, as `name:tag`. Returns the name pods use. */
  push(archive: string, name: string): Promise<string>;
  /** Starts a command in the node's network namespace; pods reach what it serves at {@link nodeAddress}. Ends with the node. */
  inside(command: string, args: readonly string[], env?: Record<string, string>): Inside;
  /** Ends the kubelet as a crash does: containers run on, and nobody tells of them. */
  killKubelet(): Promise<void>;
  startKubelet(): Promise<void>;
  /** The node's own address, where servers started by {@link inside} are reached from pods and from this process. */
  readonly nodeAddress: string;
}

/** A command that runs in the node's network namespace. */
interface Inside extends AsyncDisposable {
  readonly process: ChildProcess;
  /** Ends it and waits for its end. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const namespace = 'slipway';
const nodeAddress = '10.255.0.1';
const hostAddress = '10.255.2.1';
const registry = `${nodeAddress}:5000`;

/** Starts and stops the node; `up` and `down`. */
const script = fileURLToPath(new URL('./cluster/node/node.sh', import.meta.url));
const kubeletScript = fileURLToPath(new URL('./cluster/node/kubelet.sh', import.meta.url));

/**
 * Starts the node, about 10 s; Linux and root only. There can be one a machine: rejects with its holder's name when it is in use.
 * Removes first what a machine that lost power has left of one. Disposing of it removes processes, mounts, cgroups and the namespace,
 * and so does the end of this process.
 */
export async function startNode(): Promise<RealNode> {
  await ensureBinaries('build');
  await ensureBinaries('node');
  const state = join(cacheDirectory, 'node/run');
  const env = {
    BIN: binDirectory,
    RUN: state,
    CACHE: cacheDirectory,
    NS: namespace,
    HOST: nodeAddress,
    OUTSIDE: hostAddress,
  };
  const started = await service({ name: 'node', script, lock: 'node', env: () => env });
  return {
    ...cluster(join(state, 'admin.kubeconfig'), binDirectory, started.directory),
    registry,
    hostAddress,
    nodeAddress,
    push,
    inside,
    killKubelet: async () => void (await run(kubeletScript, ['kill'], { env })),
    startKubelet: async () => void (await run(kubeletScript, ['start'], { env })),
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

async function push(archive: string, name: string): Promise<string> {
  const image = `${registry}/${name}`;
  const listing = await run('tar', ['-tf', archive]);
  const source = listing.includes('oci-layout') ? 'oci-archive' : 'docker-archive';
  await run('skopeo', [
    '--insecure-policy',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    `${source}:${archive}`,
    `docker://${image}`,
  ]);
  return image;
}

function inside(command: string, args: readonly string[], env: Record<string, string> = {}): Inside {
  const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, command, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    await exited;
  };
  return { process: child, stop, [Symbol.asyncDispose]: () => stop() };
}
