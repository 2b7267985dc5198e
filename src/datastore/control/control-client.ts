// Asks the process that holds a datastore to do something with it.
import { connect, type Socket } from 'node:net';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { reviveError } from '../../util/plain-error.ts';
import type { Layout } from '../layout.ts';
import type { Operation, Work } from './operation.ts';
import { controlSocketPath } from './socket-path.ts';
import { MAX_REPLY_CHARS, type Reply, receive, send } from './wire.ts';

/** The holder died, or ended with the request unread. */
const BROKEN = ['ECONNRESET', 'EPIPE'];

/**
 * Runs an operation in the process that holds the store. Undefined when nobody listens there, or the holder ended before it answered:
 * then the store is free, or about to be.
 * @throws what the operation throws; `aborted` when `work.signal` is.
 */
export async function askHolder<Argument, Result>(
  layout: Layout,
  operation: Operation<Argument, Result>,
  argument: Argument,
  work: Work,
): Promise<{ result: Result } | undefined> {
  work.signal.throwIfAborted();
  const socket = await connected(layout);
  if (socket === undefined) return undefined;
  const abort = (): void => {
    socket.destroy(work.signal.reason as Error);
  };
  work.signal.addEventListener('abort', abort, { once: true });
  try {
    const reply = answer(socket, work);
    send(socket, { operation: operation.name, argument });
    return (await reply) as { result: Result } | undefined;
  } finally {
    work.signal.removeEventListener('abort', abort);
    socket.destroy();
  }
}

/** The answer; undefined when the connection ends without one. */
function answer(socket: Socket, work: Work): Promise<{ result: unknown } | undefined> {
  return new Promise((resolve, reject) => {
    socket.on('error', (error) => {
      if (BROKEN.includes(systemCode(error) ?? '')) resolve(undefined);
      else reject(error);
    });
    socket.on('close', () => resolve(undefined));
    receive(socket, MAX_REPLY_CHARS, (message) => {
      const reply = message as Reply;
      if ('progress' in reply) work.onProgress(reply.progress[0], reply.progress[1], reply.progress[2] ?? undefined);
      else if ('warning' in reply) work.warn(reply.warning);
      else if ('error' in reply) reject(reviveError(reply.error));
      else resolve({ result: reply.result });
    });
  });
}

/** Undefined when nobody listens. */
async function connected(layout: Layout): Promise<Socket | undefined> {
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect(controlSocketPath(layout.root), () => resolve(socket));
      socket.once('error', reject);
    });
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN'].includes(code)) return undefined;
    if (code === 'EACCES')
      throw new HoldfastError(
        'datastore-locked',
        `${layout.root} is held by a process of another user; ask as that user, or wait until it ends`,
        { cause: error },
      );
    throw error;
  }
}
