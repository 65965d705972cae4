/**
 * Names and patterns of what is to be collected, as they stand in a message. Pure.
 *
 * A pattern knows `*`, `**` and `?`, and nothing else: alternatives and classes of characters could come to `..`, or to more than anybody can
 * look at. Patterns of libraries know them, and most become regular expressions, which a pattern can be written to keep busy for hours; here
 * time is bounded by the lengths of pattern and name.
 */

/** What is wanted beneath a folder. */
export interface Below {
  /** Whether what is here is wanted itself. */
  readonly isWanted: boolean;
  /** Whether anything in here may be. */
  readonly isOpen: boolean;
  into(name: string): Below | undefined;
}

/** All that there is, hidden or not. */
export const EVERYTHING: Below = { isWanted: true, isOpen: true, into: () => EVERYTHING };

/** A place where to begin to look, and what is wanted there. */
export interface Search {
  readonly start: string;
  readonly below: Below;
}

/** A relative path without `//` and `.`; undefined where it leads out of its folder. The folder itself is `.`. */
export function plainPath(path: string): string | undefined {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return path.startsWith('/') || parts.includes('..') ? undefined : parts.join('/') || '.';
}

/** What a pattern asks for; it begins where its first `*` or `?` stands, so that no other folder is looked through. */
export function searchOf(pattern: string): Search {
  // What ends with ** wants what is in folders, not a file of the folder's name.
  const parts = pattern.replace(/(?<=^|\/)\*\*$/, '**/*').split('/');
  const first = parts.findIndex(hasWildcard);
  const literal = first === -1 ? parts : parts.slice(0, first);
  const rest = first === -1 ? [] : parts.slice(first);
  return { start: literal.join('/') || '.', below: at(rest, new Set([0])) };
}

/** Whether a name looks as if it had been meant as a pattern. */
export function looksLikePattern(name: string): boolean {
  return /[*?[\]{}]/.test(name);
}

/** `reached`: the parts of the pattern that may stand for what comes next; all of them at once, so that no way is tried twice. */
function at(parts: readonly string[], reached: ReadonlySet<number>): Below {
  // A ** stands for no folder too. The set grows while it is gone through.
  const all = new Set(reached);
  for (const index of all) if (parts[index] === '**') all.add(index + 1);
  return {
    isWanted: all.has(parts.length),
    isOpen: [...all].some((index) => index < parts.length),
    into: (name) => {
      const next = new Set<number>();
      for (const index of all) {
        const part = parts[index];
        if (part === '**' && !name.startsWith('.')) next.add(index);
        else if (part !== undefined && part !== '**' && matches(part, name)) next.add(index + 1);
      }
      return next.size === 0 ? undefined : at(parts, next);
    },
  };
}

/** As in a shell: a `*` or `?` does not stand for the dot that a hidden name begins with. */
function matches(part: string, name: string): boolean {
  if (name.startsWith('.') && !part.startsWith('.')) return false;
  let [inPart, inName, star, starAt] = [0, 0, -1, 0];
  while (inName < name.length) {
    const wanted = part[inPart];
    if (wanted === '*') {
      star = inPart++;
      starAt = inName;
    } else if (wanted === '?' || wanted === name[inName]) {
      inPart++;
      inName++;
    } else if (star !== -1) {
      // Only the last star can take more: what stands before it matches already, by as little as can be.
      inPart = star + 1;
      inName = ++starAt;
    } else return false;
  }
  while (part[inPart] === '*') inPart++;
  return inPart === part.length;
}

function hasWildcard(part: string): boolean {
  return /[*?]/.test(part);
}
