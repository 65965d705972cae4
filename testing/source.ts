/** TypeScript source as text: its imports, and its code without comments and texts. For checks of the project's structure. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One import or re-export. */
export interface Import {
  readonly from: string;
  /** `import type`: gone when the program runs. */
  readonly typeOnly: boolean;
}

/** Every import, re-export and dynamic import. */
export function importsOf(source: string): Import[] {
  const code = withoutComments(source);
  const statements = code.matchAll(
    /(?:^|[;\n}])\s*(?:import|export)\s+(type\s+)?(?:[\w$*\s,]|\{[^}]*\})*?from\s*(['"])(.*?)\2/g,
  );
  const bare = code.matchAll(/(?:^|[;\n}])\s*import\s*(['"])(.*?)\1/g);
  const dynamic = code.matchAll(/\bimport\s*\(\s*(['"])(.*?)\1/g);
  return [
    ...[...statements].map((match) => ({ from: match[3] ?? '', typeOnly: match[1] !== undefined })),
    ...[...bare, ...dynamic].map((match) => ({ from: match[2] ?? '', typeOnly: false })),
  ];
}

/** The code with comments and the insides of texts blanked. */
export function codeOf(source: string): string {
  return scan(source, true);
}

function withoutComments(source: string): string {
  return scan(source, false);
}

// A text ends at its quote; what a template holds in ${…} counts as text, which is enough here.
function scan(source: string, blankTexts: boolean): string {
  return source.replaceAll(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`|\/(?![*/\s])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[dgimsuvy]*(?=[\s.,;)\]])/g,
    (part) => {
      if (part.startsWith('//') || part.startsWith('/*')) return ' ';
      return blankTexts ? `${part[0]}${part.at(-1)}` : part;
    },
  );
}

/** The TypeScript files below a directory of the project, by their paths from its root. */
export function sourceFiles(root: string, directory: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join(directory, path))
    .toSorted();
}

/** A file of the project. */
export function readSource(root: string, path: string): string {
  return readFileSync(join(root, path), 'utf8');
}
