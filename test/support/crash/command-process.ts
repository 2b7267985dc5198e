// The built CLI in a process that stays: for commands that judge a store after a crash, hundreds of them, of which each would spend
// most of its time on its start. What is killed, cut or recorded is a process of its own: `holdfast`.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type CliRun, commandArguments, PROGRAM, TIMEOUT_MS } from './cli.ts';

const COMMAND_PROGRAM = fileURLToPath(new URL('command-program.mjs', import.meta.url));

export class CommandProcess {
  #child: ChildProcess | undefined;

  /** As `holdfast`, one command at a time. Throws when the process ends instead, or hangs. */
  async run(root: string, args: readonly string[]): Promise<CliRun> {
    this.#child ??= fork(COMMAND_PROGRAM, [PROGRAM], { execArgv: [] });
    const child = this.#child;
    const settled = new AbortController();
    const hangs = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    try {
      const options = { signal: settled.signal };
      const answered = once(child, 'message', options).then(([run]) => run as CliRun);
      const ended = once(child, 'exit', options).then(([code, signal]) => {
        this.#child = undefined;
        throw new Error(`holdfast ${args.join(' ')} ended the process it ran in: ${code ?? signal}`);
      });
      child.send({ args: commandArguments(root, args), env: { ...process.env } });
      return await Promise.race([answered, ended]);
    } finally {
      clearTimeout(hangs);
      settled.abort();
    }
  }

  async close(): Promise<void> {
    if (this.#child === undefined) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
    this.#child = undefined;
  }
}
