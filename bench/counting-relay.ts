/** A relay of TCP connections that counts what the server sends. TLS passes through it as it is. */
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { parse, stringify } from 'yaml';

/** A running relay. Disposing of it ends all its connections. */
export interface CountingRelay extends AsyncDisposable {
  /** A kubeconfig that leads through it. */
  readonly kubeconfig: string;
  /** Bytes that the server has sent so far, TLS included. */
  readonly received: number;
}

interface KubeconfigFile {
  clusters: { name: string; cluster: { server: string } }[];
}

/** Starts a relay in front of the API server of a kubeconfig with one cluster, whose certificate is valid for 127.0.0.1. */
export async function startCountingRelay(kubeconfig: string): Promise<CountingRelay> {
  const file = parse(await readFile(kubeconfig, 'utf8')) as KubeconfigFile;
  const [entry] = file.clusters;
  if (entry === undefined) throw new Error(`${kubeconfig} has no cluster`);
  const { hostname, port } = new URL(entry.cluster.server);
  const sockets = new Set<Socket>();
  let received = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    upstream.on('data', (chunk) => {
      received += chunk.length;
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: own } = server.address() as AddressInfo;
  const through = `${kubeconfig}.${own}`;
  const clusters = [{ ...entry, cluster: { ...entry.cluster, server: `https://127.0.0.1:${own}` } }];
  await writeFile(through, stringify({ ...file, clusters }));
  return {
    kubeconfig: through,
    get received() {
      return received;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
