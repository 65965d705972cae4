/**
 * A document, from Azure Blob Storage to where it is of use: its text as JSON in Blob; what a model makes of it, where OPENAI_API_KEY is set;
 * rows in Supabase, where SUPABASE_URL and SUPABASE_KEY are. Each stage may be repeated, and a repeated one pays for nothing twice.
 */
import { iso } from '../../lib/clock.ts';
import type { Analysis } from '../analysis/analyse.ts';
import { analyseStage } from '../analysis/stage.ts';
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
import type { Stage } from '../documents/stage.ts';
import { ConfigurationError, PermanentError, TemporaryError } from '../errors.ts';
import { type ResultPlace, resultPath } from '../result-store.ts';
import { storeStage } from '../supabase/stage.ts';
import { defineHandler, type HandlerContext, type HandlerTask } from './handler.ts';

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
  const { output } = task.payload;
  const place: ResultPlace = {
    container: output?.container ?? settings.resultContainer,
    path: output?.path ?? resultPath(task, '.json'),
  };

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

async function write(
  { container, path }: ResultPlace,
  store: BlobStore,
  json: string,
  signal: AbortSignal,
): Promise<string> {
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
