// Methods that become a WebSocket: the call is let in, or refused with a status, like any other; then its connection belongs to the method.
import websocket, { type WebSocket } from '@fastify/websocket';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CONTROL_LIMITS } from '../transport/control/limits.ts';
import type { MessageReceiver, MessageSocket } from './services.ts';

export interface UpgradeRoute {
  readonly url: string;
  /** Throws for whoever is not let in. */
  readonly onRequest: (request: FastifyRequest) => Promise<void>;
  /** Answers a call that asks for no upgrade. */
  readonly handler: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  /** Does what the handler does, and answers only when it refuses. */
  readonly check: (request: FastifyRequest, reply: FastifyReply) => Promise<boolean>;
  /** Takes the connection over. */
  readonly upgrade: (request: FastifyRequest, socket: MessageSocket) => MessageReceiver | undefined;
}

/** Adds the routes. The owner of the listener hands its `upgrade` events to `app.server`. */
export function addUpgradeRoutes(app: FastifyInstance, routes: readonly UpgradeRoute[]): void {
  app.register(websocket, {
    options: { maxPayload: CONTROL_LIMITS.messageBytes, perMessageDeflate: false, clientTracking: false },
    // Whoever has a connection ends it.
    preClose: (done) => done(),
  });
  app.register(async (scope) => {
    for (const { url, onRequest, handler, check, upgrade } of routes) {
      scope.route({
        method: 'GET',
        url,
        onRequest: (request) => onRequest(request),
        // One that was refused has its answer: the handler is not reached.
        preHandler: async (request, reply) => (request.ws && !(await check(request, reply)) ? reply : undefined),
        handler,
        wsHandler: (socket, request) => carry(socket, (messages) => upgrade(request, messages)),
      });
    }
  });
}

function carry(socket: WebSocket, take: (messages: MessageSocket) => MessageReceiver | undefined): void {
  const receiver = take({
    send: (text) => socket.send(text),
    sendBytes: (bytes, onTaken) =>
      socket.send(bytes, (error) => {
        if (!error) onTaken?.();
      }),
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    close: (reason) => socket.close(1000, reason),
    terminate: () => socket.terminate(),
  });
  if (receiver === undefined) return;
  socket.on('message', (data, isBinary) => {
    if (!isBinary) receiver.received(String(data));
    else if (receiver.receivedBytes === undefined) socket.terminate();
    else receiver.receivedBytes(data as Buffer);
  });
  socket.on('close', (code) => receiver.closed(`the connection was closed (${code})`));
  socket.on('error', (error) => receiver.closed(error.message));
}
