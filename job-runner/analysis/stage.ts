/** The stage of document-processing that asks a model: when it is skipped, what an earlier attempt has left, and what is told of it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { tryParseJson } from '../../lib/json.ts';
import { type BlobStore, BlobTooLarge } from '../blob-store.ts';
import type { ExtractedText } from '../documents/extracted-text.ts';
import type { DocumentPayload } from '../documents/source.ts';
import type { Stage } from '../documents/stage.ts';
import { TemporaryError } from '../errors.ts';
import type { HandlerContext, HandlerTask } from '../handlers/handler.ts';
import { type ResultPlace, resultPath } from '../result-store.ts';
import type { OpenAiSettings } from '../settings.ts';
import type { Analysis, AnalysisRequest } from './analyse.ts';
import { answerSchema } from './schema.ts';

/** What the stage came to. */
export interface Analysed {
  readonly stage: Stage;
  readonly analysis?: Analysis;
  /** Of what the analysis is the answer to. */
  readonly question?: string;
  /** The result is safe: single answers need not be kept any more. */
  forget(): Promise<void>;
}

/** @throws PermanentError, ConfigurationError, TemporaryError; the signal's reason */
export async function analyseStage(
  task: HandlerTask<DocumentPayload>,
  { parts, isScan }: ExtractedText,
  store: BlobStore,
  place: ResultPlace,
  { settings, log, signal, count }: HandlerContext,
): Promise<Analysed> {
  const skipped = (reason: string): Analysed => ({
    stage: { stage: 'analyse', status: 'skipped', reason },
    forget: async () => undefined,
  });
  const { openAi } = settings;
  // A payload that is wrong is wrong wherever it runs.
  const schema = answerSchema(task.payload.analysis?.schema);
  if (openAi === undefined) return skipped('OPENAI_API_KEY is not set');
  if (isScan) return skipped('the document has no text: its pages are images');
  if (parts.every(({ text }) => text.trim() === '')) return skipped('the document has no text');
  const { model = openAi.model, instructions } = task.payload.analysis ?? {};
  const request: AnalysisRequest = { model, schema, instructions };
  const question = questionOf(parts, request, openAi);
  const earlier = await earlierAnalysis(store, place, question, signal);
  if (earlier !== undefined) {
    log.info({}, 'an earlier attempt has the analysis');
    return {
      stage: { stage: 'analyse', status: 'kept' },
      analysis: earlier,
      question,
      forget: async () => undefined,
    };
  }
  const [{ analyse }, { openAnalyst }, { openAnswerStore }] = await Promise.all([
    import('./analyse.ts'),
    import('./openai.ts'),
    import('./answer-store.ts'),
  ]);
  const memory = await openAnswerStore(store, settings.resultContainer, resultPath(task, '.answers.json'), log, signal);
  if (memory.found > 0) log.info({ answers: memory.found }, 'an earlier attempt has answers of the model');
  const analysis = await analyse(parts, request, {
    analyst: openAnalyst(openAi),
    memory,
    settings: openAi,
    log,
    signal,
  });
  const { tokens, costUsd } = analysis;
  log.info({ ...tokens, costUsd, pieces: analysis.pieces }, 'the model has answered');
  if (tokens !== undefined) {
    count('inputTokens', tokens.input);
    count('outputTokens', tokens.output);
  }
  if (costUsd !== undefined) count('costUsd', costUsd);
  return {
    stage: { stage: 'analyse', status: 'done' },
    analysis,
    question,
    forget: () =>
      memory.clear().catch((error: unknown) => log.warn({ err: error }, 'kept answers could not be removed')),
  };
}

/** What the whole analysis depends on. */
function questionOf(parts: ExtractedText['parts'], request: AnalysisRequest, settings: OpenAiSettings): string {
  const { model, instructions, schema } = request;
  const { contextTokens, maxOutputTokens, prices } = settings;
  const all = [parts, model, instructions, schema.json, contextTokens, maxOutputTokens, prices];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

const earlierSchema = z.object({
  question: z.string(),
  analysis: z.object({
    model: z.string(),
    result: z.unknown(),
    pieces: z.number(),
    tokens: z.object({ input: z.number(), output: z.number() }).optional(),
    costUsd: z.number().optional(),
  }),
});
/** A result of ours that is larger is written anew, and its model asked again. */
const MAX_RESULT_BYTES = 64 * 1024 * 1024;

/** The analysis in the result of an earlier attempt, if it is the answer to the same question. */
async function earlierAnalysis(
  store: BlobStore,
  { container, path }: ResultPlace,
  question: string,
  signal: AbortSignal,
): Promise<Analysis | undefined> {
  const text = await store.getText(container, path, MAX_RESULT_BYTES, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    if (error instanceof BlobTooLarge) return undefined;
    throw new TemporaryError(`${container}/${path}, where the result goes, cannot be read`, { cause: error });
  });
  const earlier = earlierSchema.safeParse(tryParseJson(text ?? ''));
  if (!earlier.success || earlier.data.question !== question) return undefined;
  const { analysis } = earlier.data;
  return { ...analysis, tokens: analysis.tokens, costUsd: analysis.costUsd };
}
