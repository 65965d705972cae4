/**
 * Lets a message that may be what ends the operator be handled alone, so that it takes no others with it: everybody else passes together,
 * and while one waits to pass alone nobody new is let in.
 */
export class Gate {
  #inside = 0;
  /** Whoever waits to pass alone, or is passing. */
  #alone: unknown;

  /**
   * Asks to pass. Does not wait: whoever is refused asks again.
   *
   * @param who stands for the same asker at each call
   * @returns what to dispose of after passing; undefined when it is not the time yet
   */
  enter(who: unknown, alone: boolean): Disposable | undefined {
    if (this.#alone !== undefined && this.#alone !== who) return undefined;
    if (alone) {
      this.#alone = who;
      if (this.#inside > 0) return undefined;
    }
    this.#inside++;
    return {
      [Symbol.dispose]: () => {
        this.#inside--;
        if (alone) this.#alone = undefined;
      },
    };
  }

  /** Stands for the time in which somebody asks; when it is over, they ask no more. */
  asking(who: unknown): Disposable {
    return {
      [Symbol.dispose]: () => {
        if (this.#alone === who) this.#alone = undefined;
      },
    };
  }
}
