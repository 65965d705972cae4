/** The queues to receive from: those that are named, and those that discovery finds in the account. */
import { backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { isKind, messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { QueueService } from '../queue/service.ts';
import type { Source } from './config.ts';
import { discover } from './discover.ts';
import type { LiveConfig } from './live-config.ts';

/** What discovery works with. */
export interface SourcesOptions {
  readonly config: LiveConfig;
  readonly queues: Pick<QueueService, 'list'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when other queues are received from than before. */
  readonly onChange: () => void;
}

/** With a failing list the next try comes after this at first, and then more seldom. */
const RETRY_MS = 1000;

export class Sources {
  readonly #options: SourcesOptions;
  #found: readonly string[] = [];
  #listed = false;
  #problem: string | undefined;
  #current: readonly Source[];

  constructor(options: SourcesOptions) {
    this.#options = options;
    this.#current = options.config.current.sources;
    options.config.onChange(() => this.#update());
  }

  /** The sources now; a queue that is both named and found is as it is named. */
  get current(): readonly Source[] {
    return this.#current;
  }

  /** Why it is not known which queues there are; undefined when it is. */
  get problem(): string | undefined {
    if (this.#options.config.current.file.discovery === undefined) return undefined;
    return this.#problem ?? (this.#listed ? undefined : 'the queues of the account were not listed yet');
  }

  /** Looks at the account's queues again and again until `signal` aborts. While they cannot be listed, those known stay. */
  async keepLooking(signal: AbortSignal): Promise<void> {
    const { config, clock } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const { discovery } = config.current.file;
      if (discovery !== undefined) failures = (await this.#look(failures, signal)) ? 0 : failures + 1;
      const intervalMs = (discovery?.intervalSeconds ?? 15) * 1000;
      await clock.sleep(failures === 0 ? intervalMs : backoff(failures, RETRY_MS, intervalMs, clock), signal);
    }
  }

  async #look(failures: number, signal: AbortSignal): Promise<boolean> {
    const { queues, log } = this.#options;
    try {
      this.#found = await queues.list(signal);
      this.#listed = true;
      if (failures > 0) log.info({ failures }, "the account's queues can be listed again");
      this.#problem = undefined;
      this.#update();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const remedy = isKind(error, 'forbidden')
        ? '. A SAS needs the right "list" on the service; or name the queues and leave discovery out'
        : '';
      this.#problem = `${messageOf(error)}${remedy}`;
      if (failures === 0)
        log.warn({ err: error }, `the account's queues cannot be listed${remedy}. Those that are known stay`);
      return false;
    }
  }

  #update(): void {
    const { config, log, onChange } = this.#options;
    const { sources: named, file } = config.current;
    const names = new Set(named.map(({ queue }) => queue));
    const found = file.discovery === undefined ? [] : discover(this.#found, file.discovery);
    const before = this.#current;
    this.#current = [...named, ...found.filter(({ queue }) => !names.has(queue))];
    const lacking = (there: readonly Source[], here: readonly Source[]) => {
      const known = new Set(here.map(({ queue }) => queue));
      return there.map(({ queue }) => queue).filter((queue) => !known.has(queue));
    };
    const [added, gone] = [lacking(this.#current, before), lacking(before, this.#current)];
    if (added.length + gone.length > 0) log.info({ added, gone }, 'other queues are received from now');
    onChange();
  }
}
