/** The program: its commands, each of which registers itself, and how errors become exit codes. */
import { Command, CommanderError } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { ServiceError } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import type { Surroundings } from './commands.ts';
import { USAGE } from './output.ts';
import { addPoisonCommands } from './poison-commands.ts';

/** Runs a command line; returns the exit code. */
export async function runProgram(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode: number = EXIT.done;
  const run = async (work: () => number | Promise<number>) => {
    exitCode = await work();
  };
  const program = new Command('slipway')
    .description('Looks after the queues of a Slipway installation.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: surroundings.out, writeErr: surroundings.err })
    .showHelpAfterError('(--help shows how it is used)');
  addPoisonCommands(program, surroundings, run);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : USAGE;
    if (!(error instanceof ServiceError)) throw error;
    surroundings.err(`slipway: ${error.message}\n`);
    return EXIT.failed;
  }
  return exitCode;
}
