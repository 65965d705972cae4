/** Azurite, the Azure Storage emulator, inside this process: loading it costs about 1.3 s once, starting it 20 ms. */
import { createRequire } from 'node:module';

/** A running emulator. */
export interface Azurite extends AsyncDisposable {
  /** For account `devstoreaccount1`, with the endpoints of the services that were asked for. */
  readonly connectionString: string;
  /** `http://127.0.0.1:PORT/devstoreaccount1`; undefined when the service was not asked for. */
  readonly queueUrl: string | undefined;
  readonly blobUrl: string | undefined;
}

interface Server {
  start(): Promise<void>;
  close(): Promise<void>;
  getHttpServerAddress(): string;
}

interface ServiceModules {
  readonly Server: { readonly default: new (config: object) => Server };
  readonly Configuration: { readonly default: new (...values: unknown[]) => object };
}

/** The account that every Azurite has. */
export const AZURITE_ACCOUNT = 'devstoreaccount1';
/** Its well-known key: no secret. */
export const AZURITE_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** Starts Azurite in memory on free ports, of 127.0.0.1 unless another `host` is given. Both services unless `options` says otherwise. */
export async function startAzurite(options: { queue?: boolean; blob?: boolean; host?: string } = {}): Promise<Azurite> {
  const host = options.host ?? '127.0.0.1';
  await using started = new AsyncDisposableStack();
  const queueUrl = options.queue === false ? undefined : await startService(started, loadQueue(), host);
  const blobUrl = options.blob === false ? undefined : await startService(started, loadBlob(), host);
  const running = started.move();
  return {
    connectionString: [
      'DefaultEndpointsProtocol=http',
      `AccountName=${AZURITE_ACCOUNT}`,
      `AccountKey=${AZURITE_KEY}`,
      ...(queueUrl === undefined ? [] : [`QueueEndpoint=${queueUrl}`]),
      ...(blobUrl === undefined ? [] : [`BlobEndpoint=${blobUrl}`]),
    ].join(';'),
    queueUrl,
    blobUrl,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startService(
  stack: AsyncDisposableStack,
  { Server, Configuration }: ServiceModules,
  host: string,
): Promise<string> {
  const server = new Server.default(new Configuration.default(host, ...CONFIGURATION));
  await server.start();
  stack.defer(() => server.close());
  return `${server.getHttpServerAddress()}/${AZURITE_ACCOUNT}`;
}

// Positional parameters of Azurite's configuration classes, after the host.
const CONFIGURATION = [
  0, // port: a free one
  5, // keep-alive, seconds
  'unused', // metadata database
  'unused', // extent database
  [{ locationId: 'Default', locationPath: 'unused', maxConcurrency: 16 }],
  false, // access log
  undefined,
  false, // debug log
  undefined,
  false, // loose
  true, // skip the check of the API version: SDKs are newer than the emulator
  '', // certificate
  '',
  '',
  undefined, // OAuth
  true, // path-style URLs
  true, // in memory
] as const;

// Azurite is CommonJS without types, and its main file needs an editor; only its parts can be loaded.
const require = createRequire(import.meta.url);

function loadQueue(): ServiceModules {
  return {
    Server: require('azurite/dist/src/queue/QueueServer'),
    Configuration: require('azurite/dist/src/queue/QueueConfiguration'),
  };
}

function loadBlob(): ServiceModules {
  return {
    Server: require('azurite/dist/src/blob/BlobServer'),
    Configuration: require('azurite/dist/src/blob/BlobConfiguration'),
  };
}
