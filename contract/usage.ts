/** What a task uses of a machine, and costs: its size times its time. Pure. */
import { z } from 'zod';

const rateSchema = z.object({
  /** vCPUs and GiB that the task has, and what both cost in a second, where that is known. */
  vcpu: z.number().nonnegative(),
  gib: z.number().nonnegative(),
  cost: z.number().nonnegative().optional(),
});

/** What a second of a task takes. It stands on the Job: a changed price is for new tasks. */
export type Rate = z.infer<typeof rateSchema>;

export const usageSchema = z.object({
  vcpu_seconds: z.number().nonnegative(),
  gib_seconds: z.number().nonnegative(),
  /** In the currency of the configured prices; left out where there is no price. */
  cost: z.number().nonnegative().optional(),
});

/** What a task has taken. */
export type Usage = z.infer<typeof usageSchema>;

/** Prices of a second. */
export interface Prices {
  readonly vcpuSecond: number;
  readonly gibSecond: number;
}

/** The rate of a size at these prices. */
export function rateOf(vcpu: number, gib: number, prices: Prices | undefined): Rate {
  return { vcpu, gib, ...(prices && { cost: vcpu * prices.vcpuSecond + gib * prices.gibSecond }) };
}

/** Reads a rate; undefined for a text that is none. */
export function parseRate(text: string | undefined): Rate | undefined {
  if (text === undefined) return undefined;
  try {
    return rateSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What so many seconds take. */
export function usageOf({ vcpu, gib, cost }: Rate, seconds: number): Usage {
  return {
    vcpu_seconds: round(vcpu * seconds, 3),
    gib_seconds: round(gib * seconds, 3),
    ...(cost === undefined ? {} : { cost: round(cost * seconds, 8) }),
  };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
