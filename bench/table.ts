/** What a benchmark prints: a figure, and what it stands beside. */

/** One line of the result. */
export interface Row {
  readonly what: string;
  readonly ours: string;
  /** A figure of the same run that ours is to be compared with; '' where there is none. */
  readonly baseline: string;
}

/** Lines that line up. */
export function table(rows: readonly Row[]): string {
  const width = (column: 'what' | 'ours') => Math.max(0, ...rows.map((row) => row[column].length));
  return rows
    .map(({ what, ours, baseline }) =>
      `${what.padEnd(width('what'))}  ${ours.padStart(width('ours'))}  ${baseline}`.trimEnd(),
    )
    .join('\n');
}

/** Whole milliseconds. */
export function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

/** With as many digits as tell something: three. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return 'unknown';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-6))));
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.min(digits, 4) });
}

/** Bytes in the unit that fits. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const mebibytes = bytes / 1024 ** 2;
  return mebibytes < 1 ? `${figure(bytes / 1024)} KiB` : `${figure(mebibytes)} MiB`;
}

/** The number that `part` of the numbers do not exceed; NaN of none. */
export function percentile(numbers: readonly number[], part: number): number {
  const at = Math.min(numbers.length - 1, Math.floor(numbers.length * part));
  return numbers.toSorted((a, b) => a - b)[at] ?? Number.NaN;
}
