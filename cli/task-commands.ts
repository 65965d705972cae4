/** `slipway tasks|why|cancel|drain`: their options and their help. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { ServiceError } from '../lib/errors.ts';
import { cancelTasks } from './cancel.ts';
import { type Cluster, type ClusterOptions, explainFault } from './cluster.ts';
import type { Run, Surroundings } from './commands.ts';
import { drain } from './drain.ts';
import { parseDuration } from './durations.ts';
import { EXIT_CODES } from './output.ts';
import { TASK_STATES } from './task-state.ts';
import { showTasks, type TaskFilter, watchTasks } from './tasks.ts';
import { tellWhy } from './why.ts';

const ENVIRONMENT = `
The cluster is kubectl's: KUBECONFIG or ~/.kube/config, in a pod its service account. The rights needed: docs/cli.md.
${EXIT_CODES}`;

/** Adds the commands. */
export function addTaskCommands(program: Command, surroundings: Surroundings, run: Run): void {
  const withCluster = (options: ClusterOptions, work: (cluster: Cluster) => Promise<number>) =>
    run(async () => {
      const cluster = surroundings.connectCluster(options);
      if (typeof cluster === 'number') return cluster;
      try {
        return await work(cluster);
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        surroundings.err(`slipway: ${explainFault(error, cluster)}\n`);
        return EXIT.failed;
      }
    });
  const command = (usage: string, description: string, examples: readonly string[], more = '') =>
    program
      .command(usage)
      .description(description)
      .option(
        '-n, --namespace <namespaces>',
        "the operator's namespace, and after commas those of CI types; default: that of the context, else default",
      )
      .option('--context <context>', 'a context of the kubeconfig; default: the current one')
      .addHelpText(
        'after',
        `${more === '' ? '' : `\n${more}\n`}\nExamples:\n${examples.map((one) => `  ${one}`).join('\n')}\n${ENVIRONMENT}`,
      );

  command(
    'tasks',
    'Lists the tasks that have Jobs, newest last.',
    [
      'slipway tasks -n slipway',
      'slipway tasks -n slipway --client acme --state retrying',
      'slipway tasks -n slipway --watch',
      "slipway tasks -n slipway --state failed --json | jq -r '.[] | [.task, .why] | @tsv'",
    ],
    `States: waiting (held back, no node, or no pod may be made), starting, running, retrying (between two attempts),
settling (ended; its message, poison copy or webhook is still due), completed, failed, cancelled.
On a terminal, columns that do not fit are left out: JOB first. --json has them all.`,
  )
    .option('--client <client>', 'of this client only')
    .option('--type <type>', 'of this task type only')
    .option('--task <id>', 'with this task id only')
    .addOption(new Option('--state <state>', 'in this state only').choices(TASK_STATES))
    .option('-w, --watch', 'then tell each change, until Ctrl-C')
    .option('--json', 'one JSON array; with --watch, one JSON object a line')
    .action((options: ClusterOptions & TaskFilter & { readonly watch?: boolean; readonly json?: boolean }) =>
      withCluster(options, (cluster) =>
        (options.watch === true ? watchTasks : showTasks)(cluster, surroundings, options, options.json === true),
      ),
    );

  command(
    'why',
    "Tells one task's story, from its queue to its record: attempts, what it waits for, why it failed, what to do.",
    [
      'slipway why -n slipway order-4711',
      'slipway why -n slipway acme-document-process-2hjiqbclvumu',
      'slipway why -n slipway order-4711 --json | jq .diagnosis',
    ],
  )
    .argument('<task>', 'a task id, the name of a Job, or the id of a message')
    .option('--json', 'one JSON object')
    .action((name: string, options: ClusterOptions & { readonly json?: boolean }) =>
      withCluster(options, (cluster) =>
        tellWhy(cluster, surroundings, name, options.json === true, surroundings.connectIfNamed),
      ),
    );

  command(
    'cancel',
    'Cancels tasks that have not ended.',
    [
      "slipway cancel -n slipway order-4711 --reason 'ordered twice'",
      'slipway cancel -n slipway order-4711 --wait',
      'slipway cancel -n slipway acme-echo-2hbm3xj2owoi acme-echo-2nuvkgfloqzd --dry-run',
    ],
    `The wish is written onto the Job, and an operator carries it out: at once where one runs, else as soon as one does.
The Job stays as a record, the message is deleted, nothing is poisoned. A task that completes before that has completed.`,
  )
    .argument('<task...>', 'task ids, names of Jobs, or ids of messages')
    .option('--reason <text>', 'why; stands in the outcome and in the webhook', reasonText)
    .option('--dry-run', 'only say what would be done')
    .option('--wait', 'end only when each is settled')
    .action(
      (
        names: readonly string[],
        options: ClusterOptions & { readonly reason?: string; readonly dryRun?: boolean; readonly wait?: boolean },
      ) =>
        withCluster(options, (cluster) =>
          cancelTasks(cluster, surroundings, [...new Set(names)], {
            reason: options.reason,
            dryRun: options.dryRun === true,
            wait: options.wait === true,
          }),
        ),
    );

  command(
    'drain',
    'Waits until nothing runs or is owed: before an upgrade, or before a client is taken away.',
    ['slipway drain -n slipway', 'slipway drain -n slipway,ci', 'slipway drain -n slipway --client acme --timeout 30m'],
    `It changes nothing. Stop receiving first, or it may never end: receiving: false in the configuration,
helm upgrade … --reuse-values --set config.receiving=false`,
  )
    .option('--client <client>', 'only what is of this client')
    .option(
      '--timeout <duration>',
      'give up after that long, such as 90s, 30m or 1h30m; what is left is listed',
      duration,
    )
    .action((options: ClusterOptions & { readonly client?: string; readonly timeout?: number }) =>
      withCluster(options, (cluster) => drain(cluster, surroundings, options.client, options.timeout)),
    );
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError('Write it as 90s, 30m or 1h30m.');
  return ms;
}

/** The operator keeps so much of a reason. */
const LONGEST_REASON = 500;

function reasonText(text: string): string {
  if (text.length > LONGEST_REASON) throw new InvalidArgumentError(`At most ${LONGEST_REASON} characters.`);
  return text;
}
