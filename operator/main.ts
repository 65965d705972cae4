/** The operator's process: reads the configuration, connects, runs, and tells by its exit code how it went. */
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

/** Runs the operator of the environment's configuration; returns the exit code. */
export async function main(more: Pick<OperatorParts, 'checkpoint' | 'onListening'> = {}): Promise<number> {
  using lifecycle = listenForSignals();
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

if (import.meta.main) process.exitCode = await main();
