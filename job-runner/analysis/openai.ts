/**
 * The Responses API of OpenAI, or of whatever speaks it at OPENAI_BASE_URL. The only file that calls the SDK; load it only when it is needed.
 * The SDK tries again by itself what passes: 408, 409, 429 and 5xx, as long as `Retry-After` says.
 */
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai';
import { ConfigurationError, PermanentError, TemporaryError } from '../errors.ts';
import type { OpenAiSettings } from '../settings.ts';
import type { AnswerSchema } from './schema.ts';

/** What a question took. */
export interface Tokens {
  readonly input: number;
  readonly output: number;
}

/** A question. */
export interface Question {
  readonly model: string;
  readonly instructions: string;
  readonly input: string;
  readonly schema: AnswerSchema;
}

/** Asks a model. */
export interface Analyst {
  /**
   * Asks for an answer of a form.
   *
   * @returns tokens: undefined when the service does not tell
   * @throws PermanentError when the model refuses, or can never answer; ConfigurationError; TemporaryError
   */
  ask(
    question: Question,
    signal: AbortSignal,
  ): Promise<{ readonly value: unknown; readonly tokens: Tokens | undefined }>;
}

/** Opens the service. */
export function openAnalyst(settings: OpenAiSettings): Analyst {
  const client = new OpenAI({
    apiKey: settings.key.reveal(),
    ...(settings.baseUrl === undefined ? {} : { baseURL: settings.baseUrl }),
    // Read from the environment otherwise: of the environment only config.ts knows.
    organization: null,
    project: null,
    maxRetries: 5,
    timeout: settings.timeoutMs,
    logLevel: 'off',
  });
  return {
    async ask({ model, instructions, input, schema }, signal) {
      const format = {
        type: 'json_schema' as const,
        name: 'analysis',
        schema: { ...schema.json },
        strict: schema.strict,
      };
      let response: OpenAI.Responses.Response;
      try {
        response = await client.responses.create(
          { model, instructions, input, text: { format }, max_output_tokens: settings.maxOutputTokens, store: false },
          { signal },
        );
      } catch (error) {
        signal.throwIfAborted();
        throw failureOf(error, model);
      }
      return { value: answerOf(response, schema), tokens: tokensOf(response) };
    },
  };
}

function answerOf(response: OpenAI.Responses.Response, schema: AnswerSchema): unknown {
  const { status, incomplete_details: incomplete, error } = response;
  const content = (response.output ?? []).flatMap((item) => (item.type === 'message' ? item.content : []));
  const refusal = content.find((part) => part.type === 'refusal');
  if (refusal?.type === 'refusal') throw new PermanentError(`the model refused: ${refusal.refusal.slice(0, 300)}`);
  if (status === 'incomplete') {
    if (incomplete?.reason === 'content_filter')
      throw new PermanentError("the model's answer was withheld by the service's content filter");
    throw new ConfigurationError(
      'the model did not come to the end of its answer: raise OPENAI_MAX_OUTPUT_TOKENS, or ask for less in payload.analysis.schema',
    );
  }
  if (status === 'failed') throw new TemporaryError(`the model failed: ${error?.code ?? ''} ${error?.message ?? ''}`);
  const text = content.flatMap((part) => (part.type === 'output_text' ? [part.text] : [])).join('');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TemporaryError(`the model's answer is no JSON (${text.length} characters)`, { cause });
  }
  const checked = schema.check(value);
  if ('problem' in checked)
    throw new TemporaryError(`the model's answer is not of the form that was asked for: ${checked.problem}`);
  return checked.value;
}

function tokensOf({ usage }: OpenAI.Responses.Response): Tokens | undefined {
  if (typeof usage?.input_tokens !== 'number' || typeof usage.output_tokens !== 'number') return undefined;
  return { input: usage.input_tokens, output: usage.output_tokens };
}

/** The SDK's messages hold what the service said, never a key. */
function failureOf(cause: unknown, model: string): Error {
  const options = { cause };
  if (cause instanceof APIConnectionTimeoutError) return new TemporaryError('OpenAI did not answer in time', options);
  if (cause instanceof APIConnectionError) return new TemporaryError('OpenAI cannot be reached', options);
  if (!(cause instanceof APIError) || cause instanceof APIUserAbortError)
    return new TemporaryError('OpenAI gave an answer that cannot be read', options);
  const said = `OpenAI answered ${cause.status} ${cause.code ?? ''}: ${cause.message.slice(0, 400)}`;
  switch (cause.status) {
    case 400:
    case 413:
    case 422:
      if (cause.code === 'context_length_exceeded')
        return new ConfigurationError(`${said}. Lower OPENAI_CONTEXT_TOKENS to what ${model} takes`, options);
      return new PermanentError(said, options);
    case 401:
    case 403:
      return new ConfigurationError(`${said}. OPENAI_API_KEY (value not shown) is not taken`, options);
    case 404:
      return new ConfigurationError(`${said}. Name a model in OPENAI_MODEL that OPENAI_BASE_URL has`, options);
    case 429:
      if (cause.code === 'insufficient_quota')
        return new ConfigurationError(`${said}. The account has no credit`, options);
      return new TemporaryError(said, options);
    default:
      return new TemporaryError(said, options);
  }
}
