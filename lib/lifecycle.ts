/** The life of a process: one signal to stop, a second one to stop at once. */
export interface Lifecycle {
  /** Aborts on the first SIGTERM or SIGINT. */
  readonly stopping: AbortSignal;
  /** Takes the signal handlers away again. */
  [Symbol.dispose](): void;
}

/**
 * Listens for SIGTERM and SIGINT.
 *
 * @param onSecond called on a second signal; by default the process ends at once with 130
 */
export function listenForSignals(onSecond: () => void = () => process.exit(130)): Lifecycle {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) onSecond();
    else controller.abort(new Error(`stopped by ${signal}`));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return {
    stopping: controller.signal,
    [Symbol.dispose]() {
      process.off('SIGTERM', onSignal);
      process.off('SIGINT', onSignal);
    },
  };
}
