/** What a failed attempt means for its Job, as Kubernetes' own Job controller judges it. Pure. */

/** A rule of `spec.podFailurePolicy`. */
export interface FailureRule {
  /** Ignore, FailJob or Count. */
  readonly action: string;
  readonly onExitCodes?: {
    readonly containerName?: string;
    /** In or NotIn. */
    readonly operator: string;
    readonly values: readonly number[];
  };
  readonly onPodConditions?: readonly { readonly type: string; readonly status?: string }[];
}

/** A failed attempt, as far as the rules look at it. */
export interface FailedAttempt {
  readonly conditions: readonly { readonly type: string; readonly status: string }[];
  readonly containers: readonly { readonly name: string; readonly exitCode: number }[];
}

/** The action of the first rule that fits, with its index; Count when none does. */
export function verdictOn(
  rules: readonly FailureRule[],
  failed: FailedAttempt,
): { readonly action: string; readonly index: number } {
  const index = rules.findIndex((rule) => fits(rule, failed));
  return { action: rules[index]?.action ?? 'Count', index };
}

const LONGEST_BACKOFF_MS = 600_000;

/** Milliseconds before the next attempt, after so many have failed. Ignored failures double it too. */
export function backoffMs(failed: number, firstMs = 10_000): number {
  return failed === 0 ? 0 : Math.min(LONGEST_BACKOFF_MS, firstMs * 2 ** (failed - 1));
}

function fits({ onExitCodes, onPodConditions = [] }: FailureRule, { conditions, containers }: FailedAttempt): boolean {
  if (onExitCodes === undefined)
    return onPodConditions.some(({ type, status = 'True' }) =>
      conditions.some((one) => one.type === type && one.status === status),
    );
  const { containerName, operator, values } = onExitCodes;
  return containers.some(({ name, exitCode }) => {
    // A container that ended with 0 has not failed, whatever the pod did.
    if (exitCode === 0 || (containerName !== undefined && containerName !== name)) return false;
    return values.includes(exitCode) === (operator === 'In');
  });
}
