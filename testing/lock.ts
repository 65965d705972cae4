import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

/** A lock that is held. The kernel releases it when its holder dies, so none is ever stale. */
export interface Lock extends AsyncDisposable {
  /** Changes what is told to those who ask for the lock in vain. */
  holder: string;
}

/**
 * Takes a lock of this machine: an abstract Unix socket, so Linux only.
 *
 * @param name what is locked, as in "the node is in use by …"
 * @param holder who takes it, told to others; one that begins with "stopping" is waited for
 * @param waitMs how long to wait for any other holder. Default: not at all
 */
export async function lock(name: string, holder: string, waitMs = 0): Promise<Lock> {
  const started = Date.now();
  for (;;) {
    const server = createServer((socket) => socket.on('error', () => undefined).end(held.holder));
    const held: Lock = {
      holder,
      async [Symbol.asyncDispose]() {
        server.close();
        await once(server, 'close');
      },
    };
    server.listen(`\0slipway/${name}`);
    try {
      await once(server, 'listening');
      server.unref();
      return held;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
    const other = await ask(name);
    const limit = other === undefined || other.startsWith('stopping') ? Math.max(waitMs, 60_000) : waitMs;
    if (Date.now() - started >= limit) throw new Error(`the ${name} of this machine is in use by ${other}`);
    await setTimeout(250);
  }
}

async function ask(name: string): Promise<string | undefined> {
  const socket = connect(`\0slipway/${name}`);
  try {
    return await text(socket);
  } catch {
    return undefined; // it has just let go
  }
}
