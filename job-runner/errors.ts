/** How a handler says what kind of failure it met. Anything else that it throws is a failed attempt (exit code 1). */
import type { Category } from '../contract/diagnosis.ts';

/** No attempt can help: the task's data is wrong (exit code 65). The message goes into webhook and poison copy: no secrets. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
  readonly code: Category;

  constructor(message: string, options: { code?: Category; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = options.code ?? 'TaskFailed';
  }
}

/** No attempt can help until the task type's settings are mended (exit code 78). The message names the setting. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/** A service is out of reach for the moment (exit code 75). Counts as an attempt. */
export class TemporaryError extends Error {
  override readonly name = 'TemporaryError';
}
