/** `slipway poison list|show|redrive`: their options and their help. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { isKind } from '../lib/errors.ts';
import type { QueueService } from '../queue/service.ts';
import type { Run, Surroundings } from './commands.ts';
import { type QueuePair, queuePair } from './names.ts';
import { EXIT_CODES, USAGE } from './output.ts';
import { listPoison, redrivePoison, showPoison } from './poison.ts';

const ENVIRONMENT = `
The storage account is that of AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_URL.
${EXIT_CODES}`;

/** Adds the commands. */
export function addPoisonCommands(program: Command, surroundings: Surroundings, run: Run): void {
  const withService = (work: (service: QueueService) => Promise<number>) =>
    run(async () => {
      const service = surroundings.connect();
      if (typeof service === 'number') return service;
      try {
        return await work(service);
      } catch (error) {
        if (!isKind(error, 'forbidden')) throw error;
        surroundings.err(`slipway: ${error.message}${FORBIDDEN}\n`);
        return EXIT.failed;
      }
    });
  const poison = program.command('poison').description('Tasks that failed for good: look at them, put them back.');

  poison
    .command('list')
    .description('Lists the poisoned tasks of a queue, or of all queues of the account.')
    .argument('[queue]', 'the task queue or its poison queue; without it all queues named *-poison', queueName)
    .option('--json', 'one JSON array')
    .addHelpText(
      'after',
      `
Examples:
  slipway poison list
  slipway poison list acme-tasks
  slipway poison list acme-tasks --json | jq -r '.[] | select(.category == "TaskTimedOut") | .id'
${ENVIRONMENT}`,
    )
    .action((queue: QueuePair | undefined, options: { readonly json?: boolean }) =>
      withService((service) => listPoison(service, surroundings, queue, options.json === true)),
    );

  poison
    .command('show')
    .description('Shows one poisoned task: why, what to do, each attempt, and the original message.')
    .argument('<queue>', 'the task queue or its poison queue', queueName)
    .argument('<id>', 'as in the column ID of the list')
    .addOption(new Option('--json', 'one JSON object').conflicts('raw'))
    .addOption(new Option('--raw', 'the original message alone, byte for byte as it was received'))
    .addHelpText(
      'after',
      `
Examples:
  slipway poison show acme-tasks 3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f
  slipway poison show acme-tasks 3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f --raw > message.json
${ENVIRONMENT}`,
    )
    .action((queue: QueuePair, id: string, options: { readonly json?: boolean; readonly raw?: boolean }) =>
      withService((service) =>
        showPoison(service, surroundings, queue, id, options.json ? 'json' : options.raw ? 'raw' : 'text'),
      ),
    );

  poison
    .command('redrive')
    .description('Puts original messages back into the task queue, then deletes their poison copies.')
    .argument('<queue>', 'the task queue or its poison queue', queueName)
    .argument('[id...]', 'as in the column ID of the list')
    .option('--all', 'every task of the poison queue')
    .option('--dry-run', 'only say what would be done')
    .addHelpText(
      'after',
      `
Should it be killed between the two steps, the task is in both queues: it runs, and redriving it again runs it twice.

Examples:
  slipway poison redrive acme-tasks 3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f
  slipway poison redrive acme-tasks --all --dry-run
${ENVIRONMENT}`,
    )
    .action(
      async (
        queue: QueuePair,
        ids: readonly string[],
        options: { readonly all?: boolean; readonly dryRun?: boolean },
        command: Command,
      ) => {
        if (ids.length > 0 === (options.all === true))
          command.error('error: name the tasks by their ids, or all of them by --all', { exitCode: USAGE });
        const chosen = options.all === true ? 'all' : [...new Set(ids)];
        await withService((service) => redrivePoison(service, surroundings, queue, chosen, options.dryRun === true));
      },
    );
}

const FORBIDDEN = '. The key or SAS must be valid and, for a SAS, allow processing, updating and adding messages';

function queueName(text: string): QueuePair {
  const pair = queuePair(text);
  if (pair === undefined) throw new InvalidArgumentError('It is no name of a queue.');
  return pair;
}
