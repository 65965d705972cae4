/** Words of a Dockerfile: how they are told apart, and what is put in for variables. Pure. */

/** Splits at white space outside of quotes; quotes and escapes stay. */
export function words(text: string): string[] {
  return text.match(/(?:\\[\s\S]|'[^']*'|"(?:\\[\s\S]|[^"\\])*"|\S)+/g) ?? [];
}

/** `A=1 B=2` and the old `A the rest`. Neither names nor values are expanded. */
export function pairs(text: string): [name: string, value: string][] {
  const found = words(text);
  if (!(found[0] ?? '').includes('=')) {
    const old = /^(\S+)\s+([\s\S]+)$/.exec(text);
    if (!old) throw new Error(`must have a name and a value: ${text}`);
    return [[old[1] ?? '', old[2] ?? '']];
  }
  return found.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw new Error(`can't find = in ${JSON.stringify(word)}: must be of the form name=value`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

/** Puts in variables, and takes away quotes and escapes. Throws for what is not closed, and for operators other than `-`, `+` and `?`. */
export function expand(text: string, env: ReadonlyMap<string, string>): string {
  let at = 0;
  const failed = (what: string) => new Error(`failed to process ${JSON.stringify(text)}: ${what}`);

  function upTo(end: string): string {
    let out = '';
    while (at < text.length && text[at] !== end) {
      const char = text[at++];
      if (char === '\\') out += text[at++] ?? '\\';
      else if (char === "'") out += literal();
      else if (char === '"') out += quoted();
      else out += char === '$' ? variable() : char;
    }
    return out;
  }
  function literal(): string {
    const close = text.indexOf("'", at);
    if (close < 0) throw failed('unexpected end of statement while looking for matching single-quote');
    const out = text.slice(at, close);
    at = close + 1;
    return out;
  }
  function quoted(): string {
    let out = '';
    while (text[at] !== '"') {
      if (at >= text.length) throw failed('unexpected end of statement while looking for matching double-quote');
      const char = text[at++] ?? '';
      if (char === '$') out += variable();
      else if (char === '\\' && '"$\\'.includes(text[at] ?? ' ')) out += text[at++];
      else out += char;
    }
    at += 1;
    return out;
  }
  function variable(): string {
    const found = /\{?([A-Za-z_]\w*)/y;
    found.lastIndex = at;
    const [all, name = ''] = found.exec(text) ?? [];
    if (all === undefined) {
      if (text[at] === '{') throw failed('syntax error: bad substitution');
      return '$';
    }
    at += all.length;
    const value = env.get(name);
    if (!all.startsWith('{')) return value ?? '';
    const operator = /^(?::?[-+?])?/.exec(text.slice(at))?.[0] ?? '';
    at += operator.length;
    if (operator === '' && text[at] !== '}') throw failed(`unsupported modifier (${text[at] ?? ''}) in substitution`);
    const word = upTo('}');
    if (text[at++] !== '}') throw failed('syntax error: missing }');
    const isThere = operator.startsWith(':') ? (value ?? '') !== '' : value !== undefined;
    if (operator.endsWith('+')) return isThere ? word : '';
    if (operator.endsWith('?') && !isThere) throw failed(`${name}: ${word || 'not allowed to be unset'}`);
    return isThere ? (value ?? '') : operator.endsWith('-') ? word : '';
  }

  return upTo('');
}

/** A pattern of file names: `*`, `?`, `[…]` and, in a .dockerignore, `**` for any number of folders. */
export function glob(pattern: string): RegExp {
  const source = pattern.replace(
    /\*\*\/|\*\*|\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\?[\s\S]/g,
    (part, not: string | undefined, set: string | undefined) => {
      if (part === '**/') return '(?:.*/)?';
      if (part === '**') return '.*';
      if (part === '*') return '[^/]*';
      if (part === '?') return '[^/]';
      if (set !== undefined) return `[${not}${set.replaceAll('[', '\\[')}]`;
      return RegExp.escape(part.length > 1 ? part.slice(1) : part);
    },
  );
  return new RegExp(`^${source}$`, 's');
}
