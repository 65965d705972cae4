/** The operator's process: reads the configuration, connects, runs, and tells by its exit code how it went. */
import { parseArgs } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { EXIT } from '../contract/runner-abi.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { listenForSignals } from '../lib/lifecycle.ts';
import { createLog } from '../lib/log.ts';
import { createQueueService } from '../queue/service.ts';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { createKubernetesApi } from './jobs/api.ts';
import { createKubernetesStore } from './jobs/kubernetes.ts';
import { createLeaseStore } from './lease-object.ts';
import { type OperatorParts, runOperator } from './operator.ts';

const USAGE = `Usage: operator [--once [--lease-seconds=SECONDS]]
  --once                   settle what has ended, start what there is room for, and end
  --lease-seconds=SECONDS  with --once: how long the messages of tasks that go on are hidden, 120 to 604800; at least
                           twice the time to the next run. Default: 900
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
      installation: config.installation,
      clock,
      log,
    });
    await runOperator(
      {
        config,
        load: loadConfig,
        store,
        leases: createLeaseStore(api, config.namespace),
        queues: createQueueService(config.storage, clock),
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

/** What the command line says, or what is wrong with it. */
function optionsOf(args: readonly string[]): Pick<OperatorParts, 'once'> | string {
  let values: { readonly once?: boolean; readonly 'lease-seconds'?: string };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: { once: { type: 'boolean' }, 'lease-seconds': { type: 'string' } },
    }));
  } catch (error) {
    return messageOf(error);
  }
  const text = values['lease-seconds'] ?? '900';
  const leaseSeconds = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(leaseSeconds >= 120 && leaseSeconds <= 604_800))
    return `--lease-seconds = "${text}": must be a whole number of seconds from 120 to 604800`;
  if (values.once === true) return { once: { leaseSeconds } };
  return values['lease-seconds'] === undefined ? {} : '--lease-seconds is for --once. Add --once, or leave it out';
}

if (import.meta.main) process.exitCode = await main({}, process.argv.slice(2));
