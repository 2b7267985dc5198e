// TLS on a descriptor, read into one buffer that is used again and again. With Node's own HTTP server, which makes a new buffer, a stream's event and a
// parser's copy of each 16 KiB, taking 1.1 GiB cost 1.1 s of CPU; so it is 0.65 s.
import { type SecureContext, TLSSocket } from 'node:tls';

/** As much as TLS hands out at once. */
const READ_BYTES = 16 * 1024;

/** What Node keeps to itself of a socket that has not been connected yet. */
interface Unconnected {
  readonly _handle: { open(fd: number): number };
  connecting: boolean;
}

/**
 * The server's end of a connection; its handshake begins at once, and the descriptor is its own. `read` gets what was decrypted, valid until it
 * returns, and says whether more is wanted now; up to 64 KiB may come all the same.
 * @throws when the descriptor is no connection.
 */
export function secureSocket(fd: number, secureContext: SecureContext, read: (bytes: Buffer) => boolean): TLSSocket {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const callback = (length: number): boolean => read(buffer.subarray(0, length));
  const options = { isServer: true, secureContext, ALPNProtocols: ['http/1.1'], allowHalfOpen: true };
  // Of a socket that is given to it Node reads with buffers of its own: this one is told of its connection afterwards, as `connect` would.
  const socket = new TLSSocket(undefined as never, { ...options, onread: { buffer, callback } } as object);
  const inside = socket as unknown as Unconnected;
  const failed = inside._handle.open(fd);
  inside.connecting = false;
  if (failed === 0) return socket;
  socket.destroy();
  throw new Error(`descriptor ${fd} cannot be read as a connection: ${failed}`);
}
