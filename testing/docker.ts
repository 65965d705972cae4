import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from '#/testing/cache.ts';
import { service } from '#/testing/service.ts';
import { attempt, type Finished, type RunOptions, run } from '#/testing/shell.ts';

/** A Docker engine of our own. It has no bridge: `docker build` and `docker run` need `--network host` or `none`. */
export interface Docker extends AsyncDisposable {
  /** Its socket as a URL, for `DOCKER_HOST`. */
  readonly host: string;
  /** Runs a docker command and returns what it prints; rejects unless it exits with 0. */
  docker(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Runs a docker command to its end, whatever its exit code. */
  attempt(args: readonly string[], options?: RunOptions): Promise<Finished>;
}

const script = fileURLToPath(new URL('./images/dockerd.sh', import.meta.url));

/** Starts dockerd, a second or two; Linux and root only. Images and build cache are kept in the cache directory. */
export async function startDocker(): Promise<Docker> {
  const data = join(cacheDirectory, 'docker');
  const started = await service({
    name: 'docker',
    script,
    lock: 'docker engine for tests',
    env: (directory) => ({ RUN: join(directory, 'run'), DATA: data }),
  });
  const host = `unix://${join(started.directory, 'run/docker.sock')}`;
  // Without BuildKit: it needs a plugin that Debian does not ship with every client.
  const withHost = (options: RunOptions = {}) => ({
    ...options,
    env: { DOCKER_HOST: host, DOCKER_BUILDKIT: '0', ...options.env },
  });
  return {
    host,
    docker: (args, options) => run('docker', args, withHost(options)),
    attempt: (args, options) => attempt('docker', args, withHost(options)),
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}
