// The bulk listener's part in a worker thread: takes connections that the main thread accepted, speaks TLS and HTTP on them, and answers the
// calls with the objects of this thread. No byte of a record leaves the thread on its way to the disk.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { Socket } from 'node:net';
import type { Handlers } from '../../util/worker-pool.ts';
import { Admission, type AdmittedSession } from './admission.ts';
import { answerBulkCall, type BulkContext } from './bulk-call.ts';
import { HANDSHAKE_MS, HEADER_BYTES, HEADER_MS, IDLE_CONNECTION_MS, REQUEST_MS } from './bulk-limits.ts';
import type { BulkObjects } from './bulk-objects.ts';
import { Connection } from './connection.ts';
import { LargeRecords } from './large-records.ts';

/** In PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface BulkListen extends Certificate {
  /** How many connections each thread has, counted up by whoever hands one over and down here. */
  readonly connections: SharedArrayBuffer;
  /** This thread's place in it. */
  readonly thread: number;
  /** Instead of the usual 60 seconds. */
  readonly idleConnectionMs?: number | undefined;
}

export class BulkThread {
  readonly #context: BulkContext;
  readonly #connections = new WeakMap<object, Connection>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #counts = new Int32Array(new SharedArrayBuffer(4));
  #thread = 0;

  /** `report` hears of mistakes of the program. */
  constructor(objects: BulkObjects, report: (error: unknown) => void) {
    this.#context = { objects, admission: new Admission(), large: new LargeRecords(), report };
  }

  handlers(): Handlers {
    const { admission } = this.#context;
    return {
      'bulk.listen': (listen: BulkListen) => this.#listen(listen),
      'bulk.connection': (fd: number) => this.#take(fd),
      'bulk.secure': (certificate: Certificate) => this.#server?.setSecureContext(secure(certificate)),
      'bulk.admit': (session: AdmittedSession) => admission.admit(session),
      'bulk.dismiss': (session: string) => admission.dismiss(session),
      'bulk.stop': () => this.#stop(),
    };
  }

  #listen({ connections, thread, idleConnectionMs = IDLE_CONNECTION_MS, ...certificate }: BulkListen): void {
    this.#counts = new Int32Array(connections);
    this.#thread = thread;
    const options = { ...secure(certificate), handshakeTimeout: HANDSHAKE_MS, maxHeaderSize: HEADER_BYTES };
    const server = createServer(
      { ...options, connectionsCheckingInterval: Math.min(2000, idleConnectionMs) },
      (request, response) => {
        this.#answer(request, response);
      },
    );
    server.headersTimeout = Math.min(HEADER_MS, idleConnectionMs);
    server.requestTimeout = REQUEST_MS;
    server.keepAliveTimeout = server.timeout = idleConnectionMs;
    server.maxRequestsPerSocket = 0;
    server.on('secureConnection', (socket: Socket) => {
      const connection = new Connection();
      this.#connections.set(socket, connection);
      socket.once('close', () => connection.close());
    });
    server.on('clientError', (_, socket) => socket.destroy());
    // It is given its connections one by one; this is what has it look after those that send no header.
    server.emit('listening');
    this.#server = server;
  }

  #take(fd: number): void {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      Atomics.sub(this.#counts, this.#thread, 1);
    });
    socket.on('error', () => socket.destroy());
    if (this.#server === undefined) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    this.#server.emit('connection', socket);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined || connection.isBusy) {
      request.socket.destroy();
      return;
    }
    connection.isBusy = true;
    // Until the answer has been handed over: when it is on the line, which Node tells later, the next call may have come.
    answerBulkCall(this.#context, connection, request, response)
      .catch(this.#context.report)
      .finally(() => {
        connection.isBusy = false;
      });
  }

  #stop(): void {
    this.#context.admission.dismissAll();
    // It has no socket of its own to close, and says so.
    this.#server?.close(() => {});
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
  }
}

function secure({ cert, key }: Certificate): { cert: string; key: string; minVersion: 'TLSv1.2' } {
  return { cert, key, minVersion: 'TLSv1.2' };
}
