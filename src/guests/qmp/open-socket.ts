// Connects to a unix socket of a QEMU process, where a socket serves one client: a full backlog is waited out, nothing there means that
// the guest does not run.
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, systemCode } from '../../util/errors.ts';

/** sun_path of Linux has 108 bytes, and ends with a zero. */
const MAX_PATH_BYTES = 107;
const RETRY_MS = 100;

/**
 * An open socket; `label` names the guest in messages. `deadline` ends the waiting, its reason is thrown.
 * @throws `guest-stopped` when nothing listens, `bad-argument` for a path that is too long, `guest-failed`.
 */
export async function openSocket(path: string, label: string, deadline: AbortSignal): Promise<Socket> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new HoldfastError('bad-argument', `the path of a socket has at most ${MAX_PATH_BYTES} bytes: ${path}`);
  for (;;) {
    deadline.throwIfAborted();
    try {
      return await tryOnce(path);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'ENOENT' || code === 'ECONNREFUSED')
        throw new HoldfastError('guest-stopped', `${label} does not run: nothing listens on ${path}`, { cause: error });
      // EAGAIN: others wait in the backlog already.
      if (code !== 'EAGAIN') {
        const words = (error as Error).message;
        throw new HoldfastError('guest-failed', `cannot connect to ${path} of ${label}: ${words}`, { cause: error });
      }
    }
    await sleep(RETRY_MS, undefined, { signal: deadline }).catch(() => deadline.throwIfAborted());
  }
}

/** A connect to a unix socket never lasts: it is made, waits in the backlog as made, or fails at once. */
function tryOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
