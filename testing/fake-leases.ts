/** Leases in memory, each client behind a wire of its own. Held to the API server by tests/control-plane/leases.test.ts. */
import { ServiceError } from '#/lib/errors.ts';
import type { LeaseObject, LeaseStore, LeaseTerms } from '#/operator/lease-object.ts';

/** What happens to one client's calls. A call that its client no longer waits for still takes effect when it arrives. */
export interface LeaseWire {
  /** Called before each call takes effect; what it throws is the answer. */
  before: (operation: keyof LeaseStore) => void | Promise<void>;
  /** Called after each call has taken effect; what it throws is the answer, although the effect stays. */
  after: (operation: keyof LeaseStore) => void | Promise<void>;
}

export class FakeLeases {
  readonly #leases = new Map<string, LeaseObject>();
  #versions = 0;

  /** A Lease as it stands. */
  stored(name: string): LeaseObject | undefined {
    return this.#leases.get(name);
  }

  /** Writes a Lease as a person does, whoever holds it. */
  put(name: string, terms: LeaseTerms): LeaseObject {
    const uid = this.#leases.get(name)?.metadata.uid ?? `uid-${this.#versions}`;
    const { holder, durationSeconds, acquiredAt, renewedAt, transitions } = terms;
    const metadata = { resourceVersion: String(++this.#versions), uid };
    const lease = { metadata, holder, durationSeconds, acquiredAt, renewedAt, transitions };
    this.#leases.set(name, lease);
    return lease;
  }

  /** Deletes a Lease as a person does. */
  remove(name: string): void {
    this.#leases.delete(name);
  }

  /** A client. Its wire may be changed at any time. */
  client(wire: LeaseWire = { before: () => undefined, after: () => undefined }): LeaseStore {
    const call = <T>(operation: keyof LeaseStore, signal: AbortSignal, effect: () => T): Promise<T> => {
      const work = async () => {
        await wire.before(operation);
        const answer = effect();
        await wire.after(operation);
        return answer;
      };
      return unlessAborted(work(), signal);
    };
    return {
      read: (name, signal) => call('read', signal, () => this.#leases.get(name)),
      create: (name, terms, signal) =>
        call('create', signal, () => {
          if (this.#leases.has(name)) throw new ServiceError('conflict', 'AlreadyExists', 'exists');
          return this.put(name, terms);
        }),
      replace: (name, before, terms, signal) =>
        call('replace', signal, () => {
          if (this.#leases.get(name)?.metadata.resourceVersion !== before.metadata.resourceVersion)
            throw new ServiceError('conflict', 'Conflict', 'another version');
          return this.put(name, terms);
        }),
    };
  }
}

/** The promise's end, or `unknown` as soon as the signal aborts. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(new ServiceError('unknown', 'AbortError', 'no answer'));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}
