/** A real PostgreSQL on a free port of loopback, with an empty database: about 2 s to start. */
import { execFile } from 'node:child_process';
import { chown, mkdtempDisposable, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from '#/testing/free-port.ts';

/** A running server. */
export interface Postgres extends AsyncDisposable {
  /** Of its superuser. */
  readonly url: string;
  readonly pool: pg.Pool;
}

const run = promisify(execFile);

/** PostgreSQL will not run as root: whoever root can become without a password. */
const UNPRIVILEGED = { uid: 65_534, gid: 65_534 };
const DEBIAN = '/usr/lib/postgresql';

/** Where initdb and postgres are; undefined when PostgreSQL is not installed. */
export async function postgresDirectory(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN).catch(() => []);
  const newest = versions
    .map(Number)
    .filter(Number.isInteger)
    .toSorted((a, b) => b - a)[0];
  return newest === undefined ? undefined : join(DEBIAN, String(newest), 'bin');
}

/** Starts it. `host`: an address of this machine at which others may reach it too. */
export async function startPostgres(host = '127.0.0.1'): Promise<Postgres> {
  const bin = await postgresDirectory();
  if (bin === undefined) throw new Error(`PostgreSQL is not installed: there is nothing under ${DEBIAN}`);
  await using starting = new AsyncDisposableStack();
  const directory = starting.use(await mkdtempDisposable(join(tmpdir(), 'slipway-postgres-')));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) await chown(directory.path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  const as = {
    ...(isRoot ? UNPRIVILEGED : {}),
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
    cwd: directory.path,
  };
  const data = join(directory.path, 'data');
  await run(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '-E', 'UTF8'], as);
  const port = await freePort(host);
  // Nothing here needs to outlive a power cut.
  const options = `-p ${port} -c listen_addresses=${host} -c unix_socket_directories= -c fsync=off`;
  if (host !== '127.0.0.1') await run('sh', ['-c', `echo 'host all all 0.0.0.0/0 trust' >> ${data}/pg_hba.conf`], as);
  const ctl = (...args: readonly string[]) => run(join(bin, 'pg_ctl'), ['-D', data, '-w', ...args], as);
  await ctl('-l', join(directory.path, 'log'), '-o', options, 'start');
  starting.defer(async () => void (await ctl('-m', 'immediate', 'stop')));
  const url = `postgres://postgres@${host}:${port}/postgres`;
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  // A connection that is idle when the server ends says so by an event.
  pool.on('error', () => undefined);
  starting.defer(() => pool.end());
  const running = starting.move();
  return { url, pool, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
