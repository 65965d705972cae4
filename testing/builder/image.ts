/** Images: pulled, made and pushed. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ARCHITECTURE, type Descriptor, KINDS, openRepository, parseReference } from './registry.ts';
import { type Layer, OWN, unlessGone } from './root.ts';

/** The part of an image's configuration that a Dockerfile sets; the rest of it is kept as it is. */
export interface RunConfig {
  Env?: string[] | null;
  Cmd?: readonly string[] | null;
  Entrypoint?: readonly string[] | null;
  User?: string;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  ExposedPorts?: Record<string, object> | null;
  OnBuild?: readonly string[] | null;
}

interface ConfigFile {
  readonly config?: RunConfig | undefined;
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly string[] };
  readonly history?: readonly object[];
}

/** An image whose layers lie in files. */
export interface Image {
  readonly kind: keyof typeof KINDS;
  readonly file: ConfigFile;
  readonly layers: readonly (Descriptor & { readonly file: string })[];
}

/** As Go writes a time that is not set. */
const NO_TIME = '0001-01-01T00:00:00Z';

/** What a build begins with that has no base image. */
export const SCRATCH: Image = { kind: 'docker', file: { rootfs: { type: 'layers', diff_ids: [] } }, layers: [] };

/** Fetches an image. */
export async function pull(name: string, insecure: readonly string[]): Promise<Image> {
  const repository = openRepository(parseReference(name), insecure);
  const manifest = await repository.manifest();
  const folder = join(OWN, 'blobs');
  await mkdir(folder, { recursive: true });
  const fetched = async (blob: Descriptor) => {
    const file = join(folder, blob.digest.replace(':', '-'));
    if (!(await stat(file).catch(unlessGone))) await repository.blob(blob.digest, file);
    return { ...blob, file };
  };
  const config = await fetched(manifest.config);
  const layers = [];
  for (const layer of manifest.layers) layers.push(await fetched(layer));
  const kind = manifest.mediaType === KINDS.docker.manifest ? 'docker' : 'oci';
  return { kind, file: JSON.parse(await readFile(config.file, 'utf8')) as ConfigFile, layers };
}

/** The image with a further layer, where there is one, and another configuration. */
export function extend(image: Image, given: RunConfig, made: { layer: Layer; by: string } | undefined): Image {
  const { file, kind } = image;
  const platform = { architecture: ARCHITECTURE, os: 'linux' };
  const config = withoutEmpty(given);
  if (made === undefined) return { ...image, file: { ...file, ...platform, config } };
  const { digest, size, diffId, file: path } = made.layer;
  return {
    kind,
    layers: [...image.layers, { mediaType: KINDS[kind].layer, digest, size, file: path }],
    file: {
      ...file,
      ...platform,
      config,
      rootfs: { type: 'layers', diff_ids: [...file.rootfs.diff_ids, diffId] },
      history: [...(file.history ?? []), { author: 'kaniko', created_by: made.by }].map((one) => ({
        created: NO_TIME,
        ...one,
      })),
    },
  };
}

/** Kaniko writes no field that is empty. */
function withoutEmpty(config: RunConfig): RunConfig {
  const isFull = (value: unknown) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(config).filter(([, value]) => isFull(value)));
}

/** What a registry has of an image besides its layers: two texts. */
export interface Described {
  readonly config: Descriptor;
  readonly configText: string;
  readonly manifestText: string;
  /** `sha256:…`, of the manifest: the image's. */
  readonly digest: string;
}

/** Writes both. */
export function describe({ kind, file, layers }: Image): Described {
  const sha256 = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const configText = JSON.stringify(file);
  const size = Buffer.byteLength(configText);
  const config = { mediaType: KINDS[kind].config, digest: sha256(configText), size };
  const manifestText = JSON.stringify({
    schemaVersion: 2,
    mediaType: KINDS[kind].manifest,
    config,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  });
  return { config, configText, manifestText, digest: sha256(manifestText) };
}

/** Pushes an image as it is described. */
export async function push(
  image: Image,
  described: Described,
  name: string,
  insecure: readonly string[],
): Promise<void> {
  const repository = openRepository(parseReference(name), insecure);
  for (const layer of image.layers) await repository.upload(layer, { file: layer.file });
  await repository.upload(described.config, described.configText);
  await repository.putManifest(described.manifestText, KINDS[image.kind].manifest);
}
