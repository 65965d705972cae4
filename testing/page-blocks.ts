/** The fenced blocks of a page of the docs: commands, and files by their names. Tests run what they show. */
import { readFileSync } from 'node:fs';

/** A block. */
export interface Block {
  readonly language: string;
  /** '' for commands. */
  readonly file: string;
  readonly text: string;
}

/** The blocks of docs/NAME in their order. */
export function pageBlocks(name: string): readonly Block[] {
  const page = readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8');
  return [...page.matchAll(/^```(\w+) ?(\S*)\n(.*?)^```$/gms)].map(([, language = '', file = '', text = '']) => ({
    language,
    file,
    text,
  }));
}

/** The text of a file that a page shows. */
export function pageFile(name: string, file: string): string {
  const block = pageBlocks(name).find((one) => one.file === file);
  if (block === undefined) throw new Error(`docs/${name} shows no file ${file}`);
  return block.text;
}
