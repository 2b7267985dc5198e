// Questions on the terminal of the user, whatever standard input is used for. A passphrase is not shown while it is typed.
import { closeSync, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { HoldfastError } from '../util/errors.ts';
import { printable } from './output.ts';

const CTRL_C = 3;
const CTRL_D = 4;
const CTRL_U = 21;
const BACKSPACES = [8, 127];
const ENTERS = [10, 13];
/** What nobody types by hand. */
const MAX_ANSWER_BYTES = 4096;

export interface Terminal {
  /** Asks, and returns the line that is typed; with `hidden` nothing of it is shown. @throws `aborted` after Ctrl-C or at the end. */
  ask(question: string, hidden: boolean): Promise<string>;
  say(text: string): void;
  close(): void;
}

/** The terminal of this process; undefined where there is none, as under cron. */
export function openTerminal(path = '/dev/tty'): Terminal | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r+');
  } catch {
    // ENXIO: no terminal controls this process. ENOENT: a container without one.
    return undefined;
  }
  return {
    ask: async (question, hidden) => {
      const ask = (): void => void writeSync(fd, printable(question));
      const answer = await readLine(path, ask, (bytes) => (hidden ? undefined : writeSync(fd, bytes)));
      writeSync(fd, '\n');
      return answer;
    },
    say: (text) => void writeSync(fd, `${printable(text)}\n`),
    close: () => closeSync(fd),
  };
}

/** Reads raw, so that the terminal itself echoes nothing: from before it is asked, for some type as soon as they see the question. */
async function readLine(path: string, ask: () => void, echo: (bytes: Uint8Array) => void): Promise<string> {
  // A stream of its own closes what it reads from.
  const input = new ReadStream(openSync(path, 'r+'));
  const typed: number[] = [];
  input.setRawMode(true);
  try {
    ask();
    for await (const data of input) {
      for (const byte of data as Buffer) {
        if (ENTERS.includes(byte)) return Buffer.from(typed).toString();
        if (byte === CTRL_C || (byte === CTRL_D && typed.length === 0)) throw stopped();
        if (byte === CTRL_U) typed.length = 0;
        else if (BACKSPACES.includes(byte)) dropCharacter(typed);
        else if (byte >= 32 && typed.length < MAX_ANSWER_BYTES) {
          typed.push(byte);
          echo(Uint8Array.of(byte));
        }
      }
    }
    throw stopped();
  } finally {
    if (!input.destroyed) input.setRawMode(false);
    input.destroy();
  }
}

/** One character of UTF-8 may be several bytes. */
function dropCharacter(typed: number[]): void {
  while (((typed.at(-1) ?? 0) & 0xc0) === 0x80) typed.pop();
  typed.pop();
}

function stopped(): HoldfastError {
  return new HoldfastError('aborted', 'stopped at a question; nothing was done');
}
