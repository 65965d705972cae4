/** A .dockerignore, read as Kaniko reads it. Pure. */
import { posix } from 'node:path';
import { glob } from './words.ts';

/** Whether a path of the context is left out. One that matches is, with all in it; a later pattern decides over an earlier one. */
export function ignores(text: string): (path: string) => boolean {
  const patterns = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '!')
    .map((line) => {
      const isException = line.startsWith('!');
      const path = posix.normalize((isException ? line.slice(1) : line).trim()).replace(/(?<=.)\/$/, '');
      return { isException, pattern: glob(path === '/' ? path : path.replace(/^\//, '')) };
    });
  return (path) => {
    const parts = posix.normalize(path).replace(/\/$/, '').split('/');
    const above = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    let isOut = false;
    for (const { isException, pattern } of patterns) {
      if (isOut === isException && above.some((one) => one !== '.' && pattern.test(one))) isOut = !isException;
    }
    return isOut;
  };
}
