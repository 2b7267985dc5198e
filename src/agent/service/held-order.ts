// One order at the agent: what happened to it, in order, kept until the server has it. Bounded: of a log that nobody takes, the oldest lines go.
import { CONTROL_LIMITS } from '../../transport/control/limits.ts';
import { type AgentMessage, boundedText, type OrderEvent } from '../../transport/control/messages.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Of events that the server has not taken. */
const MAX_KEPT_EVENTS = 2000;
const MAX_KEPT_CHARS = 256 * 1024;
/** Sent and not acknowledged: what all orders together send stays below what a line takes. */
const MAX_UNDER_WAY = 8;
const PROGRESS_EVERY_MS = 500;

type Send = (message: AgentMessage) => void;

interface Progress {
  readonly what: string;
  readonly bytesDone: number;
  readonly bytesTotal: number | undefined;
}

export class HeldOrder {
  readonly id: string;
  readonly #aborting = new AbortController();
  #events: OrderEvent[] = [];
  #chars = 0;
  /** Of the line that says how many are missing, and how many. */
  #gap = { seq: 0, lines: 0 };
  #lastSeq = 0;
  #sentSeq = 0;
  #hasEnded = false;
  #send: Send | undefined;
  #progressAtMs = Number.NEGATIVE_INFINITY;

  constructor(id: string) {
    this.id = id;
  }

  get signal(): AbortSignal {
    return this.#aborting.signal;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Whether the server knows all of it, its end too. */
  get isTold(): boolean {
    return this.#hasEnded && this.#events.length === 0;
  }

  log(text: string): void {
    for (const line of text.split('\n')) this.#add({ seq: 0, event: 'log', text: boundedText(line) });
  }

  warn(text: string): void {
    this.#add({ seq: 0, event: 'warn', text: boundedText(text) });
  }

  /** The latest only, and not more often than somebody can look. */
  progress({ what, bytesDone, bytesTotal }: Progress): void {
    const nowMs = performance.now();
    if (this.#hasEnded || this.#send === undefined || nowMs - this.#progressAtMs < PROGRESS_EVERY_MS) return;
    this.#progressAtMs = nowMs;
    this.#send({
      type: 'progress',
      order: this.id,
      what: boundedText(what),
      'bytes-done': Math.round(bytesDone),
      ...(bytesTotal !== undefined && { 'bytes-total': Math.round(bytesTotal) }),
    });
  }

  succeeded(result: unknown): void {
    const isTooLong = Buffer.byteLength(JSON.stringify(result) ?? '') > CONTROL_LIMITS.resultBytes;
    this.#end({ seq: 0, event: 'end', result: isTooLong ? { tooLarge: true } : (result ?? null) });
  }

  failed(error: unknown): void {
    const isKnown = error instanceof HoldfastError;
    const text = isKnown ? error.message : `this is a bug in Holdfast: ${(error as Error)?.message ?? String(error)}`;
    const failure = { code: isKnown ? error.code : 'internal', message: boundedText(text) };
    this.#end({ seq: 0, event: 'end', failure });
  }

  abort(reason: string): void {
    this.#aborting.abort(new HoldfastError('aborted', reason));
  }

  /** A line is there: what was not acknowledged is told, again. */
  attach(send: Send): void {
    this.#send = send;
    this.#sentSeq = (this.#events[0]?.seq ?? this.#lastSeq + 1) - 1;
    this.#pump();
  }

  detach(): void {
    this.#send = undefined;
  }

  acknowledged(seq: number): void {
    while (this.#events.length > 0 && (this.#events[0] as OrderEvent).seq <= seq) this.#dropFirst();
    this.#pump();
  }

  #end(event: OrderEvent): void {
    if (this.#hasEnded) return;
    this.#add(event);
    this.#hasEnded = true;
  }

  #add(event: OrderEvent): void {
    if (this.#hasEnded) return;
    this.#events.push({ ...event, seq: ++this.#lastSeq });
    this.#chars += lengthOf(event);
    while (this.#events.length > MAX_KEPT_EVENTS || this.#chars > MAX_KEPT_CHARS) this.#forgetOldest();
    this.#pump();
  }

  /**
   * Of those that were not told, the first two become one that says how many are missing: what is under way stays as it was told. There always
   * are two before the end, for what is under way is a small part of what is kept.
   */
  #forgetOldest(): void {
    const place = this.#events.findIndex(({ seq }) => seq > this.#sentSeq);
    const [first, second] = this.#events.splice(place, 2) as [OrderEvent, OrderEvent];
    const lines = first.seq === this.#gap.seq ? this.#gap.lines + 1 : 2;
    this.#gap = { seq: second.seq, lines };
    const text = `${lines} lines are missing here: the server could not be reached for too long`;
    this.#events.splice(place, 0, { seq: second.seq, event: 'log', text });
    this.#chars += text.length - lengthOf(first) - lengthOf(second);
  }

  #dropFirst(): void {
    const first = this.#events.shift();
    if (first !== undefined) this.#chars -= lengthOf(first);
  }

  #pump(): void {
    for (const [place, event] of this.#events.entries()) {
      if (this.#send === undefined || place >= MAX_UNDER_WAY) return;
      if (event.seq <= this.#sentSeq) continue;
      this.#sentSeq = event.seq;
      this.#send({ type: 'event', order: this.id, event });
    }
  }
}

function lengthOf(event: OrderEvent): number {
  return event.event === 'end' ? 0 : event.text.length;
}
