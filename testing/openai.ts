/**
 * A stand-in for OpenAI's Responses API: what the runner asks is recorded, and its answers are of the SDK's own types. It understands
 * nothing: a script says what it answers. Never compared with the service itself; tests/live does that where a key is given.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type OpenAI from 'openai';

/** A request for a response, as it arrived. */
export interface OpenAiRequest {
  readonly authorization: string | undefined;
  readonly body: OpenAI.Responses.ResponseCreateParamsNonStreaming;
}

/** What to answer. A value is the model's answer; the rest goes wrong. */
export type OpenAiAnswer =
  | { readonly value: unknown; readonly tokens?: readonly [input: number, output: number]; readonly afterMs?: number }
  | { readonly text: string }
  | { readonly refusal: string }
  | { readonly incomplete: 'max_output_tokens' | 'content_filter' }
  | { readonly status: number; readonly code?: string; readonly message?: string; readonly retryAfter?: string }
  | 'reset'
  | 'hang'
  /** The connection ends in the middle of the body. */
  | 'cut';

/** A running stand-in. */
export interface OpenAiServer extends AsyncDisposable {
  /** As OPENAI_BASE_URL. */
  readonly url: string;
  readonly requests: readonly OpenAiRequest[];
  /** Decides about each request, by its number too, counted from 0. */
  use(script: (request: OpenAiRequest, at: number) => OpenAiAnswer): void;
}

/** Starts it. Without a script it answers with an empty summary. */
export async function startOpenAi(host = '127.0.0.1'): Promise<OpenAiServer> {
  const requests: OpenAiRequest[] = [];
  let script: (request: OpenAiRequest, at: number) => OpenAiAnswer = () => ({
    value: { summary: 'A summary.', entities: [], key_points: [] },
  });
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as OpenAiRequest['body'];
    const send = (status: number, value: object, headers: Record<string, string> = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(value));
    };
    if (request.method !== 'POST' || request.url !== '/v1/responses')
      return send(501, error('stand_in', `the stand-in does not know ${request.method} ${request.url}`));
    const received = { authorization: request.headers.authorization, body };
    requests.push(received);
    const answer = script(received, requests.length - 1);
    if (answer === 'hang') return;
    if (answer === 'reset') return void request.socket.destroy();
    if (answer === 'cut') {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '5000' });
      response.write('{"id":"resp_1","object":"response","outp');
      await delay(20);
      return void request.socket.destroy();
    }
    if ('status' in answer)
      return send(answer.status, error(answer.code ?? null, answer.message ?? 'injected'), {
        ...(answer.retryAfter === undefined ? {} : { 'retry-after': answer.retryAfter }),
      });
    if ('value' in answer && answer.afterMs !== undefined) await delay(answer.afterMs);
    send(200, responseOf(body, answer, requests.length));
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/v1`,
    requests,
    use: (next) => {
      script = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function error(code: string | null, message: string): object {
  return { error: { message, type: 'invalid_request_error', param: null, code } };
}

type Good = Exclude<OpenAiAnswer, string | { readonly status: number }>;
/** The fields that a service always has, or that are read; checked against the SDK's types. */
type Answered = Pick<
  OpenAI.Responses.Response,
  'id' | 'object' | 'created_at' | 'model' | 'status' | 'error' | 'incomplete_details' | 'output' | 'usage'
>;

function responseOf({ model = '' }: OpenAiRequest['body'], answer: Good, at: number): Answered {
  const content: OpenAI.Responses.ResponseOutputMessage['content'] =
    'refusal' in answer
      ? [{ type: 'refusal', refusal: answer.refusal }]
      : 'incomplete' in answer
        ? [{ type: 'output_text', text: '{"summary": "It be', annotations: [], logprobs: [] }]
        : [
            {
              type: 'output_text',
              text: 'text' in answer ? answer.text : JSON.stringify(answer.value),
              annotations: [],
              logprobs: [],
            },
          ];
  const [input, output] = ('value' in answer ? answer.tokens : undefined) ?? [100, 20];
  return {
    id: `resp_${at}`,
    object: 'response',
    created_at: 1_700_000_000,
    model,
    status: 'incomplete' in answer ? 'incomplete' : 'completed',
    error: null,
    incomplete_details: 'incomplete' in answer ? { reason: answer.incomplete } : null,
    output: [{ type: 'message', id: `msg_${at}`, role: 'assistant', status: 'completed', content }],
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
  };
}
