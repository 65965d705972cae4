/** Where a document is, as a payload says it. */
import { z } from 'zod';
import { allowsHost } from '../../webhook/allow-list.ts';
import { analysisPayloadSchema } from '../analysis/schema.ts';
import { PermanentError } from '../errors.ts';

const containerSchema = z
  .string()
  .regex(
    /^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/,
    'must be a container name: 3 to 63 lower-case letters, digits and single hyphens',
  );
const pathSchema = z
  .string()
  .min(1)
  .max(1024)
  // Azure resolves such segments, so that the blob would be another one than the payload seems to name.
  .refine(
    (path) => !path.split(/[/\\]/).some((part) => part === '.' || part === '..'),
    'must not have "." or ".." as a part',
  );

/** The payload of `document-processing`. */
export const documentPayloadSchema = z
  .object({
    /** A blob of the configured storage account. */
    container: containerSchema.optional(),
    path: pathSchema.optional(),
    /** Or a blob's URL, with a SAS unless anybody may read it. */
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .max(8192)
      .optional(),
    /** Where the result goes. Default: the configured container, {client}/{task_id}.json */
    output: z.object({ container: containerSchema.optional(), path: pathSchema.optional() }).optional(),
    /** What a model is asked about it, where one is configured. */
    analysis: analysisPayloadSchema.optional(),
  })
  .refine(({ url, container, path }) => (url === undefined) === (container !== undefined && path !== undefined), {
    error: 'must name the document either by container and path or by url',
  });

export type DocumentPayload = z.output<typeof documentPayloadSchema>;

/** Where a document is. */
export type DocumentSource =
  | { readonly kind: 'blob'; readonly container: string; readonly path: string }
  | { readonly kind: 'url'; readonly url: URL };

/** Azure's hosts of blobs, public and sovereign clouds. */
const AZURE_HOSTS = [
  '*.blob.core.windows.net',
  '*.blob.storage.azure.net',
  '*.blob.core.usgovcloudapi.net',
  '*.blob.core.chinacloudapi.cn',
];

/**
 * Reads the source.
 *
 * @param ownHost host (and port) of the configured storage account
 * @param hosts further hosts that are allowed
 * @throws PermanentError for a URL that is not Azure's: a message must not make the runner call whatever it names
 */
export function documentSource(payload: DocumentPayload, ownHost: string, hosts: readonly string[]): DocumentSource {
  const { container, path, url } = payload;
  if (url === undefined) return { kind: 'blob', container: container ?? '', path: path ?? '' };
  const parsed = new URL(url);
  const known = parsed.protocol === 'https:' && allowsHost([...AZURE_HOSTS, ...hosts], parsed.hostname);
  if (known || parsed.host === ownHost) return { kind: 'url', url: parsed };
  throw new PermanentError(
    `payload.url: ${parsed.protocol}//${parsed.host} is no https host of Azure Blob Storage; others must be named in DOCUMENT_URL_HOSTS`,
    { code: 'Malformed' },
  );
}

/** The source for people and results: no credentials. */
export function sourceName(source: DocumentSource): string {
  return source.kind === 'blob' ? `${source.container}/${source.path}` : `${source.url.origin}${source.url.pathname}`;
}
