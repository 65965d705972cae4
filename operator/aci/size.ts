/** What a task asks for, in ACI's steps: CPU by 0.01, memory by 0.1 GB, and at least 1 of each for a group. */
import type { V1ResourceRequirements } from '@kubernetes/client-node';
import { quantity } from '../../lib/quantity.ts';

/** The most that a group may have (resource and quota limits, 2025-11). */
export const MOST_CPU = 31;
export const MOST_MEMORY_GB = 240;
export const MOST_DISK_GB = 50;

/** The size of a group. */
export interface GroupSize {
  readonly cpu: number;
  /** Taken for 10⁹ bytes: if the service means 2³⁰, a task has more than it asked for, never less. */
  readonly memoryInGB: number;
  readonly diskGB: number;
}

/** The size for a container's requests, or limits where it requests nothing; rounded up. */
export function groupSize(resources: V1ResourceRequirements | undefined): GroupSize {
  const asked = (resource: string) => quantity(resources?.requests?.[resource] ?? resources?.limits?.[resource]) ?? 0;
  return {
    cpu: Math.max(1, upTo(asked('cpu'), 100)),
    memoryInGB: Math.max(1, upTo(asked('memory') / 1e9, 10)),
    diskGB: asked('ephemeral-storage') / 1e9,
  };
}

/** Rounds up to a step of 1/`parts`; what is a step but for the arithmetic stays it. */
function upTo(value: number, parts: number): number {
  return Math.ceil(Number((value * parts).toFixed(6))) / parts;
}
