// What goes over the control socket: JSON, a line a message. One request a connection, then progress and warnings, then one answer.
import type { Socket } from 'node:net';
import { HoldfastError } from '../../util/errors.ts';
import type { PlainError } from '../../util/plain-error.ts';

export interface Request {
  readonly operation: string;
  readonly argument: unknown;
}

export type Reply =
  | { readonly progress: readonly [what: string, bytesDone: number, bytesTotal: number | null] }
  | { readonly warning: string }
  | { readonly result: unknown }
  | { readonly error: PlainError };

export const MAX_REQUEST_CHARS = 1 << 20;
/** Reports of damage are the longest answers. */
export const MAX_REPLY_CHARS = 1 << 26;

export function send(socket: Socket, message: Request | Reply): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `take` with each message that arrives. A line of more than `maxChars`, or one that is no JSON, breaks the connection. */
export function receive(socket: Socket, maxChars: number, take: (message: unknown) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    pending += chunk;
    try {
      for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
        const line = pending.slice(0, end);
        pending = pending.slice(end + 1);
        take(JSON.parse(line));
      }
    } catch (error) {
      socket.destroy(error as Error);
    }
    if (pending.length > maxChars)
      socket.destroy(
        new HoldfastError('too-large', `a message on the control socket has more than ${maxChars} characters`),
      );
  });
}
