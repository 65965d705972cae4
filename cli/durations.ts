/** Spans of time as people write and read them. */

/** Seconds as `45s`, `30m`, `1h30m`, `7d`. */
export function duration(seconds: number): string {
  const parts: string[] = [];
  let rest = Math.round(seconds);
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count}${unit}`);
    rest -= count * size;
  }
  return parts.length === 0 ? '0s' : parts.join('');
}

const UNITS: readonly (readonly [unit: string, seconds: number])[] = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

const DAY_S = 86_400;

/** A duration in its two largest units. */
export function shortDuration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s}s`;
  if (s < 3600) return parts(Math.floor(s / 60), 'm', s % 60, 's');
  if (s < DAY_S) return parts(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'm');
  return parts(Math.floor(s / DAY_S), 'd', Math.floor((s % DAY_S) / 3600), 'h');
}

function parts(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return `${large}${largeUnit}${small === 0 ? '' : `${small}${smallUnit}`}`;
}

/** Reads a duration into milliseconds; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?$/.exec(text);
  if (match === null || text === '') return undefined;
  const [, d = 0, h = 0, m = 0, s = 0] = match.map((part) => Number(part ?? 0));
  return (d * DAY_S + h * 3600 + m * 60 + s) * 1000;
}
