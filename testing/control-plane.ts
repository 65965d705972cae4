import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binDirectory, controlPlaneScript, ensureBinaries } from '#/testing/binaries.ts';
import { type Cluster, cluster } from '#/testing/kubernetes.ts';
import { service } from '#/testing/service.ts';

/** A cluster without nodes of its own, or the reader's. */
export interface ControlPlane extends Cluster, AsyncDisposable {
  /** Whether this is the cluster of `KUBECONFIG_TEST`: then its pods are run by its own nodes, and no stage applies. */
  readonly foreign: boolean;
}

/** What a control plane is started with. */
export interface ControlPlaneOptions {
  /** KWOK stages (see kwok.ts). With any, there is a node `kwok` whose pods pass through them; without, pods stay pending. */
  readonly stages?: readonly object[];
}

/**
 * Starts etcd, API server, controller manager and scheduler on loopback, on ports of their own, and KWOK where stages are given; about
 * 6 s. Builds the binaries first where they are missing. Disposing of it stops exactly these processes and removes their files, and so
 * does the end of this process.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const theirs = process.env['KUBECONFIG_TEST'];
  if (theirs !== undefined) return foreignCluster(theirs);
  await ensureBinaries('build');
  const port = await freePorts(5);
  const started = await service({
    name: 'control-plane',
    script: controlPlaneScript,
    async env(directory) {
      const env = { BIN: binDirectory, RUN: join(directory, 'run'), PORT: String(port) };
      if (options.stages === undefined) return env;
      const file = join(directory, 'stages.yaml');
      await writeFile(file, options.stages.map((stage) => JSON.stringify(stage)).join('\n---\n'));
      return { ...env, STAGES: file };
    },
  });
  return {
    ...cluster(join(started.directory, 'run/admin.kubeconfig'), binDirectory, started.directory),
    foreign: false,
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

async function foreignCluster(kubeconfig: string): Promise<ControlPlane> {
  const state = await mkdtempDisposable(join(tmpdir(), 'slipway-helm-'));
  return { ...cluster(kubeconfig, undefined, state.path), foreign: true, [Symbol.asyncDispose]: () => state.remove() };
}

/** The first of `count` consecutive free ports, below the range that the kernel gives to outgoing connections. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first;
  }
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  return promise;
}
