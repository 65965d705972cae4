/** What `JSON.parse` does not tell about a text that it accepted. */
export interface JsonShape {
  /** A key of the outermost object that stands there more than once. */
  readonly duplicateKey: string | undefined;
  /** The deepest nesting of arrays and objects; 0 for a bare value. */
  readonly depth: number;
}

/**
 * Scans a JSON text in one pass, without recursion.
 *
 * @param text a text that `JSON.parse` has accepted; for any other the result means nothing
 */
export function scanJson(text: string): JsonShape {
  const keys = new Set<string>();
  const colon = /\s*:/y;
  const rootIsObject = text.trimStart().startsWith('{');
  let duplicateKey: string | undefined;
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{' || char === '[') deepest = Math.max(deepest, ++depth);
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') {
      const end = stringEnd(text, at);
      // At the first level of an object a string is a key exactly when a colon follows it.
      colon.lastIndex = end + 1;
      if (depth === 1 && rootIsObject && colon.test(text)) {
        const key = String(JSON.parse(text.slice(at, end + 1)));
        if (keys.has(key)) duplicateKey ??= key;
        keys.add(key);
      }
      at = end;
    }
  }
  return { duplicateKey, depth: deepest };
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
