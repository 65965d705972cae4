/** Names and patterns of names, in which `*` stands for any characters. */

/** Whether the name fits the pattern, whole. */
export function fitsPattern(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  const last = rest.pop() ?? '';
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false;
  // The parts between, each at its earliest place: if they fit at all, they fit there.
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

/**
 * Of the patterns that the name fits, the most particular one: the name itself, else the one with the most characters beside `*`, else the
 * first in the alphabet, so that it does not depend on their order. Undefined when it fits none.
 */
export function bestPattern(patterns: readonly string[], name: string): string | undefined {
  const particular = (pattern: string) =>
    pattern === name ? Number.POSITIVE_INFINITY : pattern.replaceAll('*', '').length;
  return patterns
    .filter((pattern) => fitsPattern(pattern, name))
    .toSorted()
    .toSorted((a, b) => particular(b) - particular(a))[0];
}
