/** The only reader of the command line's environment. */
import { type InvalidAccess, type StorageAccess, storageAccess } from '../queue/access.ts';

/** How the storage account is reached, by the same two settings as the operator's. */
export function accessFromEnvironment(env: NodeJS.ProcessEnv = process.env): StorageAccess | InvalidAccess {
  return storageAccess(env['AZURE_STORAGE_CONNECTION_STRING'], env['AZURE_STORAGE_SAS_URL']);
}
