import { mkdir, mkdtempDisposable, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { cacheDirectory } from '#/testing/cache.ts';
import { type Docker, startDocker } from '#/testing/docker.ts';
import { run } from '#/testing/shell.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const archives = fileURLToPath(new URL('./images/archives.sh', import.meta.url));
const directory = join(cacheDirectory, 'images');
const TEN_MINUTES = 600_000;

/** The images; each has a Dockerfile of its own. */
export const images = ['operator', 'runner'] as const;
export type Image = (typeof images)[number];

/** The name under which {@link buildImage} leaves an image in the engine. */
export const imageName = (image: Image): string => `slipway-test/${image}:latest`;

/**
 * Builds an image from its Dockerfile, on base images made of this machine's files (images/archives.sh), since tests pull none.
 * The first time takes a minute or two for `npm ci`; later only what has changed is built.
 */
export async function buildImage(
  { docker, host }: Docker,
  image: Image,
  file = `Dockerfile.${image}`,
): Promise<string> {
  await loadBase(host, 'base');
  await loadBase(host, 'builder');
  const base = ['--build-arg', 'BASE_IMAGE=slipway-test/base', '--build-arg', 'BUILDER_IMAGE=slipway-test/builder'];
  const options = { cwd: root, timeoutMs: TEN_MINUTES };
  await docker(['build', '--network', 'host', '--file', file, '--tag', imageName(image), ...base, '.'], options);
  return imageName(image);
}

/** Archives of both images, for `node.push`: built if need be, by an engine that runs meanwhile. */
export async function imageArchives(
  derived: readonly DerivedImage[] = [],
): Promise<Record<Image, string> & { readonly derived: readonly string[] }> {
  await using engine = await startDocker();
  const made = {} as Record<Image, string>;
  for (const image of images) {
    await buildImage(engine, image);
    made[image] = await save(engine, image);
  }
  return { ...made, derived: await Promise.all(derived.map((one) => derive(engine, one))) };
}

/** An image made of one of ours, as somebody makes it who uses it. */
export interface DerivedImage {
  /** What it is called in the engine; a name of a file, too. */
  readonly name: string;
  /** Its FROM is replaced by our image of that name. */
  readonly dockerfile: string;
  readonly from: Image;
  readonly files: Readonly<Record<string, string>>;
}

async function derive(engine: Docker, { name, dockerfile, from, files }: DerivedImage): Promise<string> {
  await using context = await mkdtempDisposable(join(tmpdir(), 'slipway-derived-'));
  await writeFile(join(context.path, 'Dockerfile'), dockerfile.replace(/^FROM .*$/m, `FROM ${imageName(from)}`));
  for (const [file, text] of Object.entries(files)) await writeFile(join(context.path, file), text);
  const tag = `slipway-test/${name}:latest`;
  await engine.docker(['build', '--network', 'none', '--tag', tag, context.path], { timeoutMs: TEN_MINUTES });
  const archive = join(directory, `${name}.tar`);
  await rm(archive, { force: true });
  await run('skopeo', [
    '--insecure-policy',
    'copy',
    '--quiet',
    '--src-daemon-host',
    engine.host,
    `docker-daemon:${tag}`,
    `oci-archive:${archive}`,
  ]);
  return archive;
}

/** The archive of an image with Python: a worker of somebody else. */
export const pythonArchive = (): Promise<string> => archive('python');

/** The archive of a base image for images that tests build: a shell with the usual commands. */
export const busyboxArchive = (): Promise<string> => archive('busybox');

/** The archive of an image with git and a shell, which runs as user 65532: what clones a repository. */
export const gitArchive = (): Promise<string> => archive('git');

/** The archive of the stand-in for Kaniko's executor (builder/README.md), whose entrypoint takes the executor's arguments. */
export async function builderArchive(): Promise<string> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'slipway-stand-in-'));
  await using build = await rolldown({ input: 'testing/builder/main.ts', cwd: root, platform: 'node' });
  await build.write({ dir: folder.path, format: 'esm', entryFileNames: 'executor.mjs' });
  return await archive('kaniko-stand-in', { STAND_IN: join(folder.path, 'executor.mjs') });
}

/** Makes an image of this machine's files, unless it is there; by content. */
async function archive(name: string, more: Record<string, string> = {}): Promise<string> {
  await mkdir(directory, { recursive: true });
  await run(archives, ['build', name], { env: { IMAGES: directory, NODE_BIN: process.execPath, ...more } });
  return (await run(archives, ['path', name], { env: { IMAGES: directory } })).trim();
}

/** Saves an image under the name of its id, so that an unchanged one is not written again. */
async function save({ docker, host }: Docker, image: Image): Promise<string> {
  const id = (await docker(['image', 'inspect', '--format', '{{.Id}}', imageName(image)]))
    .trim()
    .replace('sha256:', '');
  const archive = join(directory, `${image}-${id.slice(0, 12)}.tar`);
  if (await exists(archive)) return archive;
  for (const old of await readdir(directory)) {
    if (old.startsWith(`${image}-`)) await rm(join(directory, old));
  }
  const source = `docker-daemon:${imageName(image)}`;
  const daemon = ['--src-daemon-host', host];
  await run('skopeo', ['--insecure-policy', 'copy', '--quiet', ...daemon, source, `oci-archive:${archive}.part`]);
  await rename(`${archive}.part`, archive);
  return archive;
}

/** Makes an image that our own are built on, or that stands for a public one, and gives it to the engine. */
export async function loadBase(host: string, name: 'base' | 'builder' | 'postgres'): Promise<string> {
  return loadArchive(host, await archive(name), name);
}

/** Gives an archive to the engine, under a name of the tests' own, which it returns. */
export async function loadArchive(host: string, file: string, name: string): Promise<string> {
  const target = `slipway-test/${name}:latest`;
  const daemon = ['--dest-daemon-host', host];
  const copy = ['--insecure-policy', 'copy', '--quiet', ...daemon, `oci-archive:${file}`, `docker-daemon:${target}`];
  await run('skopeo', copy);
  return target;
}

const exists = (path: string) => stat(path).then(Boolean, () => false);
