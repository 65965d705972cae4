/**
 * Applies a raw patch to a pod template: objects merge, `null` removes, lists of objects that have names merge by name (containers,
 * volumes, env, ports, …), any other list replaces. That is what people know from `kubectl patch` for the lists that matter in a pod.
 */
export function patchTemplate(base: unknown, patch: unknown): unknown {
  if (isNamedList(base) && isNamedList(patch)) return mergeByName(base, patch);
  if (!isObject(patch)) return patch;
  const old = new Map(isObject(base) ? Object.entries(base) : []);
  const merged = new Map(old);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, patchTemplate(old.get(key), value));
  }
  return Object.fromEntries(merged);
}

interface Named {
  readonly name: string;
}

function mergeByName(base: readonly Named[], patch: readonly Named[]): unknown[] {
  const patches = new Map(patch.map((item) => [item.name, item]));
  const kept = base.map((item) => (patches.has(item.name) ? patchTemplate(item, patches.get(item.name)) : item));
  const known = new Set(base.map((item) => item.name));
  return [...kept, ...patch.filter((item) => !known.has(item.name))];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNamedList(value: unknown): value is readonly Named[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((item) => isObject(item) && typeof item['name'] === 'string')
  );
}
