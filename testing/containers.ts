/**
 * Everything in containers, by testcontainers: our images from our Dockerfiles; Azurite and PostgreSQL from their public images where a
 * registry is reachable, else built here. All use the host's network: the engine of the tests has no other.
 */
import pg from 'pg';
import { AZURITE_ACCOUNT, AZURITE_KEY } from '#/testing/azurite.ts';
import { type Docker, startDocker } from '#/testing/docker.ts';
import { freePort } from '#/testing/free-port.ts';
import { buildImage, loadBase } from '#/testing/images.ts';

/** The engine with our images, and what runs in it. Disposing of it ends both. */
export interface Containers extends AsyncDisposable {
  readonly docker: Docker;
  readonly runner: string;
  readonly operator: string;
  startAzurite(): Promise<{ readonly connectionString: string }>;
  startPostgres(): Promise<{ readonly pool: pg.Pool }>;
}

const PUBLIC = {
  azurite: 'mcr.microsoft.com/azure-storage/azurite:3.37.0',
  postgres: 'docker.io/library/postgres:17-alpine',
} as const;
const PULL_MS = 60_000;
/** How long a registry may take to answer at all. */
const REACH_MS = 5000;

/** Starts the engine, where none runs, and builds the images. */
export async function startContainers(): Promise<Containers> {
  await using starting = new AsyncDisposableStack();
  const docker = starting.use(await startDocker());
  // Read when testcontainers is loaded. Its reaper is an image of its own; what is left behind here, dockerd.sh removes.
  process.env['DOCKER_HOST'] = docker.host;
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  // Otherwise it asks for the gateway of a bridge that the engine does not have.
  process.env['TESTCONTAINERS_HOST_OVERRIDE'] = '127.0.0.1';
  const { GenericContainer, Wait } = await import('testcontainers');
  const operator = await buildImage(docker, 'operator');
  const runner = await buildImage(docker, 'runner');

  async function start(image: string, command: readonly string[], words: RegExp, env: Record<string, string> = {}) {
    const container = new GenericContainer(image)
      .withNetworkMode('host')
      .withCommand([...command])
      .withEnvironment(env)
      .withWaitStrategy(Wait.forLogMessage(words))
      .withStartupTimeout(60_000);
    const started = await container.start();
    running.defer(async () => void (await started.stop({ timeout: 1000 })));
  }

  const running = starting.move();
  return {
    docker,
    runner,
    operator,
    async startAzurite() {
      const image = (await pulled(docker, PUBLIC.azurite)) ?? (await builtAzurite(docker));
      const [queue, blob] = [await freePort(), await freePort()];
      const at = [
        '--queueHost',
        '127.0.0.1',
        '--queuePort',
        String(queue),
        '--blobHost',
        '127.0.0.1',
        '--blobPort',
        String(blob),
      ];
      const memory = ['--inMemoryPersistence', '--skipApiVersionCheck', '--tableHost', '127.0.0.1', '--tablePort', '0'];
      await start(image, ['azurite', ...at, ...memory], /Azurite Queue service (is|successfully)/);
      const url = (port: number) => `http://127.0.0.1:${port}/${AZURITE_ACCOUNT}`;
      return {
        connectionString: `DefaultEndpointsProtocol=http;AccountName=${AZURITE_ACCOUNT};AccountKey=${AZURITE_KEY};QueueEndpoint=${url(queue)};BlobEndpoint=${url(blob)}`,
      };
    },
    async startPostgres() {
      const image = (await pulled(docker, PUBLIC.postgres)) ?? (await loadBase(docker.host, 'postgres'));
      const port = await freePort();
      const command = [
        'postgres',
        '-p',
        String(port),
        '-c',
        'listen_addresses=127.0.0.1',
        '-c',
        'unix_socket_directories=/tmp',
      ];
      await start(image, command, /database system is ready to accept connections/, {
        POSTGRES_HOST_AUTH_METHOD: 'trust',
      });
      const pool = new pg.Pool({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres`, max: 5 });
      pool.on('error', () => undefined);
      running.defer(() => pool.end());
      return { pool };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The public image; undefined where its registry cannot be reached, which is said. */
async function pulled(docker: Docker, image: string): Promise<string | undefined> {
  const host = image.split('/')[0] === 'docker.io' ? 'registry-1.docker.io' : image.split('/')[0];
  const reached = await fetch(`https://${host}/v2/`, { signal: AbortSignal.timeout(REACH_MS) }).then(
    ({ status }) => status === 200 || status === 401,
    () => false,
  );
  const done = reached
    ? await docker.attempt(['pull', '--quiet', image], { timeoutMs: PULL_MS }).catch(() => undefined)
    : undefined;
  if (done?.code === 0) return image;
  process.stderr.write(`${image} cannot be pulled here: an image of our own stands for it\n`);
  return undefined;
}

async function builtAzurite(docker: Docker): Promise<string> {
  await loadBase(docker.host, 'builder');
  const tag = 'slipway-test/azurite:latest';
  const args = [
    '--build-arg',
    'BUILDER_IMAGE=slipway-test/builder',
    '--file',
    'testing/images/Dockerfile.azurite',
    '--tag',
    tag,
  ];
  await docker.docker(['build', '--network', 'host', ...args, '.'], { timeoutMs: 600_000 });
  return tag;
}
