/** The task types that this runner knows. A handler is loaded when a task needs it, so that no task pays for another one's SDK. */
import type { Handler } from './handler.ts';

const HANDLERS: ReadonlyMap<string, () => Promise<Handler>> = new Map([
  ['echo', async () => (await import('./echo.ts')).echo],
  ['document-processing', async () => (await import('./document-processing.ts')).documentProcessing],
]);

/** Names of all handlers, for messages. */
export const HANDLER_TYPES: readonly string[] = [...HANDLERS.keys()];

/** The handler of a task type; undefined when there is none. */
export async function loadHandler(type: string): Promise<Handler | undefined> {
  return HANDLERS.get(type)?.();
}
