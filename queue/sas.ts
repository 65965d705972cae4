/** What a shared access signature allows, as it says itself. Whether it is valid only the service knows. */
import type { StorageAccess } from './access.ts';

/** The terms of a SAS. Times are milliseconds since the epoch. */
export interface SasTerms {
  /** An account SAS opens what its services and resource types say; a queue's SAS one queue's messages. */
  readonly kind: 'account' | 'queue';
  /** Letters of `sp`. */
  readonly permissions: string;
  /** Letters of `ss`: q for queues. */
  readonly services: string;
  /** Letters of `srt`: s the service, c queues, o messages. */
  readonly resourceTypes: string;
  readonly from: number | undefined;
  readonly until: number | undefined;
  /** The stored access policy that holds the rest of the terms, where one does. */
  readonly policy: string | undefined;
}

/** The terms of the SAS in a way into a storage account; undefined for an account key, which opens everything. */
export function sasTerms(access: StorageAccess): SasTerms | undefined {
  const secret = access.secret.reveal();
  const query =
    access.kind === 'sas-url'
      ? (URL.parse(secret)?.searchParams ?? new URLSearchParams())
      : new URLSearchParams(/(?:^|;)SharedAccessSignature=([^;]*)/i.exec(secret)?.[1] ?? '');
  if (!query.has('sig')) return undefined;
  const text = (name: string) => query.get(name) ?? '';
  return {
    kind: query.has('ss') ? 'account' : 'queue',
    permissions: text('sp'),
    services: text('ss'),
    resourceTypes: text('srt'),
    from: moment(text('st')),
    until: moment(text('se')),
    policy: query.get('si') ?? undefined,
  };
}

function moment(text: string): number | undefined {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** What the operator does with queues: the letters of which one must be there, and the resource type of an account SAS. */
const NEEDS: readonly (readonly [what: string, anyOf: string, resourceType: string])[] = [
  ['look for a queue', 'r', 'c'],
  ['receive and delete messages', 'p', 'o'],
  ['renew a lease', 'u', 'o'],
  ['put a poison copy', 'a', 'o'],
  ['create a poison queue', 'cw', 'c'],
];

/** What of the operator's work a SAS does not allow; empty when it allows all of it. Not to be asked where a stored policy holds the terms. */
export function missingRights(terms: SasTerms): readonly string[] {
  const allows = (anyOf: string, resourceType: string) =>
    [...anyOf].some((letter) => terms.permissions.includes(letter)) &&
    (terms.kind === 'queue' || (terms.services.includes('q') && terms.resourceTypes.includes(resourceType)));
  return NEEDS.filter(([, anyOf, resourceType]) => !allows(anyOf, resourceType)).map(([what]) => what);
}
