/** The stage of document-processing that writes rows. */
import { iso } from '../../lib/clock.ts';
import type { Analysis } from '../analysis/analyse.ts';
import type { ExtractedText } from '../documents/extracted-text.ts';
import type { Stage } from '../documents/stage.ts';
import type { HandlerContext, HandlerTask } from '../handlers/handler.ts';
import type { DocumentRow } from './documents.ts';

/** What is known of the document. */
type Facts = Pick<DocumentRow, 'source' | 'type' | 'bytes' | 'pages' | 'characters' | 'warnings'> & {
  readonly resultUrl: string;
  readonly analysis: Analysis | undefined;
};

/** @throws PermanentError, ConfigurationError, TemporaryError; the signal's reason */
export async function storeStage(
  task: HandlerTask<unknown>,
  facts: Facts,
  { parts }: ExtractedText,
  { settings: { supabase }, clock, log, signal, count }: HandlerContext,
): Promise<Stage> {
  if (supabase === undefined)
    return { stage: 'store', status: 'skipped', reason: 'SUPABASE_URL and SUPABASE_KEY are not set' };
  const { writeDocument } = await import('./documents.ts');
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
