/** Handlers that are not part of the runner: of the modules that SLIPWAY_HANDLERS names. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../../lib/errors.ts';
import type { Handler } from './handler.ts';

/** The handlers by their task types, or what is wrong with the modules. */
export type OwnHandlers =
  | { readonly kind: 'valid'; readonly handlers: ReadonlyMap<string, Handler> }
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

/**
 * Loads modules and takes every handler that they export, under whatever name.
 *
 * @param paths of JavaScript or TypeScript modules, relative ones to `directory`
 */
export async function loadOwnHandlers(paths: readonly string[], directory: string): Promise<OwnHandlers> {
  const handlers = new Map<string, Handler>();
  const from = new Map<string, string>();
  const problems: string[] = [];
  for (const path of paths) {
    const loaded = await load(isAbsolute(path) ? path : resolve(directory, path));
    if ('problem' in loaded) {
      problems.push(`SLIPWAY_HANDLERS names ${path}, which ${loaded.problem}`);
      continue;
    }
    const found = Object.values(loaded.exports).filter(isHandler);
    if (found.length === 0)
      problems.push(`SLIPWAY_HANDLERS names ${path}, which exports no handler. Export what defineHandler gives`);
    for (const handler of new Set(found)) {
      const other = from.get(handler.type);
      if (other !== undefined)
        problems.push(`the task type "${handler.type}" has two handlers, in ${other} and ${path}. Leave one of them`);
      from.set(handler.type, path);
      handlers.set(handler.type, handler);
    }
  }
  return problems.length === 0 ? { kind: 'valid', handlers } : { kind: 'invalid', problems };
}

async function load(path: string): Promise<{ readonly exports: object } | { readonly problem: string }> {
  try {
    return { exports: (await import(pathToFileURL(path).href)) as object };
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
    // Of a module that is there, something that it imports is missing.
    if (isMissing && error.message.includes(`'${path}'`)) return { problem: 'is not there' };
    return { problem: `cannot be loaded: ${messageOf(error).slice(0, 500)}` };
  }
}

/** By its shape: a module may bring its own copy of `defineHandler`. */
function isHandler(value: unknown): value is Handler {
  if (typeof value !== 'object' || value === null) return false;
  const { type, run } = value as { type?: unknown; run?: unknown };
  return typeof type === 'string' && type !== '' && typeof run === 'function';
}
