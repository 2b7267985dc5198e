// What a client says on a console, as Proxmox's termproxy hears it: a line with its user and ticket, then frames: `0:BYTES:DATA` is what was typed,
// `1:COLUMNS:ROWS:` the size of its window, `2` a sign of life. Messages are a stream: a frame may be split, or share one with others.
import { HoldfastError } from '../../../util/errors.ts';

export type ConsoleInput =
  | { readonly kind: 'greeting'; readonly text: string }
  /** All of a frame's data, or a part of it. */
  | { readonly kind: 'typed'; readonly bytes: Buffer }
  | { readonly kind: 'size'; readonly columns: number; readonly rows: number }
  | { readonly kind: 'alive' };

const MAX_GREETING_BYTES = 1024;
/** `0:`, nine digits, `:`. */
const MAX_HEAD_BYTES = 12;
const DATA = /^0:(\d{1,9}):/;
const SIZE = /^1:(\d{1,4}):(\d{1,4}):/;
const BEGINNING = /^(?:0(?::\d{0,9})?|1(?::\d{0,4}(?::\d{0,4})?)?)$/;

export class ConsoleReader {
  /** The beginning of a greeting or of a frame. */
  #held = Buffer.alloc(0);
  #isGreeted = false;
  /** Bytes of data that are still to come. */
  #awaited = 0;

  /** @throws `bad-argument` for what is no frame; nothing can be read after it. */
  push(bytes: Uint8Array): ConsoleInput[] {
    const found: ConsoleInput[] = [];
    let rest = Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    while (rest.length > 0) {
      const [taken, input] =
        this.#awaited > 0 ? this.#data(rest) : this.#isGreeted ? this.#frame(rest) : this.#greet(rest);
      if (taken === 0) {
        this.#held = rest;
        break;
      }
      rest = rest.subarray(taken);
      if (input !== undefined) found.push(input);
    }
    return found;
  }

  #data(rest: Buffer): readonly [number, ConsoleInput] {
    const bytes = rest.subarray(0, this.#awaited);
    this.#awaited -= bytes.length;
    return [bytes.length, { kind: 'typed', bytes }];
  }

  #greet(rest: Buffer): readonly [number, ConsoleInput?] {
    const end = rest.indexOf('\n');
    if ((end < 0 ? rest.length : end) > MAX_GREETING_BYTES) throw bad('a greeting that is too long');
    if (end < 0) return [0];
    this.#isGreeted = true;
    return [end + 1, { kind: 'greeting', text: rest.toString('utf8', 0, end) }];
  }

  #frame(rest: Buffer): readonly [number, ConsoleInput?] {
    const head = rest.toString('latin1', 0, MAX_HEAD_BYTES);
    if (head.startsWith('2')) return [1, { kind: 'alive' }];
    const [size, columns, rows] = SIZE.exec(head) ?? [];
    if (size !== undefined) return [size.length, { kind: 'size', columns: Number(columns), rows: Number(rows) }];
    const [data, length] = DATA.exec(head) ?? [];
    if (data !== undefined) {
      this.#awaited = Number(length);
      return [data.length];
    }
    if (BEGINNING.test(head)) return [0];
    throw bad('what is no frame of a terminal');
  }
}

function bad(what: string): HoldfastError {
  return new HoldfastError('bad-argument', `the client sent ${what}`);
}
