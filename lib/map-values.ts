/** The same keys with other values. */
export function mapValues<T, U>(
  record: Readonly<Record<string, T>> | object,
  of: (value: T, key: string) => U,
): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value as T, key)]));
}
