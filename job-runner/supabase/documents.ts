/** A document's rows in Supabase. The only file that calls its SDK; load it only when it is needed. */
import { createClient, type PostgrestError } from '@supabase/supabase-js';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import { ConfigurationError, PermanentError, TemporaryError } from '../errors.ts';
import type { SupabaseSettings } from '../settings.ts';

/** A row of `documents`; see documents.sql. */
export interface DocumentRow {
  readonly client_id: string;
  readonly task_id: string;
  readonly source: string;
  readonly type: string;
  readonly bytes: number;
  readonly pages: number | null;
  readonly characters: number;
  readonly warnings: readonly string[];
  readonly analysis: unknown;
  readonly model: string | null;
  readonly input_tokens: number | null;
  readonly output_tokens: number | null;
  readonly cost_usd: number | null;
  readonly result_url: string;
  /** ISO 8601. */
  readonly processed_at: string;
}

const CALL_MS = 30_000;
/** Rows of pages in one call. */
const BATCH = 50;
const WAITS_MS = [500, 2000, 5000];

/**
 * Writes the document and its pages over whatever an earlier attempt wrote: the same task gives the same rows. The document's own row comes
 * last, so that where it is, all of it is there.
 *
 * @throws ConfigurationError, PermanentError, TemporaryError; the signal's reason
 */
export async function writeDocument(
  { url, key, schema }: SupabaseSettings,
  row: DocumentRow,
  pages: readonly string[],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const client = createClient(url, key.reveal(), {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    db: { schema },
  });
  const owner = { client_id: row.client_id, task_id: row.task_id };
  const call = (what: string, ask: (within: AbortSignal) => PromiseLike<Answer>) => tryCall(what, ask, clock, signal);
  const texts = pages.map((text, at) => ({ ...owner, page: at + 1, text: storable(text) }));
  for (let at = 0; at < texts.length; at += BATCH)
    await call('write document_pages', (within) =>
      client
        .from('document_pages')
        .upsert(texts.slice(at, at + BATCH), { onConflict: 'client_id,task_id,page' })
        .abortSignal(within),
    );
  // Of an earlier version of the document, which had more.
  await call('delete from document_pages', (within) =>
    client.from('document_pages').delete().match(owner).gt('page', texts.length).abortSignal(within),
  );
  await call('write documents', (within) =>
    client.from('documents').upsert(storableRow(row), { onConflict: 'client_id,task_id' }).abortSignal(within),
  );
}

interface Answer {
  readonly error: PostgrestError | null;
  readonly status: number;
}

/** Tries again what passes. */
async function tryCall(
  what: string,
  ask: (within: AbortSignal) => PromiseLike<Answer>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (const waitMs of [...WAITS_MS, undefined]) {
    const failure = await attempt(what, ask, clock.deadline(CALL_MS, signal));
    signal.throwIfAborted();
    if (failure === undefined) return;
    if (!(failure instanceof TemporaryError) || waitMs === undefined) throw failure;
    await clock.sleep(waitMs, signal);
    signal.throwIfAborted();
  }
}

async function attempt(
  what: string,
  ask: (within: AbortSignal) => PromiseLike<Answer>,
  within: AbortSignal,
): Promise<Error | undefined> {
  try {
    const { error, status } = await ask(within);
    return error === null ? undefined : failureOf(what, error, status);
  } catch (cause) {
    return new TemporaryError(`Supabase cannot be reached to ${what}: ${messageOf(cause)}`, { cause });
  }
}

function failureOf(what: string, { code, message }: PostgrestError, status: number): Error {
  const said = `Supabase would not ${what}: ${status} ${code} ${message.slice(0, 300)}`;
  if (status === 401 || status === 403 || code === '42501')
    return new ConfigurationError(`${said}. SUPABASE_KEY (value not shown) has to be the service role's`);
  if (status === 404 || ['PGRST204', 'PGRST205', 'PGRST106', '42P01', '42703', '42P10'].includes(code))
    return new ConfigurationError(
      `${said}. Run job-runner/supabase/documents.sql in the database, or set SUPABASE_SCHEMA`,
    );
  // Status 0: the client had no answer.
  if (status === 0 || status === 408 || status === 429 || status >= 500) return new TemporaryError(said);
  return new PermanentError(said);
}

/** PostgreSQL takes no NUL in a text, and no half of a character. */
function storable(text: string): string {
  return text.replaceAll('\0', '').toWellFormed();
}

function storableRow(row: DocumentRow): DocumentRow {
  const text = JSON.stringify(row, (_, value: unknown) => (typeof value === 'string' ? storable(value) : value));
  return JSON.parse(text) as DocumentRow;
}
