/** The operator's process: reads the configuration, connects, runs, and tells by its exit code how it went. */
import { parseArgs } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { leaderLeaseName } from '../contract/identity.ts';
import { EXIT } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { listenForSignals } from '../lib/lifecycle.ts';
import { createLog, type Log } from '../lib/log.ts';
import { createQueueService } from '../queue/service.ts';
import { createLazyGroupsIn } from './aci/lazy-groups.ts';
import { createReadReference } from './aci/references.ts';
import { removeGroups } from './aci/remove-groups.ts';
import { aciTerms } from './aci/terms.ts';
import { type Config, ConfigError, loadConfig, namespacesOf } from './config.ts';
import { createKubernetesApi, type KubernetesApi } from './jobs/api.ts';
import { createKubernetesStore } from './jobs/kubernetes.ts';
import type { JobStore } from './jobs/store.ts';
import { LeaderElection } from './leader.ts';
import { createLeaseStore } from './lease-object.ts';
import { type OperatorParts, runOperator } from './operator.ts';

const USAGE = `Usage: operator [--once [--lease-seconds=SECONDS] | --remove-groups]
  --once                   settle what has ended, start what there is room for, and end
  --lease-seconds=SECONDS  with --once: how long the messages of tasks that go on are hidden, 120 to 604800; at least
                           twice the time to the next run. Default: 900
  --remove-groups          stop the operator of this release, delete every container group of the installation, and end;
                           helm uninstall runs it first
Everything else is set by the file that SLIPWAY_CONFIG names, and by the environment.`;

/** Runs the operator of the environment's configuration; returns the exit code. */
export async function main(
  more: Pick<OperatorParts, 'checkpoint' | 'onListening'> = {},
  args: readonly string[] = [],
): Promise<number> {
  using lifecycle = listenForSignals();
  const options = optionsOf(args);
  if (typeof options === 'string') {
    process.stderr.write(`slipway: ${options}\n${USAGE}\n`);
    return EXIT.badConfig;
  }
  let config: Config;
  try {
    config = await loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`slipway: ${error.message}\n`);
    return EXIT.badConfig;
  }
  const clock = systemClock;
  const log = createLog(config.file.logLevel, { app: 'slipway' });
  const kubeConfig = new KubeConfig();
  try {
    kubeConfig.loadFromDefault();
  } catch (error) {
    process.stderr.write(
      `slipway: the API server's address and credentials cannot be read (${messageOf(error)}). Run in a pod with its service account's token, or name a kubeconfig by KUBECONFIG\n`,
    );
    return EXIT.badConfig;
  }
  try {
    const api = createKubernetesApi(kubeConfig, clock);
    const store = createKubernetesStore(api, {
      namespace: config.namespace,
      namespaces: namespacesOf(config),
      installation: config.installation,
      clock,
      log,
    });
    if (options.removesGroups === true)
      return (await uninstall(config, api, store, log, lifecycle.stopping)) ? EXIT.done : EXIT.failed;
    await runOperator(
      {
        config,
        load: loadConfig,
        store,
        leases: createLeaseStore(api, config.namespace),
        queues: createQueueService(config.storage, clock),
        readReference: createReadReference(api, config.namespace),
        clock,
        log,
        ...options,
        ...more,
      },
      lifecycle.stopping,
    );
    return EXIT.done;
  } catch (error) {
    log.error({ err: error }, 'the operator ends because of an error that it did not expect');
    return EXIT.failed;
  }
}

/** Deletes the container groups of the installation; see aci/remove-groups.ts. */
async function uninstall(
  config: Config,
  api: KubernetesApi,
  store: JobStore,
  log: Log,
  stopping: AbortSignal,
): Promise<boolean> {
  const { namespace, installation, podName, workload, file } = config;
  const clock = systemClock;
  const election = new LeaderElection({
    leases: createLeaseStore(api, namespace),
    name: leaderLeaseName(installation),
    identity: podName ?? `process-${process.pid}`,
    clock,
    log,
  });
  const groupsIn = createLazyGroupsIn(() => file.aci?.endpoint, clock);
  const terms = () => aciTerms(file);
  return removeGroups(
    { api, store, election, clock, log, namespace, installation, workload, terms, groupsIn },
    stopping,
  );
}

type Options = Pick<OperatorParts, 'once'> & { readonly removesGroups?: boolean };

/** What the command line says, or what is wrong with it. */
function optionsOf(args: readonly string[]): Options | string {
  let values: { readonly once?: boolean; readonly 'lease-seconds'?: string; readonly 'remove-groups'?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        once: { type: 'boolean' },
        'lease-seconds': { type: 'string' },
        'remove-groups': { type: 'boolean' },
      },
    }));
  } catch (error) {
    return messageOf(error);
  }
  if (values['remove-groups'] === true)
    return Object.keys(values).length === 1
      ? { removesGroups: true }
      : '--remove-groups takes no other option. Remove the others';
  const text = values['lease-seconds'] ?? '900';
  const leaseSeconds = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(leaseSeconds >= 120 && leaseSeconds <= 604_800))
    return `--lease-seconds = "${text}": must be a whole number of seconds from 120 to 604800`;
  if (values.once === true) return { once: { leaseSeconds } };
  return values['lease-seconds'] === undefined ? {} : '--lease-seconds is for --once. Add --once, or leave it out';
}

if (import.meta.main) process.exitCode = await main({}, process.argv.slice(2));
