/** Where results are kept in Blob: one place a task, so that a repeated task overwrites its own result. */
import { labelValue } from '../contract/identity.ts';
import type { Clock } from '../lib/clock.ts';
import type { RunnerSettings } from './settings.ts';

/** Where a result goes. */
export interface ResultPlace {
  readonly container: string;
  readonly path: string;
}

/** Which task's result it is. */
export interface ResultOwner {
  readonly taskId: string;
  readonly clientId: string;
}

/**
 * The blob name of a task's result, `{client}/{task_id}{suffix}`. Ids come from messages: a part that is not plain letters, digits, ".",
 * "_" and "-" is replaced and gets a hash, so that no id reaches into another client's folder.
 */
export function resultPath({ taskId, clientId }: ResultOwner, suffix: string): string {
  return `${labelValue(clientId) || 'default'}/${labelValue(taskId)}${suffix}`;
}

/**
 * Keeps a result that is too large for the termination message, for the operator to send.
 *
 * @returns the blob's URL, without credentials; undefined when no storage account is configured
 * @throws ServiceError
 */
export async function keepResult(
  settings: Pick<RunnerSettings, 'storage' | 'resultContainer'>,
  owner: ResultOwner,
  result: unknown,
  clock: Clock,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (settings.storage === undefined) return undefined;
  const { openBlobStore } = await import('./blob-store.ts');
  const store = openBlobStore(settings.storage, clock);
  return store.put(settings.resultContainer, resultPath(owner, '.report.json'), JSON.stringify(result), signal);
}
