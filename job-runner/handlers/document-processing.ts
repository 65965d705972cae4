/**
 * A document, from Azure Blob Storage to where it is of use: its text as JSON in Blob; what a model makes of it, where OPENAI_API_KEY is set;
 * rows in Supabase, where SUPABASE_URL and SUPABASE_KEY are. Each stage may be repeated, and a repeated one pays for nothing twice.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { Analysis, AnalysisRequest } from '../analysis/analyse.ts';
import { answerSchema } from '../analysis/schema.ts';
import { type BlobStore, openBlobStore } from '../blob-store.ts';
import { type DocumentType, detectType } from '../documents/document-type.ts';
import { extractAside } from '../documents/extract-aside.ts';
import type { ExtractedText } from '../documents/extracted-text.ts';
import { fetchDocument } from '../documents/fetch-document.ts';
import {
  type DocumentPayload,
  type DocumentSource,
  documentPayloadSchema,
  documentSource,
  sourceName,
} from '../documents/source.ts';
import { ConfigurationError, PermanentError, TemporaryError } from '../errors.ts';
import { resultPath } from '../result-store.ts';
import type { OpenAiSettings, RunnerSettings } from '../settings.ts';
import { defineHandler, type HandlerContext, type HandlerTask } from './handler.ts';

/** A step of the work, and why it was not taken. */
export interface Stage {
  readonly stage: 'extract' | 'analyse' | 'store';
  /** `kept`: done by an earlier attempt. */
  readonly status: 'done' | 'kept' | 'skipped';
  readonly reason?: string;
}

/** What the task's result says; the text itself is at `resultUrl`. */
export interface DocumentSummary {
  /** Path or URL of the document, without credentials. */
  readonly source: string;
  readonly type: DocumentType;
  readonly bytes: number;
  /** Null for documents without pages. */
  readonly pages: number | null;
  /** UTF-16 units of text, over all pages. */
  readonly characters: number;
  readonly warnings: readonly string[];
  /** What the model makes of it. */
  readonly analysis?: Analysis;
  readonly stages: readonly Stage[];
  readonly resultUrl: string;
}

/**
 * `document-processing`: payload `{container, path}` or `{url}`; `analysis: {schema, instructions, model}` for what the model is asked; `output`
 * for another place of the result.
 */
export const documentProcessing = defineHandler({
  type: 'document-processing',
  payload: documentPayloadSchema,
  run: processDocument,
});

async function processDocument(task: HandlerTask<DocumentPayload>, context: HandlerContext): Promise<DocumentSummary> {
  const { clock, log, settings, signal } = context;
  if (settings.storage === undefined) {
    throw new ConfigurationError(
      'AZURE_STORAGE_CONNECTION_STRING is not set: documents are read from, and results written to, that storage account. Set it from a Secret in the task type',
    );
  }
  const store = openBlobStore(settings.storage, clock);
  const source = documentSource(task.payload, store.host, settings.documentHosts);
  log.info({ source: sourceName(source) }, 'reading the document');
  const { type, bytes, extracted } = await read(source, store, context);
  const { parts, warnings } = extracted;
  const pages = type === 'pdf' ? parts.length : null;
  const characters = parts.reduce((sum, part) => sum + part.text.length, 0);
  log.info({ documentType: type, bytes, pages, characters }, 'text extracted');
  const place = placeOf(task, settings);

  const analysed = await analyseStage(task, extracted, store, place, context);
  const { analysis, stage, question } = analysed;
  const facts = { source: sourceName(source), type, bytes, pages, characters, warnings };
  const document = {
    v: 1,
    taskId: task.taskId,
    clientId: task.clientId,
    ...facts,
    extractedAt: iso(clock.now()),
    parts,
    ...(analysis === undefined ? {} : { analysis, question }),
  };
  const resultUrl = await write(place, store, JSON.stringify(document), signal);
  await analysed.forget();
  const stored = await storeStage(task, { ...facts, analysis, resultUrl }, extracted, context);
  const stages: readonly Stage[] = [{ stage: 'extract', status: 'done' }, stage, stored];
  return { ...facts, ...(analysis === undefined ? {} : { analysis }), stages, resultUrl };
}

/** Where the result goes. */
interface Place {
  readonly container: string;
  readonly path: string;
}

function placeOf(task: HandlerTask<DocumentPayload>, settings: RunnerSettings): Place {
  const { output } = task.payload;
  return { container: output?.container ?? settings.resultContainer, path: output?.path ?? resultPath(task, '.json') };
}

async function read(
  source: DocumentSource,
  store: BlobStore,
  { clock, settings, signal }: HandlerContext,
): Promise<{ type: DocumentType; bytes: number; extracted: ExtractedText }> {
  try {
    const { bytes, contentType } = await fetchDocument(source, store, settings.maxDocumentBytes, clock, signal);
    const type = detectType(bytes, sourceName(source), contentType);
    return { type, bytes: bytes.length, extracted: await extractAside(type, bytes, signal) };
  } catch (error) {
    // The parts below speak of "it"; here it gets its name.
    const named = (message: string) => `${sourceName(source)} ${message}`;
    if (error instanceof PermanentError)
      throw new PermanentError(named(error.message), { code: error.code, cause: error });
    if (error instanceof TemporaryError) throw new TemporaryError(named(error.message), { cause: error });
    throw error;
  }
}

async function write({ container, path }: Place, store: BlobStore, json: string, signal: AbortSignal): Promise<string> {
  try {
    return await store.put(container, path, json, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw new TemporaryError(
      `the result cannot be written to ${container}/${path}: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
}

interface Analysed {
  readonly stage: Stage;
  readonly analysis?: Analysis;
  /** Of what the analysis is the answer to. */
  readonly question?: string;
  /** The result is safe: single answers need not be kept any more. */
  forget(): Promise<void>;
}

async function analyseStage(
  task: HandlerTask<DocumentPayload>,
  { parts, isScan }: ExtractedText,
  store: BlobStore,
  place: Place,
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
    import('../analysis/analyse.ts'),
    import('../analysis/openai.ts'),
    import('../analysis/answer-store.ts'),
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
const MAX_RESULT_BYTES = 500 * 1024 * 1024;

/** The analysis in the result of an earlier attempt, if it is the answer to the same question. */
async function earlierAnalysis(
  store: BlobStore,
  { container, path }: Place,
  question: string,
  signal: AbortSignal,
): Promise<Analysis | undefined> {
  const text = await store.getText(container, path, MAX_RESULT_BYTES, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new TemporaryError(`${container}/${path}, where the result goes, cannot be read`, { cause: error });
  });
  const earlier = earlierSchema.safeParse(tryParseJson(text ?? ''));
  if (!earlier.success || earlier.data.question !== question) return undefined;
  const { analysis } = earlier.data;
  return { ...analysis, tokens: analysis.tokens, costUsd: analysis.costUsd };
}

async function storeStage(
  task: HandlerTask<DocumentPayload>,
  facts: Pick<DocumentSummary, 'source' | 'type' | 'bytes' | 'pages' | 'characters' | 'warnings' | 'resultUrl'> & {
    readonly analysis: Analysis | undefined;
  },
  { parts }: ExtractedText,
  { settings: { supabase }, clock, log, signal, count }: HandlerContext,
): Promise<Stage> {
  if (supabase === undefined)
    return { stage: 'store', status: 'skipped', reason: 'SUPABASE_URL and SUPABASE_KEY are not set' };
  const { writeDocument } = await import('../supabase/documents.ts');
  const { analysis, resultUrl, ...rest } = facts;
  const row = {
    client_id: task.clientId,
    task_id: task.taskId,
    ...rest,
    analysis: analysis?.result ?? null,
    model: analysis?.model ?? null,
    input_tokens: analysis?.tokens?.input ?? null,
    output_tokens: analysis?.tokens?.output ?? null,
    cost_usd: analysis?.costUsd ?? null,
    result_url: resultUrl,
    processed_at: iso(clock.now()),
  };
  const texts = parts.map(({ text }) => text);
  await writeDocument(supabase, row, texts, clock, signal);
  log.info({ pages: texts.length }, 'the document is in Supabase');
  count('rows', texts.length + 1);
  return { stage: 'store', status: 'done' };
}
