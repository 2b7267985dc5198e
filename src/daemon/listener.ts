// The HTTPS listener. The first byte of a connection tells TLS from plain HTTP, which is answered with the address to use instead.
// HTTP/1.1 only, and no protocol is negotiated: clients of Proxmox offer none.
import type { IncomingMessage, RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { HoldfastError, systemCode } from '../util/errors.ts';
import type { ServerCertificate } from './certificate.ts';

const TLS_HANDSHAKE = 0x16;
/** What a client gets to send its first byte, its handshake, and a plain request's head. */
const BEGIN_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 75_000;
const IDLE_EVERY_MS = 100;
const MAX_CONNECTIONS = 2048;
const MAX_PLAIN_HEAD_BYTES = 8192;
const HEAD_END = '\r\n\r\n';

/** Fits the `serverFactory` of a web framework: the server is made, and not listening yet. */
export function createListener(certificate: ServerCertificate, onRequest: RequestListener): Server {
  const { cert, key } = certificate;
  const server = createServer(
    {
      cert,
      key,
      minVersion: 'TLSv1.2',
      ALPNProtocols: [],
      handshakeTimeout: BEGIN_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Long requests are made of backups: whoever reads a body watches over its time.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 120_000,
    },
    onRequest,
  );
  server.maxConnections = MAX_CONNECTIONS;
  // A client that speaks no proper TLS is its own problem.
  server.on('tlsClientError', (_, socket) => socket.destroy());
  const starting = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    peek(socket, (first) => {
      if (first !== TLS_HANDSHAKE) redirect(socket);
      else for (const start of starting) start.call(server, socket);
    });
  });
  return server;
}

/**
 * Requests for an upgrade have left HTTP: no time limit of the server holds for them, and no body is read. So only those that have none go on,
 * to whoever answers them.
 */
export function handUpgradesTo(
  server: Server,
  take: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
): void {
  server.on('upgrade', (request, socket, head) => {
    if (request.method === 'GET') take(request, socket, head);
    else {
      socket.on('error', () => socket.destroy());
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
    }
  });
}

/** New connections get this certificate; those that are open keep theirs. */
export function replaceCertificate(server: Server, { cert, key }: ServerCertificate): void {
  server.setSecureContext({ cert, key, minVersion: 'TLSv1.2' });
}

/** `option` is how another address is chosen. @throws `bad-argument` when the address is not this machine's, or taken. */
export async function listen(server: Server, host: string, port: number, option = '--listen'): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const code = systemCode(error);
      const why = code === 'EADDRINUSE' ? 'another program listens there' : (error as Error).message;
      reject(
        new HoldfastError('bad-argument', `cannot listen on ${host} port ${port}: ${why}; choose with ${option}`, {
          cause: error,
        }),
      );
    });
    server.listen({ host, port }, resolve);
  });
  return server.address() as AddressInfo;
}

/** Accepts nothing more, and returns when all connections are gone: idle ones at once, others after their answer or after `graceMs`. */
export async function closeListener(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // A connection that is kept alive becomes idle with its answer.
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_EVERY_MS);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(idle);
  clearTimeout(timer);
}

/** Calls `use` with the first byte, which stays in the socket. */
function peek(socket: Socket, use: (first: number) => void): void {
  const onError = (): void => {
    socket.destroy();
  };
  const timer = setTimeout(() => socket.destroy(), BEGIN_TIMEOUT_MS);
  socket.on('error', onError);
  socket.once('close', () => clearTimeout(timer));
  socket.once('data', (bytes: Buffer) => {
    clearTimeout(timer);
    socket.pause();
    socket.unshift(bytes);
    use(bytes[0]);
    // The next owner has its own way with errors.
    socket.off('error', onError);
    process.nextTick(() => socket.resume());
  });
}

/** Answers one plain request as Proxmox does: to the same host, by HTTPS. */
function redirect(socket: Socket): void {
  let head = '';
  socket.setTimeout(BEGIN_TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  const onData = (bytes: Buffer): void => {
    head += bytes.toString('latin1');
    if (!head.includes(HEAD_END) && head.length < MAX_PLAIN_HEAD_BYTES) return;
    socket.off('data', onData);
    socket.end(answer(head, socket));
    // What else comes is read and thrown away, so that the answer is not lost to a reset.
    socket.resume();
  };
  socket.on('data', onData);
}

function answer(head: string, socket: Socket): string {
  const method = /^([A-Z]+) \S+ HTTP\/1\.[01]\r\n/.exec(head)?.[1];
  const host =
    /\r\nhost:[ \t]*([A-Za-z0-9.:[\]-]{1,255})[ \t]*\r\n/i.exec(head)?.[1] ??
    `${socket.localAddress}:${socket.localPort}`;
  const status =
    method === undefined
      ? '400 Bad Request'
      : method === 'GET' || method === 'HEAD'
        ? '301 Moved Permanently'
        : '308 Permanent Redirect';
  const location = method === undefined ? '' : `location: https://${host}\r\n`;
  return `HTTP/1.1 ${status}\r\n${location}connection: close\r\ncontent-length: 0\r\n\r\n`;
}
