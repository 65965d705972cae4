/** Kubernetes quantities as numbers. */

const UNITS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number that a quantity such as `500m`, `2Gi` or `1e3` stands for; undefined for a text that is none. */
export function quantity(text: string | number | undefined): number | undefined {
  const match = /^([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?)(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$/.exec(String(text ?? ''));
  if (match === null) return undefined;
  const unit = UNITS[match[2] ?? ''];
  return unit === undefined ? undefined : Number(match[1]) * unit;
}
