#!/usr/bin/env node
// The command line: one command a file, errors from the catalogue as one line and an exit code (docs/operations.md).
import { Command, CommanderError, Option } from 'commander';
import { exitCodeOf, HoldfastError } from '../util/errors.ts';
import { addBackupCommand } from './commands/backup.ts';
import { addDatastoreCommands } from './commands/datastore.ts';
import { addRestoreCommand } from './commands/restore.ts';
import { addSnapshotCommands } from './commands/snapshot.ts';

/** commander's own exit code for bad usage is 1; ours is that of `bad-argument`. */
const EXIT_USAGE = 2;

function createProgram(): Command {
  const program = new Command('holdfast')
    .description('backups of virtual machines and containers: deduplicated, compressed, verified')
    .version('0.1.0')
    .option('--repository <DIR>', 'the datastore (or set HOLDFAST_REPOSITORY)')
    .option('--ns <NAMESPACE>', 'namespace, for example office/prod')
    .addOption(new Option('--output-format <FORMAT>').choices(['text', 'json', 'json-pretty']).default('text'))
    .exitOverride()
    .showHelpAfterError('(see holdfast help, or holdfast COMMAND --help)');
  addDatastoreCommands(program);
  addBackupCommand(program);
  addRestoreCommand(program);
  addSnapshotCommands(program);
  allowGlobalsAnywhere(program, program.options);
  return program;
}

/** The common options may stand before or after the command. */
function allowGlobalsAnywhere(command: Command, globals: readonly Option[]): void {
  for (const child of command.commands) {
    child.exitOverride();
    for (const option of globals) {
      if (option.long === '--version') continue;
      const copy = new Option(option.flags, option.description).hideHelp();
      if (option.argChoices !== undefined) copy.choices(option.argChoices);
      child.addOption(copy);
    }
    allowGlobalsAnywhere(child, globals);
  }
}

function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const code = exitCodeOf(error);
  const known = error instanceof HoldfastError ? error : undefined;
  const message = known?.message ?? `this is a bug in Holdfast: ${(error as Error)?.stack ?? String(error)}`;
  if (json)
    process.stderr.write(
      `${JSON.stringify({ error: { code: known?.code ?? 'internal', message, ...(known && { data: known.data }) } })}\n`,
    );
  else process.stderr.write(`holdfast: ${message}\n`);
  return code;
}

// A reader that goes away (`| head`) ends the program quietly, as with any other tool.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
});

const program = createProgram();
try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(
    error,
    process.argv.some((argument) => /^--output-format=json|^json(-pretty)?$/.test(argument)),
  );
}
