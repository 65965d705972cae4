import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binDirectory, controlPlaneScript, ensureBinaries } from '#/testing/binaries.ts';
import { type Cluster, cluster } from '#/testing/kubernetes.ts';
import { service } from '#/testing/service.ts';
import { run } from '#/testing/shell.ts';

/** A cluster without nodes of its own, or the reader's. */
export interface ControlPlane extends Cluster, AsyncDisposable {
  /** Whether this is the cluster of `KUBECONFIG_TEST`: then its pods are run by its own nodes, and no stage applies. */
  readonly foreign: boolean;
  /** The API server's audit log, one JSON event a line; undefined without a policy. */
  readonly auditLog: string | undefined;
  /** Ends the API server alone; what it keeps and all others stay. */
  stopApiServer(signal: 'TERM' | 'KILL'): Promise<void>;
  /** Starts it again, and anew those who would wait long before they ask it again; ends when it is ready. */
  startApiServer(): Promise<void>;
}

/** What a control plane is started with. */
export interface ControlPlaneOptions {
  /** KWOK stages (see kwok.ts). With any, there is a node `kwok` whose pods pass through them; without, pods stay pending. */
  readonly stages?: readonly object[];
  /** An audit policy. With one, the API server writes its audit log, each event before the answer. */
  readonly audit?: object;
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
  let script: Record<string, string> = {};
  const started = await service({
    name: 'control-plane',
    script: controlPlaneScript,
    async env(directory) {
      const files = {
        ...(options.stages && { STAGES: options.stages.map((stage) => JSON.stringify(stage)).join('\n---\n') }),
        ...(options.audit && { AUDIT: JSON.stringify(options.audit) }),
      };
      script = { BIN: binDirectory, RUN: join(directory, 'run'), PORT: String(port) };
      for (const [variable, text] of Object.entries(files)) {
        script[variable] = join(directory, `${variable.toLowerCase()}.yaml`);
        await writeFile(script[variable], text);
      }
      return script;
    },
  });
  return {
    ...cluster(join(started.directory, 'run/admin.kubeconfig'), binDirectory, started.directory),
    foreign: false,
    auditLog: options.audit && join(started.directory, 'run/log/audit.log'),
    stopApiServer: async (signal) =>
      void (await run(controlPlaneScript, ['apiserver-down'], { env: { ...script, SIGNAL: signal } })),
    startApiServer: async () => void (await run(controlPlaneScript, ['apiserver-again'], { env: script })),
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

async function foreignCluster(kubeconfig: string): Promise<ControlPlane> {
  const state = await mkdtempDisposable(join(tmpdir(), 'slipway-helm-'));
  const refuse = () => Promise.reject(new Error("the API server of a cluster of one's own is not stopped"));
  return {
    ...cluster(kubeconfig, undefined, state.path),
    foreign: true,
    auditLog: undefined,
    stopApiServer: refuse,
    startApiServer: refuse,
    [Symbol.asyncDispose]: () => state.remove(),
  };
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
