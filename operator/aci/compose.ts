/** The container group of an attempt, with what its Secrets and ConfigMaps hold at this moment; kept nowhere. */
import { createHash } from 'node:crypto';
import { ANNOTATION, TAG } from '../../contract/identity.ts';
import { ServiceError } from '../../lib/errors.ts';
import type { FullJob, JobRecord } from '../jobs/records.ts';
import type { Trouble } from './attempts.ts';
import type { ContainerGroup } from './container-group.ts';
import { fieldOf } from './fields.ts';
import { NO_REFERENCE, type ReadReference, readSources } from './references.ts';
import type { AciTerms } from './terms.ts';
import { type Place, translate } from './translate.ts';

/** Whose group it is, and what reads what its task refers to. */
export interface Composer {
  readonly installation: string;
  readonly namespace: string;
  readonly read: ReadReference;
}

/** The reason that Kubernetes has for a container whose references lead nowhere. */
const MISSING = 'CreateContainerConfigError';

/** @returns the group, or what is missing for it */
export async function composeGroup(
  { record, template }: FullJob,
  attempt: number,
  terms: AciTerms,
  { installation, namespace, read }: Composer,
  signal: AbortSignal,
): Promise<{ readonly group: ContainerGroup } | { readonly trouble: Trouble }> {
  const named = { name: record.name, namespace, uid: record.uid };
  try {
    const sources = await readSources(template, read, signal);
    const place = { ...terms.place, logAnalytics: await workspaceOf(terms, read, signal) };
    const spec = createHash('sha256')
      .update(JSON.stringify([template, terms.place]))
      .digest('hex')
      .slice(0, 12);
    const tags = {
      ...tagsOf(record, attempt),
      [TAG.installation]: installation,
      [TAG.namespace]: namespace,
      [TAG.spec]: spec,
    };
    const made = translate(template, place, tags, { ...sources, field: (path) => fieldOf(template, named, path) });
    if (made.kind === 'group') return made;
    const message = made.missing.map(({ field, reason }) => `${field}: ${reason}`).join('; ');
    return { trouble: { reason: MISSING, message } };
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== NO_REFERENCE) throw error;
    return { trouble: { reason: MISSING, message: error.message } };
  }
}

function tagsOf({ name, uid, annotations }: JobRecord, attempt: number): Readonly<Record<string, string>> {
  return {
    [TAG.job]: name,
    [TAG.jobUid]: uid,
    [TAG.message]: annotations[ANNOTATION.messageId] ?? '',
    [TAG.queue]: annotations[ANNOTATION.queue] ?? '',
    [TAG.attempt]: String(attempt),
  };
}

async function workspaceOf(
  { logAnalytics }: AciTerms,
  read: ReadReference,
  signal: AbortSignal,
): Promise<Place['logAnalytics']> {
  if (logAnalytics === undefined) return undefined;
  const { workspaceId, workspaceKey: ref } = logAnalytics;
  const keys = await read('Secret', ref.name, signal);
  const workspaceKey = Buffer.from(keys?.[ref.key] ?? '', 'base64').toString('utf8');
  if (workspaceKey !== '') return { workspaceId, workspaceKey };
  const message = `aci.logAnalytics: there is no key ${ref.key} in the Secret ${ref.name}`;
  throw new ServiceError('forbidden', NO_REFERENCE, message);
}
