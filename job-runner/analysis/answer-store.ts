/** Answers of the model that were paid for, kept in Blob until the task has its result: another attempt goes on where this one ended. */
import { z } from 'zod';
import { tryParseJson } from '../../lib/json.ts';
import type { Log } from '../../lib/log.ts';
import type { BlobStore } from '../blob-store.ts';
import type { AnswerMemory, Paid } from './analyse.ts';

/** A memory that ends with its task. */
export interface AnswerStore extends AnswerMemory {
  /** How many answers were there from before. */
  readonly found: number;
  /** The task has its result. */
  clear(): Promise<void>;
}

const answersSchema = z.object({
  v: z.literal(1),
  answers: z.record(
    z.string(),
    z.object({
      value: z.unknown(),
      tokens: z.object({ input: z.number(), output: z.number() }).optional(),
    }),
  ),
});

const MAX_BYTES = 50 * 1024 * 1024;

/**
 * Opens the answers of a task. What cannot be read is as if it were not there: the model is asked again.
 *
 * @param path of a blob of this task alone
 */
export async function openAnswerStore(
  store: BlobStore,
  container: string,
  path: string,
  log: Log,
  signal: AbortSignal,
): Promise<AnswerStore> {
  const answers = new Map<string, Paid>(Object.entries(await read()));
  const found = answers.size;
  // One write at a time, each with all that is known when it begins.
  let writing: Promise<void> = Promise.resolve();

  async function read(): Promise<Readonly<Record<string, Paid>>> {
    try {
      const text = await store.getText(container, path, MAX_BYTES, signal);
      const parsed = answersSchema.safeParse(tryParseJson(text ?? ''));
      if (!parsed.success) return {};
      return Object.fromEntries(
        Object.entries(parsed.data.answers).map(([id, { value, tokens }]) => [id, { value, tokens }]),
      );
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error }, 'answers of an earlier attempt cannot be read');
      return {};
    }
  }

  async function write(): Promise<void> {
    const json = JSON.stringify({ v: 1, answers: Object.fromEntries(answers) });
    try {
      await store.put(container, path, json, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error }, 'an answer of the model could not be kept: another attempt would ask again');
    }
  }

  return {
    found,
    get: (id) => answers.get(id),
    put(id, answer) {
      answers.set(id, answer);
      writing = writing.then(write);
      return writing;
    },
    async clear() {
      if (answers.size === 0) return;
      await store.remove(container, path, signal);
    },
  };
}
