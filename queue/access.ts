/** How the storage account is reached: a connection string or a service URL with a SAS. */
import { Secret } from '../lib/secret.ts';

/** A way into a storage account, and its name. */
export type StorageAccess =
  | { readonly kind: 'connection-string'; readonly account: string; readonly secret: Secret }
  | { readonly kind: 'sas-url'; readonly account: string; readonly secret: Secret };

/** Why the settings give no way in; safe to print. */
export interface InvalidAccess {
  readonly kind: 'invalid';
  readonly problem: string;
}

/**
 * Reads the two settings, of which exactly one must be there.
 *
 * @param connectionString AZURE_STORAGE_CONNECTION_STRING
 * @param sasUrl AZURE_STORAGE_SAS_URL: the queue service's URL with a SAS, `https://ACCOUNT.queue.core.windows.net/?sv=…`
 */
export function storageAccess(
  connectionString: string | undefined,
  sasUrl: string | undefined,
): StorageAccess | InvalidAccess {
  const hasString = connectionString !== undefined && connectionString !== '';
  const hasUrl = sasUrl !== undefined && sasUrl !== '';
  if (hasString === hasUrl) {
    const what = hasString ? 'are both set' : 'are both not set';
    return invalid(`AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_SAS_URL ${what}. Set one of them, from a Secret`);
  }
  return hasString ? fromConnectionString(connectionString) : fromSasUrl(sasUrl ?? '');
}

function fromConnectionString(text: string): StorageAccess | InvalidAccess {
  const parts = new Map(
    text
      .split(';')
      .map((part) => [part.slice(0, part.indexOf('=')).trim().toLowerCase(), part.slice(part.indexOf('=') + 1).trim()]),
  );
  const short = parts.get('usedevelopmentstorage') === 'true';
  const account = short
    ? 'devstoreaccount1'
    : (parts.get('accountname') ?? accountOf(parts.get('queueendpoint') ?? ''));
  const complete = short || parts.has('accountkey') || parts.has('sharedaccesssignature');
  if (account === undefined || account === '' || !complete) {
    return invalid(
      'AZURE_STORAGE_CONNECTION_STRING (value not shown): is no connection string. Copy it whole: DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net',
    );
  }
  return { kind: 'connection-string', account, secret: new Secret(text) };
}

function fromSasUrl(text: string): StorageAccess | InvalidAccess {
  const account = accountOf(text);
  if (account === undefined || !URL.parse(text)?.searchParams.has('sig')) {
    return invalid(
      'AZURE_STORAGE_SAS_URL (value not shown): is no queue service URL with a SAS. Use https://ACCOUNT.queue.core.windows.net/?sv=…&sig=…',
    );
  }
  return { kind: 'sas-url', account, secret: new Secret(text) };
}

/** `ACCOUNT.queue.…` or, for emulators addressed by IP or a plain host name, the first part of the path. */
function accountOf(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  const first = parsed.pathname.split('/')[1];
  return /\.queue\./.test(parsed.hostname) ? parsed.hostname.split('.')[0] : first === '' ? undefined : first;
}

function invalid(problem: string): InvalidAccess {
  return { kind: 'invalid', problem };
}
