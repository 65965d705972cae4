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

/**
 * The SDKs read connection strings by exact spelling and answer most others with a TypeError, so what they get is written anew from the
 * parts. What they would have to guess is public Azure over https.
 */
function fromConnectionString(text: string): StorageAccess | InvalidAccess {
  const parts = new Map(text.split(';').map(namedPart));
  const part = (name: string) => parts.get(name) ?? '';
  if (part('usedevelopmentstorage') === 'true')
    return { kind: 'connection-string', account: 'devstoreaccount1', secret: new Secret('UseDevelopmentStorage=true') };

  const protocol = part('defaultendpointsprotocol') || 'https';
  const suffix = part('endpointsuffix') || 'core.windows.net';
  const endpoint = part('queueendpoint') || `${protocol}://${part('accountname')}.queue.${suffix}`;
  const account = part('accountname') || accountOf(endpoint);
  const key = part('accountkey');
  const signature = part('sharedaccesssignature').replace(/^\?/, '');
  const complete = /^[A-Za-z0-9+/]+={0,2}$/.test(key) || /(^|&)sig=/.test(signature);
  if (account === undefined || !/^[a-z0-9]+$/.test(account) || !isHttp(endpoint) || !complete) {
    return invalid(
      'AZURE_STORAGE_CONNECTION_STRING (value not shown): is no connection string of a storage account. Copy it whole, without quotes: DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net',
    );
  }
  const blob = part('blobendpoint') || (endpoint.includes('.queue.') ? endpoint.replace('.queue.', '.blob.') : '');
  const endpoints = [`QueueEndpoint=${endpoint}`, ...(blob === '' ? [] : [`BlobEndpoint=${blob}`])];
  const canonical =
    key === ''
      ? [...endpoints, `SharedAccessSignature=${signature}`]
      : [`DefaultEndpointsProtocol=${protocol}`, `AccountName=${account}`, `AccountKey=${key}`, ...endpoints];
  return { kind: 'connection-string', account, secret: new Secret(canonical.join(';')) };
}

function namedPart(text: string): [name: string, value: string] {
  const at = text.indexOf('=');
  return [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
}

function fromSasUrl(text: string): StorageAccess | InvalidAccess {
  const account = accountOf(text);
  if (account === undefined || !isHttp(text) || !URL.parse(text)?.searchParams.has('sig')) {
    return invalid(
      'AZURE_STORAGE_SAS_URL (value not shown): is no queue service URL with a SAS. Use https://ACCOUNT.queue.core.windows.net/?sv=…&sig=…, without a queue in its path',
    );
  }
  return { kind: 'sas-url', account, secret: new Secret(text.trim()) };
}

/** `ACCOUNT.queue.…`, or, for emulators addressed by IP or a plain host name, the path. A longer path is a queue's, not the service's. */
function accountOf(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  const path = parsed.pathname.split('/').filter((part) => part !== '');
  const byHost = parsed.hostname.includes('.queue.');
  if (path.length !== (byHost ? 0 : 1)) return undefined;
  return byHost ? parsed.hostname.split('.')[0] : path[0];
}

function isHttp(url: string): boolean {
  const parsed = URL.parse(url);
  // A host may hold quotes, for URL; they are left over from a quoted value.
  return parsed !== null && /^https?:$/.test(parsed.protocol) && !/["']/.test(parsed.hostname);
}

function invalid(problem: string): InvalidAccess {
  return { kind: 'invalid', problem };
}
