/**
 * Takes the text out of a document in a thread of its own: the libraries for it work without a pause, and a document that was made to keep
 * them at it would else hold up the deadline, SIGTERM and the report.
 */
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { isCategory } from '../../contract/diagnosis.ts';
import { PermanentError } from '../errors.ts';
import type { DocumentType } from './document-type.ts';
import type { ExtractedText } from './extracted-text.ts';

/** Beside this file in the source, and beside the bundle's chunks. */
const WORKER = new URL(`./extraction-worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'mjs'}`, import.meta.url);

/** What the thread is given. */
export interface ExtractionTask {
  readonly type: DocumentType;
  readonly bytes: Uint8Array;
}

const answerSchema = z.union([
  z.object({
    extracted: z.object({
      parts: z.array(z.object({ page: z.number().nullable(), text: z.string() })),
      warnings: z.array(z.string()),
      isScan: z.boolean(),
    }),
  }),
  z.object({ permanent: z.string(), code: z.string() }),
  z.object({ failed: z.string() }),
]);

/** What it answers: the text, or an error with as much as can be sent. */
export type ExtractionAnswer = z.input<typeof answerSchema>;

/**
 * @throws PermanentError when the document is encrypted, damaged, or needs more memory than there is; the signal's reason, soon after it
 * aborts
 */
export async function extractAside(type: DocumentType, bytes: Buffer, signal: AbortSignal): Promise<ExtractedText> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const task: ExtractionTask = { type, bytes };
  const worker = new Worker(WORKER, { workerData: task });
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', (code) => reject(new Error(`the thread that reads documents ended with ${code}`)));
  try {
    const answer = answerSchema.parse(await promise);
    if ('extracted' in answer) return answer.extracted;
    if ('failed' in answer) throw new Error(answer.failed);
    throw new PermanentError(answer.permanent, isCategory(answer.code) ? { code: answer.code } : {});
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY')
      throw new PermanentError('needs more memory to be read than the task has', { cause: error });
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}
