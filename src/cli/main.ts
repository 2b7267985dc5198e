// The command line: one command a file, errors from the catalogue as one line and an exit code (docs/operations.md).
import { Command, CommanderError, Option } from 'commander';
import { targetError } from '../agent/restore/target.ts';
import { exitCodeOf, HoldfastError } from '../util/errors.ts';
import { addCommands } from './command-table.ts';
import { printable } from './output.ts';

/** commander's own exit code for bad usage is 1; ours is that of `bad-argument`. */
const EXIT_USAGE = 2;

async function createProgram(words: readonly string[]): Promise<Command> {
  const program = new Command('holdfast')
    .description('backups of virtual machines and containers: deduplicated, compressed, verified')
    .version('0.1.0')
    .option(
      '--repository <WHERE>',
      'the datastore: a directory, or https://USER@REALM!TOKEN@HOST:PORT/STORE (or set HOLDFAST_REPOSITORY)',
    )
    .option('--fingerprint <SHA256>', "of the server's certificate (or set HOLDFAST_FINGERPRINT)")
    .option('--limit-upload <MIB>', 'MiB a second to send to a server at most')
    .option('--limit-download <MIB>', 'MiB a second to take from a server at most')
    .option('--ns <NAMESPACE>', 'namespace, for example office/prod')
    .addOption(new Option('--output-format <FORMAT>').choices(['text', 'json', 'json-pretty']).default('text'))
    .exitOverride()
    .showHelpAfterError('(see holdfast help, or holdfast COMMAND --help)');
  await addCommands(program, words);
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

/** Whether the command line asks for JSON; it may be one that cannot be parsed. */
function wantsJson(words: readonly string[]): boolean {
  return words.some(
    (word, place) =>
      /^json/.test(word.replace(/^--output-format=/, '')) &&
      (word.startsWith('--') || words[place - 1] === '--output-format'),
  );
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const code = exitCodeOf(error);
  const known = error instanceof HoldfastError ? error : undefined;
  const message = known?.message ?? `this is a bug in Holdfast: ${(error as Error)?.stack ?? String(error)}`;
  if (wantsJson(process.argv))
    process.stderr.write(
      `${JSON.stringify({ error: { code: known?.code ?? 'internal', message, ...(known && { data: known.data }) } })}\n`,
    );
  else process.stderr.write(`holdfast: ${printable(message)}\n`);
  return code;
}

// A reader that goes away (`| head`) ends the program quietly, as with any other tool. What cannot be printed for another reason,
// such as a full disk below it, is an error: half a list must not pass for a whole one.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  // A restore to a pipe listens too, and says it.
  if (process.stdout.listenerCount('error') === 1) process.exitCode ||= report(targetError('standard output', error));
});
// Nobody is left to read what goes wrong.
process.stderr.on('error', () => {});

async function main(): Promise<void> {
  try {
    const words = process.argv.slice(2);
    await (await createProgram(words)).parseAsync(words, { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
    // A pipe that nobody reads must not keep a command that was stopped.
    if (error instanceof HoldfastError && error.code === 'aborted') process.stderr.write('', () => process.exit());
  }
}

/** Settles when the command has ended. */
export const done = main();
