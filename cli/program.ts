/** The commands, their options and their help. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { isKind, ServiceError } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import type { QueueService } from '../queue/service.ts';
import { type QueuePair, queuePair } from './names.ts';
import { INTERRUPTED, listPoison, type Output, redrivePoison, showPoison } from './poison.ts';

/** Exit code for a command line that is not understood. */
const USAGE = 2;

/** What the program works with. */
export interface Surroundings extends Output {
  /** Reaches the storage account, or says why it cannot and returns the exit code. */
  connect(): QueueService | number;
}

const ENVIRONMENT = `
The storage account is that of AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_URL.
Exit codes: 0 done, 1 something failed, 2 wrong usage, 78 wrong configuration, ${INTERRUPTED} stopped by Ctrl-C.`;

/** Runs a command line; returns the exit code. */
export async function runProgram(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode: number = EXIT.done;
  const withService = async (work: (service: QueueService) => Promise<number>) => {
    const service = surroundings.connect();
    exitCode = typeof service === 'number' ? service : await work(service);
  };
  const program = new Command('slipway')
    .description('Looks after the queues of a Slipway installation.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: surroundings.out, writeErr: surroundings.err })
    .showHelpAfterError('(--help shows how it is used)');
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

  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : USAGE;
    if (!(error instanceof ServiceError)) throw error;
    surroundings.err(`slipway: ${error.message}${isKind(error, 'forbidden') ? FORBIDDEN : ''}\n`);
    return EXIT.failed;
  }
  return exitCode;
}

const FORBIDDEN = '. The key or SAS must be valid and, for a SAS, allow processing, updating and adding messages';

function queueName(text: string): QueuePair {
  const pair = queuePair(text);
  if (pair === undefined) throw new InvalidArgumentError('It is no name of a queue.');
  return pair;
}
