/** The thread of extract-aside.ts: one document, one answer. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import { PermanentError } from '../errors.ts';
import type { ExtractionAnswer, ExtractionTask } from './extract-aside.ts';
import { extractText } from './extract-text.ts';

const { type, bytes } = workerData as ExtractionTask;

async function answer(): Promise<ExtractionAnswer> {
  try {
    const { parts, warnings, isScan } = await extractText(
      type,
      Buffer.from(bytes),
      systemClock,
      new AbortController().signal,
    );
    return { extracted: { parts: [...parts], warnings: [...warnings], isScan } };
  } catch (error) {
    if (error instanceof PermanentError) return { permanent: error.message, code: error.code };
    return { failed: messageOf(error) };
  }
}

parentPort?.postMessage(await answer());
