/** One kind of object, as etcd and the API server keep it. */
import type { ServerMeta } from './objects.ts';

/** What the table looks at in an object. */
interface Stored {
  readonly metadata: ServerMeta;
  readonly status: object;
}

/** Is told of every change, after it has happened. */
export type Announce<T> = (what: 'changed' | 'gone', item: T) => void;

/** Objects by name. Each is one of its kind by its uid: one made anew under the same name is another. */
export class Table<T extends Stored> {
  readonly #items = new Map<string, T>();
  readonly #nextVersion: () => string;
  readonly #announce: Announce<T>;

  /** @param nextVersion shared by all tables of a store: versions rise over all its objects */
  constructor(nextVersion: () => string, announce: Announce<T>) {
    this.#nextVersion = nextVersion;
    this.#announce = announce;
  }

  get(name: string): T | undefined {
    return this.#items.get(name);
  }

  /** In order of creation. */
  all(): readonly T[] {
    return [...this.#items.values()];
  }

  /** Stores an object under a new version, in place of one of its name. */
  put(item: T): T {
    const stored = this.#versioned(item);
    this.#items.set(stored.metadata.name, stored);
    this.#announce('changed', stored);
    return stored;
  }

  /** Gives an object a new status, whatever else of it has changed meanwhile; nothing happens when it is gone. */
  setStatus({ metadata }: T, status: T['status']): void {
    const current = this.#current(metadata);
    if (current !== undefined) this.put({ ...current, status });
  }

  /** Removes an object; nothing happens when it is gone. */
  remove({ metadata }: T): void {
    const current = this.#current(metadata);
    if (current === undefined) return;
    this.#items.delete(metadata.name);
    this.#announce('gone', this.#versioned(current));
  }

  #current({ name, uid }: ServerMeta): T | undefined {
    const item = this.#items.get(name);
    return item?.metadata.uid === uid ? item : undefined;
  }

  #versioned(item: T): T {
    return { ...item, metadata: { ...item.metadata, resourceVersion: this.#nextVersion() } };
  }
}
