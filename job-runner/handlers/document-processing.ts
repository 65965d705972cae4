/** Takes the text out of a document in Azure Blob Storage and puts it back there as JSON. */
import { iso } from '../../lib/clock.ts';
import { type BlobStore, openBlobStore } from '../blob-store.ts';
import type { RunnerSettings } from '../config.ts';
import { type DocumentType, detectType } from '../documents/document-type.ts';
import { extractText } from '../documents/extract-text.ts';
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
import { defineHandler, type HandlerContext, type HandlerTask } from './handler.ts';

/** A step of the work, and why it was not taken. */
export interface Stage {
  readonly stage: 'extract' | 'embed' | 'index';
  readonly status: 'done' | 'skipped';
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
  readonly stages: readonly Stage[];
  readonly resultUrl: string;
}

/** `document-processing`: payload `{container, path}` or `{url}`, and `output` for another place of the result. */
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

  const facts = { source: sourceName(source), type, bytes, pages, characters, warnings, stages: stagesOf(settings) };
  const document = {
    v: 1,
    taskId: task.taskId,
    clientId: task.clientId,
    ...facts,
    extractedAt: iso(clock.now()),
    parts,
  };
  const resultUrl = await write(task, settings, store, JSON.stringify(document), signal);
  return { ...facts, resultUrl };
}

async function read(
  source: DocumentSource,
  store: BlobStore,
  { clock, settings, signal }: HandlerContext,
): Promise<{ type: DocumentType; bytes: number; extracted: ExtractedText }> {
  try {
    const { bytes, contentType } = await fetchDocument(source, store, settings.maxDocumentBytes, clock, signal);
    const type = detectType(bytes, sourceName(source), contentType);
    return { type, bytes: bytes.length, extracted: await extractText(type, bytes, clock, signal) };
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
  task: HandlerTask<DocumentPayload>,
  settings: RunnerSettings,
  store: BlobStore,
  json: string,
  signal: AbortSignal,
): Promise<string> {
  const { output } = task.payload;
  const container = output?.container ?? settings.resultContainer;
  const path = output?.path ?? resultPath(task, '.json');
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

/** Later stages are not part of this version; a result says so rather than look complete. */
function stagesOf({ openAiKey, supabase }: RunnerSettings): Stage[] {
  const notYet = 'is not part of this version';
  return [
    { stage: 'extract', status: 'done' },
    { stage: 'embed', status: 'skipped', reason: openAiKey === undefined ? 'OPENAI_API_KEY is not set' : notYet },
    {
      stage: 'index',
      status: 'skipped',
      reason: supabase === undefined ? 'SUPABASE_URL and SUPABASE_KEY are not set' : notYet,
    },
  ];
}
