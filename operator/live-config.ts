/** The configuration as it is now: a change of the mounted file is applied to what is begun after it. */
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Config, ConfigError, namespacesOf } from './config.ts';
import type { JobStore } from './jobs/store.ts';
import type { Metrics } from './metrics.ts';

export class LiveConfig {
  #current: Config;
  readonly #listeners: (() => void)[] = [];

  constructor(config: Config) {
    this.#current = config;
  }

  get current(): Config {
    return this.#current;
  }

  /** Puts another configuration in its place. */
  replace(config: Config): void {
    this.#current = config;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

/** What reading the file again works with. */
export interface ReloadTools {
  /** Reads environment and file; throws a ConfigError for a wrong one. */
  readonly load: () => Promise<Config>;
  readonly store: Pick<JobStore, 'notify'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'configRefused'>;
}

/** A mounted ConfigMap changes by a swap of symbolic links, which file system events tell unreliably; reading a small file is cheap. */
const READ_EACH_MS = 5000;

/**
 * Reads the file again and again until `signal` aborts. A broken one is refused: the configuration before it stays, a log line and an Event
 * say so once, and the metric says so as long as it lasts.
 */
export async function keepReading(live: LiveConfig, tools: ReloadTools, signal: AbortSignal): Promise<void> {
  const { clock, log, metrics } = tools;
  let refused = '';
  const refuse = (problems: readonly string[]) => {
    metrics.configRefused.set(1);
    const text = problems.join('; ');
    if (text === refused) return;
    refused = text;
    log.error({ problems }, 'the changed configuration is refused, the one before it stays: correct the file');
    const { podName } = live.current;
    if (podName === undefined) return;
    void tools.store.notify({
      reason: 'ConfigRefused',
      message: `The changed configuration is refused, the one before it stays: ${text}`,
      type: 'Warning',
      about: { kind: 'Pod', name: podName },
    });
  };
  while (!signal.aborted) {
    await clock.sleep(READ_EACH_MS, signal);
    if (signal.aborted) return;
    try {
      const config = await tools.load();
      const problem = needsRestart(live.current, config);
      if (problem !== undefined) {
        refuse([problem]);
        continue;
      }
      metrics.configRefused.set(0);
      if (refused !== '') log.info({}, 'the configuration is in order again');
      refused = '';
      if (config.hash === live.current.hash) continue;
      log.info(
        { before: live.current.hash, config: config.hash },
        'the configuration has changed; it is for new tasks',
      );
      live.replace(config);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      refuse(error.problems);
    }
  }
}

/** The identity by which Jobs are recognised cannot change while there are some under the former one, nor where they are looked for. */
function needsRestart(before: Config, after: Config): string | undefined {
  if (before.installation !== after.installation)
    return `installation = "${after.file.installation}": cannot change while the operator runs (it is "${before.file.installation}"). Run "slipway drain", then restart the operator`;
  const [is, was] = [namespacesOf(after), namespacesOf(before)].map((names) => names.toSorted().join(', '));
  if (is === was) return undefined;
  return `taskTypes.*.ci.namespace: the namespaces of Jobs cannot change while the operator runs (they are ${was}; asked for: ${is}). Restart the operator once no Job of a namespace that is left runs any more`;
}
