// What a command has around it while it works: a terminal, or an agent that runs it as an order of its server.
import { openTerminal, type Terminal } from './ask-terminal.ts';
import { interruptSignal } from './interrupt.ts';
import { type OutputFormat, print, printable } from './output.ts';
import { Progress } from './progress.ts';
import { type startPool, warn } from './repository.ts';

export interface Surroundings {
  /** An agent runs it among other things: what is done to the process stays with all of them. */
  readonly isOrder?: boolean;
  /** How threads are started, if not in the usual way. */
  readonly startPool?: typeof startPool;
  /** Where secrets and directories are looked for. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** To ask somebody; undefined where nobody is. */
  openTerminal(): Terminal | undefined;
  warn(message: string): void;
  /** What an operation does on its way: for people, and for a task's log. */
  note(message: string): void;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
  /** Before anything is told. */
  endProgress(): void;
  /** Says what came of it: the value for programs, the text for people. */
  tell<Value>(value: Value, text: (value: Value) => string): void;
}

/** Runs `use` with the terminal: progress on standard error, Ctrl-C stops, results on standard output. */
export async function atTerminal<Result>(
  { outputFormat }: { readonly outputFormat: OutputFormat },
  use: (around: Surroundings) => Promise<Result>,
): Promise<Result> {
  const interrupt = interruptSignal();
  const progress = new Progress(process.stderr, outputFormat !== 'text');
  try {
    return await use({
      env: process.env,
      signal: interrupt.signal,
      openTerminal,
      warn,
      note: (message) => {
        if (outputFormat !== 'text') return;
        progress.end();
        process.stderr.write(`${printable(message)}\n`);
      },
      onProgress: (what, bytesDone, bytesTotal) => progress.update(what, bytesDone, bytesTotal),
      endProgress: () => progress.end(),
      tell: (value, text) => print(outputFormat, value, text),
    });
  } finally {
    progress.end();
    interrupt.stop();
  }
}
