// The agent's end of the control connection: dials out, says hello, hands orders to the desk, and dials again when the line is gone.
import { setTimeout as sleep } from 'node:timers/promises';
import { Type } from 'typebox';
import { WebSocket } from 'undici';
import { lineError } from '../../transport/client/answer-error.ts';
import { ApiLine } from '../../transport/client/api-line.ts';
import { originOf } from '../../transport/client/repository-address.ts';
import { TrustedLines } from '../../transport/client/trusted-line.ts';
import { ControlLine } from '../../transport/control/control-line.ts';
import { ORDER_KINDS } from '../../transport/control/known-orders.ts';
import { type Heartbeat, PROTOCOL_VERSION } from '../../transport/control/limits.ts';
import { type AgentMessage, ServerMessage } from '../../transport/control/messages.ts';
import { ERROR_CODES, type ErrorCode, HoldfastError } from '../../util/errors.ts';
import type { AgentConfig } from './agent-config.ts';
import { BackOff } from './backoff.ts';
import type { Machine } from './machine.ts';
import type { OrderDesk } from './order-desk.ts';

/** What a goodbye gets to arrive. */
const CLOSE_MS = 5000;
const OPEN_TIMEOUT_MS = 30_000;
/** A line that held for so long was a good one: the next wait is short again. */
const GOOD_LINE_MS = 10_000;

export interface ControlParts {
  readonly config: AgentConfig;
  readonly machine: Machine;
  /** Of this process, random. */
  readonly instance: string;
  /** Of this program. */
  readonly version: string;
  readonly desk: OrderDesk;
  readonly backOff?: BackOff;
  readonly heartbeat?: Heartbeat;
  /** Aborts when the configuration has another server or token than it had: the connection is made anew, at once. */
  changed?(): AbortSignal;
  onConnected(): void;
  /** `waitMs` until the next try. */
  onFailed(error: unknown, waitMs: number): void;
}

/** Keeps a connection to the server until `signal` aborts; then what was sent still goes out. */
export async function keepConnected(parts: ControlParts, signal: AbortSignal): Promise<void> {
  const backOff = parts.backOff ?? new BackOff();
  while (!signal.aborted) {
    let failure: unknown;
    const changed = parts.changed?.();
    const either = changed === undefined ? signal : AbortSignal.any([signal, changed]);
    try {
      const startedMs = performance.now();
      failure = new Error(await connectOnce(parts, either));
      if (performance.now() - startedMs > GOOD_LINE_MS) backOff.reset();
    } catch (error) {
      failure = lineError(error);
    }
    if (signal.aborted) return;
    if (!changed?.aborted) {
      const waitMs = backOff.next(failure);
      parts.onFailed(failure, waitMs);
      await sleep(waitMs, undefined, { signal: either }).catch(() => undefined);
    }
    if (changed?.aborted) backOff.reset();
  }
}

/** Returns why the connection ended. @throws why there was none: `not-authenticated`, `node-duplicate`, `server-untrusted` and the like. */
async function connectOnce(parts: ControlParts, signal: AbortSignal): Promise<string> {
  const { host, port, fingerprint, node, user, token, secret } = parts.config;
  const lines = new TrustedLines(fingerprint ?? undefined);
  const path = `/nodes/${encodeURIComponent(node)}/control`;
  // A refused upgrade says nothing of why: the same call without one does.
  const api = new ApiLine(
    { host, port, user, token, store: '' },
    { secret, fingerprint: fingerprint ?? undefined },
    lines,
  );
  try {
    const answer = Type.Object({ protocol: Type.Integer() });
    const { protocol } = await api.call('GET', path, undefined, answer, {
      signal,
      patienceMs: 0,
      timeoutMs: OPEN_TIMEOUT_MS,
    });
    if (protocol !== PROTOCOL_VERSION)
      throw new HoldfastError(
        'protocol-failed',
        `the server speaks version ${protocol} of the control protocol and this agent version ${PROTOCOL_VERSION}: install the same Holdfast at both`,
      );
  } finally {
    await api.close();
  }
  // It may have come while that line was closed, when nobody listened for it.
  signal.throwIfAborted();
  const origin = originOf({ host, port });
  const dispatcher = lines.open(origin);
  try {
    const socket = new WebSocket(`${origin.replace(/^https/, 'wss')}/api2/json${path}`, {
      dispatcher,
      headers: { authorization: `PBSAPIToken=${user}!${token}:${secret}` },
    });
    return await converse(socket, () => lines.cut(), parts, signal);
  } finally {
    await dispatcher.destroy();
    setTimeout(() => lines.cut(), CLOSE_MS).unref();
  }
}

/** Speaks on a socket until it is closed. */
async function converse(socket: WebSocket, cut: () => void, parts: ControlParts, signal: AbortSignal): Promise<string> {
  return await new Promise<string>((resolve, reject) => {
    let refusal: HoldfastError | undefined;
    let isWelcome = false;
    const openTimer = setTimeout(() => line.cut('the server did not open the connection in time'), OPEN_TIMEOUT_MS);
    const stop = (): void => line.close('the agent ends');
    const line: ControlLine<typeof ServerMessage, AgentMessage> = new ControlLine(
      {
        // A beat may come before the connection is open, and a socket throws then.
        send: (text) => {
          if (socket.readyState === WebSocket.OPEN) socket.send(text);
        },
        get bufferedAmount() {
          return socket.bufferedAmount;
        },
        close: (reason) => socket.close(1000, reason),
        terminate: cut,
      },
      ServerMessage,
      {
        onMessage: (message) => {
          if (message.type === 'refused') {
            refusal = refusalOf(message);
            line.close('refused');
          } else if (message.type === 'welcome') {
            clearTimeout(openTimer);
            isWelcome = true;
            parts.onConnected();
            parts.desk.attach((each) => line.send(each));
          } else if (isWelcome) handle(message, parts.desk);
          else line.cut('the first message is no welcome');
        },
        onClosed: (reason) => {
          clearTimeout(openTimer);
          signal.removeEventListener('abort', stop);
          parts.desk.detach();
          if (refusal !== undefined) reject(refusal);
          else if (isWelcome) resolve(reason);
          else reject(new HoldfastError('server-unreachable', `the control connection did not come about: ${reason}`));
        },
      },
      parts.heartbeat,
    );
    signal.addEventListener('abort', stop, { once: true });
    socket.addEventListener('open', () => line.send(helloOf(parts)));
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') line.received(data);
      else line.cut('a message that is no text');
    });
    socket.addEventListener('error', ({ message }) => line.closed(message || 'the connection failed'));
    socket.addEventListener('close', ({ code, reason }) =>
      line.closed(`the server closed the connection (${reason || code})`),
    );
  });
}

function handle(message: ServerMessage, desk: OrderDesk): void {
  if (message.type === 'order') desk.take(message.id, message.order);
  else if (message.type === 'abort') desk.abort(message.order, message.reason);
  else if (message.type === 'ack') desk.acknowledged(message.order, message.seq);
}

function helloOf({ machine, instance, version, desk }: ControlParts): AgentMessage {
  return {
    type: 'hello',
    protocol: PROTOCOL_VERSION,
    version,
    instance,
    'host-name': machine.hostName,
    'machine-id': machine.machineId,
    'boot-id': machine.bootId,
    orders: desk.ids,
    kinds: [...ORDER_KINDS],
  };
}

function refusalOf({ code, message }: { readonly code: string; readonly message: string }): HoldfastError {
  return new HoldfastError(code in ERROR_CODES ? (code as ErrorCode) : 'protocol-failed', message);
}
