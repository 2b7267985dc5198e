// What a control connection may cost its two ends; docs/protocol.md, section 5, has the same numbers.

export const PROTOCOL_VERSION = 1;

export const CONTROL_LIMITS = {
  /** Of one message, in bytes. */
  messageBytes: 64 * 1024,
  /** What may wait for the other end to read: more, and the line is cut. */
  waitingBytes: 1024 * 1024,
  /** Of a line of an order's log. */
  lineBytes: 4096,
  /** Of what an order came to, as JSON: more is left out. */
  resultBytes: 32 * 1024,
  /** What a new connection gets to say hello. */
  helloMs: 10_000,
} as const;

/** When a line that says nothing is asked, and when it is given up. */
export interface Heartbeat {
  readonly pingMs: number;
  readonly deadMs: number;
}

export const USUAL_HEARTBEAT: Heartbeat = { pingMs: 15_000, deadMs: 45_000 };
