/** The Secrets that the operator's Deployment names. Their values are judged and used, never shown. */
import { isKind } from '../../lib/errors.ts';
import { Secret } from '../../lib/secret.ts';
import { type StorageAccess, storageAccess } from '../../queue/access.ts';
import { ask } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import type { Deployment, SecretKey } from '../installation.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem } from './finding.ts';
import { askable } from './may.ts';

/** What was found of the operator's Secrets. */
export interface Secrets {
  readonly findings: readonly Finding[];
  /** The operator's way into the storage account, if it could be read and is one. */
  readonly access: StorageAccess | undefined;
}

/** Looks for the Secrets of the Deployment, each with its key. */
export async function examineSecrets(
  cluster: Cluster,
  user: string | undefined,
  { name, storage, webhookSecret }: Deployment,
): Promise<Secrets> {
  const findings: Finding[] = [];
  let access: StorageAccess | undefined;
  if (storage === undefined) {
    const detail = `Deployment ${name} takes neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_SAS_URL from a Secret: the operator cannot reach a queue`;
    const command = `helm upgrade slipway charts/slipway -n ${cluster.namespace} --reuse-values --set storage.existingSecret=slipway-storage`;
    findings.push(problem('storage Secret', detail, command));
  } else {
    const { variable, from } = storage;
    const read = await examineKey(cluster, user, 'storage Secret', from, `"$${variable}"`);
    const value = read.value?.reveal();
    const found =
      value === undefined
        ? undefined
        : variable === 'AZURE_STORAGE_SAS_URL'
          ? storageAccess(undefined, value)
          : storageAccess(value, undefined);
    if (found === undefined) findings.push(read.finding);
    else if (found.kind === 'invalid') {
      const detail = `Secret ${from.name}, key ${from.key}: ${found.problem}`;
      findings.push(problem('storage Secret', detail, setKey(cluster.namespace, from, `"$${variable}"`)));
    } else {
      access = found;
      findings.push(
        ok('storage Secret', `Secret ${from.name} has the key ${from.key}, for the account ${found.account}`),
      );
    }
  }
  if (webhookSecret !== undefined) {
    const fresh = '"whsec_$(openssl rand -base64 24)"';
    findings.push((await examineKey(cluster, user, 'webhook Secret', webhookSecret, fresh)).finding);
  }
  return { findings, access };
}

/**
 * One key of a Secret.
 *
 * @param shell the value as a word for a shell, for the command that puts it into the Secret
 * @param by what names the key
 */
export async function examineKey(
  cluster: Cluster,
  user: string | undefined,
  check: string,
  { name, key }: SecretKey,
  shell: string,
  by = 'the Deployment names',
): Promise<{ readonly finding: Finding; readonly value?: Secret }> {
  const create = `${kubectl(cluster.namespace, 'create', 'secret', 'generic', name)} --from-literal=${key}=${shell}`;
  const read = await readSecret(cluster, user, check, name, create);
  if ('finding' in read) return read;
  const { data } = read;
  const encoded = data[key];
  if (encoded === undefined || encoded === '') {
    const keys = Object.keys(data);
    const has = keys.length === 0 ? 'no key at all' : `only ${keys.join(', ')}`;
    const detail = `Secret ${name} has not the key ${key} that ${by}; it has ${has}`;
    return { finding: problem(check, detail, setKey(cluster.namespace, { name, key }, shell)) };
  }
  return {
    finding: ok(check, `Secret ${name} has the key ${key}`),
    value: new Secret(Buffer.from(encoded, 'base64').toString('utf8')),
  };
}

/** A Secret that has to be there, with whichever keys. `create`: the command that makes it. */
export async function examineWhole(
  cluster: Cluster,
  user: string | undefined,
  check: string,
  name: string,
  create: string,
): Promise<Finding> {
  const read = await readSecret(cluster, user, check, name, create);
  return 'finding' in read ? read.finding : ok(check, `Secret ${name} is there`);
}

/** A Secret's keys with their values in base64, or what to say of one that is not there or may not be read. */
async function readSecret(
  { api, namespace }: Cluster,
  user: string | undefined,
  check: string,
  name: string,
  create: string,
): Promise<{ readonly finding: Finding } | { readonly data: Readonly<Record<string, string>> }> {
  const read = await ask(api.request({ method: 'GET', path: `/api/v1/namespaces/${namespace}/secrets/${name}` }));
  if (read.ok) return { data: (read.value as { data?: Readonly<Record<string, string>> }).data ?? {} };
  if (isKind(read.error, 'not-found'))
    return { finding: problem(check, `there is no Secret ${name} in ${namespace}`, create) };
  const right = { group: '', resource: 'secrets', verbs: ['get'], name };
  return { finding: askable(check, read.error, namespace, user, right) };
}

/** Sets one key and leaves the others. The value comes from the shell's environment, so that it is in no history. */
function setKey(namespace: string, { name, key }: SecretKey, shell: string): string {
  return `${kubectl(namespace, 'patch', 'secret', name, '-p')} '{"stringData":{"${key}":"'${shell}'"}}'`;
}
