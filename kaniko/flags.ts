/**
 * The flags of Kaniko's executor, in the fork that is maintained: https://github.com/osscontainertools/kaniko, cmd/executor/cmd/root.go. A newer
 * version takes a new list. executor.test.ts holds what executor.ts passes to it; `slipway config check` warns of what ci.builder.flags adds and
 * is not in it, which the executor itself would refuse. Nothing checks them when a pod is made: another builder may have other flags.
 */
export const KANIKO_VERSION = 'v1.28.3';

/** Without their dashes. */
export const KANIKO_FLAGS: readonly string[] = [
  'annotation',
  'bucket',
  'build-arg',
  'cache',
  'cache-copy-layers',
  'cache-dir',
  'cache-repo',
  'cache-run-layers',
  'cache-ttl',
  'cleanup',
  'compressed-caching',
  'compression',
  'compression-level',
  'context',
  'context-sub-path',
  'credential-helpers',
  'custom-platform',
  'destination',
  'digest-file',
  'dockerfile',
  'dryrun',
  'force',
  'force-build-metadata',
  'git',
  'ignore-path',
  'ignore-var-run',
  'image-download-retry',
  'image-format',
  'image-fs-extract-retry',
  'image-name-tag-with-digest-file',
  'image-name-with-digest-file',
  'insecure',
  'insecure-pull',
  'insecure-registry',
  'kaniko-dir',
  'label',
  'log-format',
  'log-timestamp',
  'materialize',
  'no-push',
  'no-push-cache',
  'oci-layout-path',
  'pre-cleanup',
  'preserve-context',
  'push-ignore-immutable-tag-errors',
  'push-retry',
  'registry-certificate',
  'registry-client-cert',
  'registry-map',
  'registry-mirror',
  'reproducible',
  'secret',
  'single-snapshot',
  'skip-default-registry-fallback',
  'skip-push-permission-check',
  'skip-tls-verify',
  'skip-tls-verify-pull',
  'skip-tls-verify-registry',
  'skip-unused-stages',
  'snapshot-mode',
  'tar-path',
  'target',
  'use-new-run',
  'verbosity',
  'whitelist-var-run',
];

const OTHERWISE =
  'would build something else than the message asks for, whose payload has context, dockerfile and target. Remove it';
const NO_IMAGE = 'would keep the image from being pushed, and the tests run in what is pushed. Remove it';
const FILE = 'would write a file that is gone with the builder: the result has the image and its digest. Remove it';
const CACHE = 'is what ci.builder.cache is for. Set that, and remove it';

/**
 * Flags that may not be added to those of executor.ts, each with why and what to do. They would say again what the message or a setting says,
 * leave no image in the registry, or write where nobody reads.
 *
 * Not among them is what executor.ts passes as a default of its own (`--push-retry`, `--single-snapshot` …), of which the last one counts, and
 * `--build-arg`, which adds up.
 */
export const REFUSED_FLAGS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    context: OTHERWISE,
    'context-sub-path': OTHERWISE,
    // It goes before the context, whatever that is.
    bucket: OTHERWISE,
    dockerfile: OTHERWISE,
    target: OTHERWISE,
    destination: 'would push to where ci.images, imagePrefix and the message do not say. Remove it',
    'no-push': NO_IMAGE,
    dryrun: NO_IMAGE,
    help: NO_IMAGE,
    'tar-path': FILE,
    'oci-layout-path': FILE,
    'digest-file': FILE,
    'image-name-with-digest-file': FILE,
    'image-name-tag-with-digest-file': FILE,
    cache: CACHE,
    'cache-repo': CACHE,
    'insecure-registry': 'is what ci.builder.insecureRegistries is for. Name the registry there, and remove it',
    'log-format': 'would change the lines by which a failure is told. Remove it',
    'kaniko-dir': 'would move the folder that the repository is mounted in. Remove it',
  }),
);

/** A flag's name, without dashes and value. */
export function flagName(flag: string): string {
  return flag.replace(/^--/, '').replace(/=.*$/s, '');
}
