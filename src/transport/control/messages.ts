// The messages of a control connection: JSON texts, each an object with a `type`; docs/protocol.md, section 5, describes them. What is not as
// it stands here is refused by whoever gets it.
import { type Static, Type } from 'typebox';
import { CONTROL_LIMITS } from './limits.ts';

const OrderId = Type.String({ pattern: '^[0-9a-f]{32}$' });
const Sequence = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Name = Type.String({ maxLength: 255 });
/** A line of a log, an error's text. */
const Text = Type.String({ maxLength: CONTROL_LIMITS.lineBytes });
const Failure = Type.Object({
  /** Of the catalogue of errors. */
  code: Type.String({ maxLength: 64 }),
  message: Text,
});
const Ping = Type.Object({ type: Type.Literal('ping') });
const Pong = Type.Object({ type: Type.Literal('pong') });

/** What happened to an order, numbered from 1: lines of its log, and its end. */
export const OrderEvent = Type.Union([
  Type.Object({ seq: Sequence, event: Type.Enum(['log', 'warn']), text: Text }),
  Type.Object({
    seq: Sequence,
    event: Type.Literal('end'),
    /** Missing when it went well. */
    failure: Type.Optional(Failure),
    /** What the command prints as JSON. */
    result: Type.Optional(Type.Unknown()),
  }),
]);
export type OrderEvent = Static<typeof OrderEvent>;

export const Hello = Type.Object({
  type: Type.Literal('hello'),
  protocol: Type.Integer({ minimum: 1, maximum: 1000 }),
  /** Of the program. */
  version: Type.String({ maxLength: 32 }),
  /** Of the process, random. */
  instance: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  'host-name': Name,
  'machine-id': Name,
  'boot-id': Name,
  /** Orders that it has: those that wait or run, and those whose end was not acknowledged. */
  orders: Type.Array(OrderId, { maxItems: 256 }),
  /** Of orders that it takes. */
  kinds: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64 })),
});
export type Hello = Static<typeof Hello>;

export const AgentMessage = Type.Union([
  Hello,
  Type.Object({ type: Type.Literal('event'), order: OrderId, event: OrderEvent }),
  Type.Object({
    type: Type.Literal('progress'),
    order: OrderId,
    what: Text,
    'bytes-done': Bytes,
    'bytes-total': Type.Optional(Bytes),
  }),
  Ping,
  Pong,
]);
export type AgentMessage = Static<typeof AgentMessage>;

export const ServerMessage = Type.Union([
  Type.Object({
    type: Type.Literal('welcome'),
    protocol: Type.Integer({ minimum: 1, maximum: 1000 }),
    version: Type.String({ maxLength: 32 }),
  }),
  /** In place of a welcome; the server closes the connection. */
  Type.Object({ type: Type.Literal('refused'), ...Failure.properties }),
  /** `order` is an Order; one that the agent does not know is refused as an order, and not as a message. */
  Type.Object({ type: Type.Literal('order'), id: OrderId, order: Type.Unknown() }),
  Type.Object({ type: Type.Literal('abort'), order: OrderId, reason: Text }),
  /** Events up to this one have arrived, and are not told again. */
  Type.Object({ type: Type.Literal('ack'), order: OrderId, seq: Sequence }),
  Ping,
  Pong,
]);
export type ServerMessage = Static<typeof ServerMessage>;

/** Cuts a text to what a message takes, at a whole character. */
export function boundedText(text: string): string {
  const most = CONTROL_LIMITS.lineBytes;
  if (text.length <= most) return text;
  return `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
