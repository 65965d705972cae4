/** How Kaniko's executor is asked for an image. Pure. */

/** A build. Paths are relative to the repository. */
export interface Build {
  /** Where the repository is in the container; beneath /kaniko, which no layer takes in and no stage finds. */
  readonly workspace: string;
  readonly context: string;
  readonly dockerfile: string;
  /** Names with their tags; all are pushed. */
  readonly destinations: readonly [string, ...string[]];
  /**
   * Among the arguments, though the executor could read them from variables: one that is called DOCKER_CONFIG, or KANIKO_NO_PUSH, would speak to
   * the executor itself.
   */
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target: string | undefined;
  /** Repository of layers that may be used again; undefined: no cache. */
  readonly cache: string | undefined;
  /** Registries that speak plain HTTP, such as one in the cluster. */
  readonly insecureRegistries: readonly string[];
  /** Further flags, as they are. */
  readonly flags: readonly string[];
}

/**
 * The executor's arguments.
 *
 * Layers are not kept compressed in memory: large images otherwise end by the container's limit. They are taken once (`single-snapshot`), which
 * is faster, where there is no cache; a cache would never be hit. The check of the right to push comes before the build, which a refusal then
 * does not cost.
 *
 * No digest file: the executor writes it before it pushes, so that of a push that failed nothing else would be told; and what a Dockerfile runs
 * could write it too. The digest is what the node pulled.
 */
export function executorArgs(build: Build): string[] {
  const { workspace, context, dockerfile, destinations, buildArgs, target, cache } = build;
  const inWorkspace = (path: string) => (path === '.' ? workspace : `${workspace}/${path}`);
  return [
    `--context=dir://${inWorkspace(context)}`,
    `--dockerfile=${inWorkspace(dockerfile)}`,
    ...destinations.map((destination) => `--destination=${destination}`),
    ...Object.entries(buildArgs).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...(target === undefined ? [] : [`--target=${target}`]),
    ...(cache === undefined ? [] : ['--cache=true', `--cache-repo=${cache}`]),
    ...build.insecureRegistries.flatMap((registry) => [`--insecure-registry=${registry}`]),
    ...(cache === undefined ? ['--single-snapshot'] : []),
    '--compressed-caching=false',
    '--push-retry=3',
    '--image-download-retry=3',
    '--log-format=text',
    ...build.flags,
  ];
}
