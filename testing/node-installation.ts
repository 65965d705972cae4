/** Our chart on the real node, with our images: a queue service and a webhook receiver on this machine, everything else in the cluster. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Azurite, startAzurite } from '#/testing/azurite.ts';
import { type DerivedImage, imageArchives } from '#/testing/images.ts';
import { CHART } from '#/testing/installation.ts';
import { type RealNode, startNode } from '#/testing/node.ts';
import { type TestQueues, testQueues } from '#/testing/queues.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

/** An installation in a namespace that enforces Pod Security `restricted`. */
export interface NodeInstallation extends AsyncDisposable {
  readonly node: RealNode;
  readonly namespace: string;
  readonly azurite: Azurite;
  readonly queues: TestQueues;
  readonly sink: WebhookSink;
  /** kubectl in the namespace. */
  kubectl(...args: readonly string[]): Promise<string>;
  /** Installs the chart as a release of that name, in the same namespace; its pods are ready then. `changes` go over the values. */
  install(release: string, changes?: object): Promise<void>;
  /** `helm upgrade` to the values and `changes` over them; the new pods are ready then, the old ones may still be ending. */
  upgrade(release: string, changes: object): Promise<void>;
  /** `helm uninstall`; what the release consisted of is gone then. Rejects when that takes over a minute. */
  uninstall(release: string): Promise<void>;
}

/** What an installation is configured by. */
export interface NodeInstallationOptions {
  readonly queues: readonly string[];
  /** Secrets in the namespace, beside that of the storage account: name → key → value. */
  readonly secrets?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** `config` of the chart's values, less queues, runner and webhook.allow. */
  readonly config: (node: RealNode, derived: readonly string[]) => object | Promise<object>;
  /** Images made of ours, whose names in the registry `config` is given, in this order. */
  readonly derived?: readonly DerivedImage[];
  /** Other values of the chart, such as `replicas`. */
  readonly values?: object;
}

const NAMESPACE = 'slipway';
/** The release that is there from the start. */
export const RELEASE = 'slipway';

/** Builds the images if need be, starts the node and installs the chart: about a minute. */
export async function installOnNode(options: NodeInstallationOptions): Promise<NodeInstallation> {
  await using stack = new AsyncDisposableStack();
  const archives = await imageArchives(options.derived);
  const node = stack.use(await startNode());
  const host = node.hostAddress;
  const azurite = stack.use(await startAzurite({ host }));
  const sink = stack.use(await startWebhookSink(host));
  const queues = testQueues(azurite.connectionString);
  await queues.create(...options.queues);
  const operator = await node.push(archives.operator, 'slipway-operator:test');
  const runner = await node.push(archives.runner, 'slipway-runner:test');
  const derived: string[] = [];
  for (const [at, { name }] of (options.derived ?? []).entries())
    derived.push(await node.push(archives.derived[at] ?? '', `${name}:test`));
  const kubectl = (...args: readonly string[]) => node.kubectl(['-n', NAMESPACE, ...args]);

  await node.kubectl(['create', 'namespace', NAMESPACE]);
  await node.kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
  const secrets = { storage: { 'connection-string': azurite.connectionString }, ...options.secrets };
  for (const [name, entries] of Object.entries(secrets)) {
    const literals = Object.entries(entries).map(([key, value]) => `--from-literal=${key}=${value}`);
    await kubectl('create', 'secret', 'generic', name, ...literals);
  }
  const values = {
    image: { repository: operator.slice(0, operator.lastIndexOf(':')), tag: 'test' },
    storage: { existingSecret: 'storage' },
    config: {
      queues: options.queues.map((name) => ({ name })),
      runner: { image: runner },
      webhook: { allow: [host] },
      ...(await options.config(node, derived)),
    },
    ...options.values,
  };
  const directory = stack.use(await mkdtempDisposable(join(tmpdir(), 'slipway-e2e-')));
  const file = async (name: string, content: object) => {
    const path = join(directory.path, name);
    await writeFile(path, stringify(content));
    return path;
  };
  const base = await file('values.yaml', values);
  const deploy = async (command: 'install' | 'upgrade', release: string, changes: object) => {
    const files = ['-f', base, '-f', await file('changes.yaml', changes)];
    await node.helm([command, release, CHART, '-n', NAMESPACE, ...files, '--wait', '--timeout', '120s'], {
      timeoutMs: 150_000,
    });
  };
  const install = (release: string, changes: object = {}) => deploy('install', release, changes);
  await install(RELEASE);
  const kept = stack.move();
  return {
    node,
    namespace: NAMESPACE,
    azurite,
    queues,
    sink,
    kubectl,
    install,
    upgrade: (release, changes) => deploy('upgrade', release, changes),
    uninstall: async (release) =>
      void (await node.helm(['uninstall', release, '-n', NAMESPACE, '--wait', '--timeout', '60s'])),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
