/** One `coordination.k8s.io/v1` Lease: what stands on it, and how it is read and written. */
import { LABEL, MANAGED_BY } from '../contract/identity.ts';
import { fromIso, iso } from '../lib/clock.ts';
import { ifFound } from '../lib/errors.ts';
import type { KubernetesApi } from './jobs/api.ts';

/**
 * What a Lease says. Moments are milliseconds since the epoch, by the clock of whoever wrote them: nothing may be
 * decided by them.
 */
export interface LeaseTerms {
  /** '' for nobody. */
  readonly holder: string;
  readonly durationSeconds: number;
  readonly acquiredAt: number | undefined;
  readonly renewedAt: number | undefined;
  /** How often it has passed to another holder. */
  readonly transitions: number;
}

/** A Lease as it was read. */
export interface LeaseObject extends LeaseTerms {
  /** As the server gave it, and as a replacement gives it back, so that other people's labels stay. */
  readonly metadata: { readonly resourceVersion: string; readonly uid: string };
}

/**
 * The Leases of one namespace. Every method ends with its signal, and throws a `ServiceError`: `conflict` (exists, or
 * is another version than was read), `not-found`, `forbidden`, `throttled`, `unavailable`, `unknown`. After
 * `unavailable` and `unknown` a write may have been carried out, or may yet be.
 */
export interface LeaseStore {
  /** Reads it from the server, not from a cache; undefined when it is not there. */
  read(name: string, signal: AbortSignal): Promise<LeaseObject | undefined>;
  create(name: string, terms: LeaseTerms, signal: AbortSignal): Promise<LeaseObject>;
  /** Writes new terms onto exactly that version of that object. */
  replace(name: string, before: LeaseObject, terms: LeaseTerms, signal: AbortSignal): Promise<LeaseObject>;
}

/** A Lease in JSON. People may have edited it, so nothing in it is sure. */
interface RawLease {
  readonly metadata: LeaseObject['metadata'];
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number | null;
    readonly acquireTime?: string | null;
    readonly renewTime?: string | null;
    readonly leaseTransitions?: number | null;
  };
}

/** Leases on the Kubernetes API server. */
export function createLeaseStore(api: KubernetesApi, namespace: string): LeaseStore {
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
  const query = { fieldValidation: 'Strict' };
  return {
    read: async (name, signal) => {
      const found = await ifFound(api.request({ method: 'GET', path: `${leases}/${name}`, signal }));
      return found === undefined ? undefined : leaseObject(found as RawLease);
    },
    create: async (name, terms, signal) => {
      const metadata = { name, namespace, labels: { [LABEL.managedBy]: MANAGED_BY } };
      const body = { ...kind, metadata, spec: specOf(terms) };
      return leaseObject((await api.request({ method: 'POST', path: leases, query, body, signal })) as RawLease);
    },
    replace: async (name, { metadata }, terms, signal) => {
      const path = `${leases}/${name}`;
      const body = { ...kind, metadata, spec: specOf(terms) };
      return leaseObject((await api.request({ method: 'PUT', path, query, body, signal })) as RawLease);
    },
  };
}

function specOf({ holder, durationSeconds, acquiredAt, renewedAt, transitions }: LeaseTerms): RawLease['spec'] {
  return {
    holderIdentity: holder,
    leaseDurationSeconds: durationSeconds,
    ...(acquiredAt === undefined ? {} : { acquireTime: microTime(acquiredAt) }),
    ...(renewedAt === undefined ? {} : { renewTime: microTime(renewedAt) }),
    leaseTransitions: transitions,
  };
}

/** Kubernetes reads a MicroTime with six digits, and with no other number of them. */
function microTime(ms: number): string {
  return iso(ms).replace('Z', '000Z');
}

function leaseObject({ metadata, spec }: RawLease): LeaseObject {
  return {
    metadata,
    holder: spec?.holderIdentity ?? '',
    durationSeconds: spec?.leaseDurationSeconds ?? 0,
    acquiredAt: fromIso(spec?.acquireTime),
    renewedAt: fromIso(spec?.renewTime),
    transitions: spec?.leaseTransitions ?? 0,
  };
}
