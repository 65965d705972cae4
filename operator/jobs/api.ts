/**
 * Requests to the Kubernetes API server, JSON in and JSON out.
 *
 * client-node gives authentication, TLS and transport. Its generated methods are not used: they drop the fields that their OpenAPI version
 * does not know (a raw pod-template patch would lose them silently), take no AbortSignal, and open a new connection for every call.
 */
import {
  createConfiguration,
  HttpMethod,
  type KubeConfig,
  RequestContext,
  type ResponseContext,
} from '@kubernetes/client-node';
import type { Clock } from '../../lib/clock.ts';
import { type ErrorKind, kindOfStatus, messageOf, ServiceError } from '../../lib/errors.ts';

/** A request. `path` starts with `/api`. */
export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

/** A Kubernetes API client. Both methods throw a `ServiceError`. */
export interface KubernetesApi {
  readonly request: (request: ApiRequest) => Promise<unknown>;
  /** A long answer, line by line: watches. Lives until the server ends it or `signal` aborts. */
  readonly lines: (request: ApiRequest & { readonly signal: AbortSignal }) => AsyncIterable<string>;
}

/** How long credentials and connections are kept before they are made anew: well within the life of a projected token. */
const SESSION_MS = 300_000;

/** A client for the API server of a kubeconfig (in a cluster: of the service account). */
export function createKubernetesApi(config: KubeConfig, clock: Clock, deadlineMs = 30_000): KubernetesApi {
  const server = config.getCurrentCluster()?.server ?? '';
  const transport = createConfiguration().httpApi;
  let session: { made: number; context: Promise<RequestContext> } | undefined;

  async function openSession(): Promise<RequestContext> {
    const context = new RequestContext(server, HttpMethod.GET);
    await config.applySecurityAuthentication(context);
    return context;
  }

  async function send(
    { method, path, query, body, contentType }: ApiRequest,
    signal: AbortSignal,
  ): Promise<ResponseContext> {
    if (session === undefined || clock.monotonic() - session.made > SESSION_MS)
      session = { made: clock.monotonic(), context: openSession() };
    const credentials = await orAborted(session.context, signal);
    const url = new URL(server + path);
    for (const [key, value] of Object.entries(query ?? {})) url.searchParams.set(key, String(value));
    const context = new RequestContext(url.toString(), HttpMethod[method]);
    for (const [key, value] of Object.entries(credentials.getHeaders())) context.setHeaderParam(key, value);
    const dispatcher = credentials.getDispatcher();
    if (dispatcher !== undefined) context.setDispatcher(dispatcher);
    context.setHeaderParam('accept', 'application/json');
    if (body !== undefined) {
      context.setHeaderParam('content-type', contentType ?? 'application/json');
      context.setBody(JSON.stringify(body));
    }
    context.setSignal(signal);
    const response = await transport.send(context).toPromise();
    if (response.httpStatusCode === 401) session = undefined;
    if (response.httpStatusCode >= 300) throw await refused(response, `${method} ${path}`);
    return response;
  }

  async function attempt<T>(
    request: ApiRequest,
    signal: AbortSignal,
    read: (response: ResponseContext) => Promise<T>,
  ): Promise<T> {
    try {
      return await read(await send(request, signal));
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      session = undefined;
      throw new ServiceError(
        'unknown',
        error instanceof Error ? error.name : 'Error',
        `no answer to ${request.method} ${request.path}: ${innermost(error)}`,
        { cause: error },
      );
    }
  }

  return {
    request: (request) =>
      attempt(
        request,
        clock.deadline(deadlineMs, request.signal),
        async (response): Promise<unknown> => JSON.parse(await response.body.text()),
      ),
    async *lines(request) {
      const stream = await attempt(request, request.signal, async (response) => response.body.stream());
      if (stream === null) return;
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of stream) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        yield* lines.filter((line) => line !== '');
      }
    },
  };
}

/** A promise's value, or the signal's reason when that comes first: a credential plugin may hang, and takes no signal. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}

/** The reasons of a Status object that say more than the HTTP status. */
const KIND_OF_REASON: Readonly<Record<string, ErrorKind>> = {
  Invalid: 'invalid',
  // A resourceVersion or a page that is too old.
  Expired: 'conflict',
  Gone: 'conflict',
  RequestEntityTooLarge: 'invalid',
  Timeout: 'unavailable',
  ServerTimeout: 'unavailable',
  TooManyRequests: 'throttled',
};

async function refused(response: ResponseContext, what: string): Promise<ServiceError> {
  const status: unknown = await response.body
    .text()
    .then(JSON.parse)
    .catch(() => undefined);
  const field = (key: string): string => {
    const value: unknown = typeof status === 'object' && status !== null ? Reflect.get(status, key) : undefined;
    return typeof value === 'string' ? value : '';
  };
  const code = field('reason') || String(response.httpStatusCode);
  const retryAfter = Number(response.headers['retry-after']);
  return new ServiceError(
    KIND_OF_REASON[code] ?? kindOfStatus(response.httpStatusCode),
    code,
    `${what} was refused: ${field('message') || `HTTP ${response.httpStatusCode}`}`.slice(0, 1000),
    {
      retryAfterMs: Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter * 1000 : undefined,
    },
  );
}

function innermost(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? innermost(error.cause) : messageOf(error);
}
