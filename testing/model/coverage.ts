/** How often each fault of each step was met. */
import {
  API_FAULTS,
  API_STEPS,
  API_TABLE,
  CELLS,
  type Cell,
  cellName,
  QUEUE_FAULTS,
  QUEUE_STEPS,
  QUEUE_TABLE,
  WATCH_FAULTS,
  WATCH_STEPS,
  WATCH_TABLE,
  WEBHOOK_FAULTS,
  WEBHOOK_STEPS,
  WEBHOOK_TABLE,
} from './faults.ts';

/** Meetings of many plays, by the names of the cells. */
export class Coverage {
  readonly #met = new Map<string, number>();

  /** Adds what one play met. */
  add(met: ReadonlyMap<string, number>): void {
    for (const [name, times] of met) this.#met.set(name, this.times(name) + times);
  }

  times(name: string): number {
    return this.#met.get(name) ?? 0;
  }

  /** The cells that were never met. */
  missing(): readonly string[] {
    return CELLS.map(cellName).filter((name) => this.times(name) === 0);
  }

  /** A table of steps and faults for each server; a dot where the fault cannot be. */
  toString(): string {
    return [
      this.#table('queue', QUEUE_STEPS, QUEUE_FAULTS, QUEUE_TABLE),
      this.#table('API server', API_STEPS, API_FAULTS, API_TABLE),
      this.#table('watch', WATCH_STEPS, WATCH_FAULTS, WATCH_TABLE),
      this.#table('webhook', WEBHOOK_STEPS, WEBHOOK_FAULTS, WEBHOOK_TABLE),
    ].join('\n');
  }

  #table(
    title: string,
    steps: readonly Cell['step'][],
    faults: readonly Cell['fault'][],
    table: Readonly<Record<string, Readonly<Record<string, string>>>>,
  ): string {
    const cell = (step: Cell['step'], fault: Cell['fault']) =>
      table[step]?.[fault] === 'tried' ? String(this.times(cellName({ step, fault }))) : '.';
    const head = [title, ...faults.map((fault) => (/^\d/.test(fault) ? fault.slice(0, 3) : fault))];
    const rows = steps.map((step) => [step, ...faults.map((fault) => cell(step, fault))]);
    const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
    return [head, ...rows]
      .map((row) =>
        row
          .map((text, column) => (column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0)))
          .join('  '),
      )
      .join('\n');
  }
}
