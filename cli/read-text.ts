/** Files named on the command line. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { messageOf } from '../lib/errors.ts';

/** Reads a file, or standard input for `-`; gives a sentence where it cannot be read. */
export type ReadText = (path: string) => Promise<string | { readonly problem: string }>;

/** A reader of real files. */
export function textReader(stdin: NodeJS.ReadableStream): ReadText {
  return async (path) => {
    try {
      return path === '-' ? await text(stdin) : await readFile(path, 'utf8');
    } catch (error) {
      return { problem: `${path} cannot be read (${messageOf(error)})` };
    }
  };
}
