/** One try to deliver one webhook. */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Clock, fromIso } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';
import { VERSION } from '../lib/version.ts';
import { AddressRefused, guardedLookup, literalRefusal, type Resolve, systemResolve } from './address-guard.ts';
import { webhookHeaders } from './signature.ts';

/** What to post, and where. */
export interface WebhookRequest {
  /** http or https; credentials in it become basic authentication. */
  readonly url: string;
  /** The `webhook-id` header: the same for every try of one report. */
  readonly id: string;
  /** JSON, sent byte for byte. */
  readonly body: string;
  /** Signing secrets; none for an unsigned webhook. */
  readonly secrets: readonly Secret[];
  /** `webhook.allow`: private hosts and networks that may be reached. */
  readonly allow: readonly string[];
  /** For the whole exchange, from the look-up of the name to the answer. */
  readonly timeoutMs: number;
}

/** What came of it. `detail` is one line for people; it holds neither the URL's path and query nor its credentials. */
export type DeliveryResult =
  /** A 2xx. */
  | { readonly kind: 'delivered'; readonly status: number }
  /** The receiver will never take it: 400, 410, 413, 422, or a URL that is none. */
  | { readonly kind: 'refused'; readonly detail: string }
  /** Anything else; `retryAfterMs` when the receiver asked for it. */
  | { readonly kind: 'retry'; readonly detail: string; readonly retryAfterMs?: number };

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

const FINAL_STATUSES: readonly number[] = [400, 410, 413, 422];

/** The answer's body says nothing that is wanted. A little of it is read, for a little while, so that the receiver sees a clean end. */
const BODY_BYTES = 4096;
const BODY_MS = 1000;

/**
 * Posts a webhook once. Never throws: whatever goes wrong is a `retry` with its reason, an address that must not be reached included, since
 * that can be mended by configuration.
 *
 * @param resolve how host names become addresses; the system's way outside tests
 */
export async function deliver(
  request: WebhookRequest,
  clock: Clock,
  signal?: AbortSignal,
  resolve: Resolve = systemResolve,
): Promise<DeliveryResult> {
  const url = URL.parse(request.url);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return { kind: 'refused', detail: 'webhook_url is no absolute http or https URL' };
  }
  const refusal = literalRefusal(url.hostname, request.allow);
  if (refusal !== undefined) return { kind: 'retry', detail: refusal };
  const deadline = clock.deadline(request.timeoutMs, signal);
  try {
    return judge(await post(url, request, clock, deadline, resolve), url, clock.now());
  } catch (error) {
    if (signal?.aborted) return { kind: 'retry', detail: `${url.origin}: stopped before an answer came` };
    if (deadline.aborted) return { kind: 'retry', detail: `${url.origin}: no answer within ${request.timeoutMs} ms` };
    return { kind: 'retry', detail: describeFailure(error, url) };
  }
}

function post(
  url: URL,
  { id, body, secrets, allow }: WebhookRequest,
  clock: Clock,
  deadline: AbortSignal,
  resolve: Resolve,
): Promise<Answer> {
  const options: RequestOptions = {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': `slipway/${VERSION}`,
      ...webhookHeaders(id, clock.now(), body, secrets),
    },
    // A connection of its own: none that another look-up has opened, and no proxy from the environment.
    agent: false,
    lookup: guardedLookup(allow, resolve),
    signal: deadline,
  };
  return new Promise((done, fail) => {
    let answer: Answer | undefined;
    const end = (error: Error) => (answer === undefined ? fail(error) : done(answer));
    const sent = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options);
    sent.on('error', end);
    // An answer 101 ends in a close without an answer and without an error.
    sent.on('close', () => end(new Error('the connection was closed without an answer')));
    sent.on('response', (response) => {
      const answered: Answer = { status: response.statusCode ?? 0, headers: response.headers };
      answer = answered;
      drain(response, clock.deadline(BODY_MS, deadline), () => done(answered));
    });
    sent.end(body);
  });
}

/** Whatever becomes of the body, the status has been said. */
function drain(response: IncomingMessage, until: AbortSignal, done: () => void): void {
  let bytes = 0;
  until.addEventListener('abort', () => response.destroy(), { once: true });
  response.on('error', done).on('end', done).on('close', done);
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > BODY_BYTES) response.destroy();
  });
}

function judge({ status, headers }: Answer, url: URL, nowMs: number): DeliveryResult {
  if (status >= 200 && status <= 299) return { kind: 'delivered', status };
  const detail = `${url.origin} answered ${status}${redirectDetail(status, headers, url)}`;
  if (FINAL_STATUSES.includes(status)) return { kind: 'refused', detail };
  const retryAfterMs = parseRetryAfter(headers['retry-after'], nowMs);
  return { kind: 'retry', detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

function redirectDetail(status: number, { location }: IncomingHttpHeaders, url: URL): string {
  if (status < 300 || status > 399) return '';
  const target = location === undefined ? null : URL.parse(location, url.href);
  // A receiver that redirects to http, to a login page or to itself with a slash is told by origin and path alone.
  const shown = target === null ? '' : ` with Location ${target.origin}${target.pathname}`.slice(0, 200);
  return `${shown}; redirects are not followed, so the URL must be the final one`;
}

function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = fromIso(value);
  return at === undefined ? undefined : Math.max(0, at - nowMs);
}

function describeFailure(error: unknown, url: URL): string {
  if (error instanceof AddressRefused) return error.message;
  // Node tries several addresses side by side and then reports an AggregateError without a message.
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return `${url.origin}: ${messageOf(error) || code}`;
}
