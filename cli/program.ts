/** The program: its commands, each of which registers itself, and how errors become exit codes. */
import { Command, CommanderError } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { ServiceError } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import type { Surroundings } from './commands.ts';
import { addCompareCommand } from './compare-command.ts';
import { addConfigCommand } from './config-command.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addExplainCommand } from './explain-command.ts';
import { USAGE } from './output.ts';
import { addPoisonCommands } from './poison-commands.ts';
import { addTaskCommands } from './task-commands.ts';

/** Runs a command line; returns the exit code. */
export async function runProgram(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = createProgram(surroundings, (code) => {
    exitCode = code;
  });
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

/** All commands. `exit` is told the exit code of the one that has run. */
export function createProgram(surroundings: Surroundings, exit: (code: number) => void): Command {
  const run = async (work: () => number | Promise<number>) => exit(await work());
  const program = new Command('slipway')
    .description('Looks after a Slipway installation: its tasks, its queues, its configuration.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: surroundings.out, writeErr: surroundings.err })
    .showHelpAfterError('(--help shows how it is used)');
  addTaskCommands(program, surroundings, run);
  addPoisonCommands(program, surroundings, run);
  addConfigCommand(program, surroundings, exit);
  addExplainCommand(program, surroundings, exit);
  addDoctorCommand(program, surroundings, VERSION, exit);
  addCompareCommand(program, surroundings, exit);
  return program;
}
