// NBD client for reading: one connection, requests in a bounded pipeline, data landing straight in the caller's memory.
// The target of a read must stay where it is until the promise settles: a WebAssembly memory must not grow meanwhile.
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { Channel, type NbdAddress } from './channel.ts';
import { type ExportInfo, type Intake, negotiate } from './handshake.ts';
import type { Pace } from './pace.ts';
import { COMMAND, COMMAND_FLAG, encodeRequest, TRANSMISSION } from './protocol.ts';
import { receiveReplies } from './replies.ts';
import { Coverage, Job, type ReadRequest, type Request, type StatusRequest } from './requests.ts';

export type { NbdAddress } from './channel.ts';

export type NbdConnectOptions = NbdAddress & {
  exportName: string;
  /** What messages call it, where the address says nothing to the user; default the server's address. */
  label?: string | undefined;
  /** Asked for; which were granted is in `contexts`. Ask for one only: QEMU 7.2 garbles errors of several. */
  metaContexts?: readonly string[];
  /** Ends the connection, and all that waits for it, with `aborted`. */
  signal?: AbortSignal | undefined;
  /** Longest time without progress while something is awaited; default 60 s. */
  timeoutMs?: number | undefined;
  /** How it reads; default 4 requests of 256 KiB at once, as fast as 1 MiB each. */
  pace?: Pace | (() => Pace) | undefined;
};

export interface Extent {
  offset: number;
  length: number;
  flags: number;
}

const USUAL_PACE: Pace = { bytes: 256 * 1024, depth: 4 };
/** Of a question for block status: its length field has 32 bits, and QEMU answers for less in any case. */
export const STATUS_STEP_BYTES = 1 << 30;

export function describeAddress(address: NbdAddress): string {
  return 'socketPath' in address ? `NBD server on ${address.socketPath}` : `NBD server ${address.host}:${address.port}`;
}

export class NbdClient {
  readonly label: string;
  #channel!: Channel;
  /** Set once the handshake is done, before anybody has the client in hand. */
  #info!: ExportInfo;
  readonly #options: NbdConnectOptions;
  readonly #pace: () => Pace;
  #pending = new Map<number, Request>();
  #waiting: Request[] = [];
  #nextCookie = 1;
  #ended: HoldfastError | undefined;
  #onAbort: (() => void) | undefined;
  #ready: Job = new Job(1);

  /** Throws `source-failed`, `not-found` (no such export), `timed-out` or `aborted`. */
  static async connect(options: NbdConnectOptions): Promise<NbdClient> {
    const client = new NbdClient(options);
    client.#open();
    await client.#ready.promise;
    return client;
  }

  private constructor(options: NbdConnectOptions) {
    this.#options = options;
    const { pace = USUAL_PACE } = options;
    this.#pace = typeof pace === 'function' ? pace : () => pace;
    this.label = options.label ?? describeAddress(options);
  }

  get sizeBytes(): number {
    return this.#info.sizeBytes;
  }

  /** Transmission flags as the server sent them. */
  get flags(): number {
    return this.#info.flags;
  }

  /** Names of the meta contexts that the server granted. */
  get contexts(): readonly string[] {
    return [...this.#info.contexts.keys()];
  }

  /** Fills `target` with the bytes at `offset`. Rejects only once no piece of it can land any more. */
  async read(offset: number, target: Uint8Array): Promise<void> {
    const block = this.#info.blockSizes.minimum;
    if (offset % block !== 0 || target.length % block !== 0) return this.#readUnaligned(offset, target, block);
    if (target.length === 0) return;
    const pieces: Omit<ReadRequest, 'job'>[] = [];
    const pieceBytes = this.#pieceBytes();
    for (let at = 0; at < target.length; at += pieces.at(-1)!.length) {
      const room = pieceBytes - ((offset + at) % pieceBytes);
      const piece = target.subarray(at, at + room);
      pieces.push({ kind: 'read', offset: offset + at, length: piece.length, target: piece, covered: new Coverage() });
    }
    const job = new Job(pieces.length);
    for (const piece of pieces) this.#enqueue({ ...piece, job });
    this.#pump();
    await job.promise;
  }

  /** Walks the block status of a range: ascending, without gaps, clipped to the range, equal neighbours merged. */
  async *blockStatus(context: string, offset: number, length: number): AsyncIterable<Extent> {
    const contextId = this.#info.contexts.get(context);
    if (contextId === undefined) {
      throw new HoldfastError('source-failed', `${this.label} does not offer the block status "${context}"`, {
        data: { context },
      });
    }
    const block = this.#info.blockSizes.minimum;
    const end = offset + length;
    let at = offset;
    let open: Extent | undefined;
    while (at < end) {
      const start = at - (at % block);
      const extents = await this.#status(
        contextId,
        start,
        Math.min(Math.ceil((end - start) / block) * block, STATUS_STEP_BYTES),
      );
      const before = at;
      let extentEnd = start;
      for (let index = 0; index < extents.length && at < end; index += 2) {
        extentEnd += extents[index];
        const stop = Math.min(extentEnd, end);
        if (stop <= at) continue;
        const flags = extents[index + 1];
        if (open && open.flags === flags) {
          open.length += stop - at;
        } else {
          if (open) yield open;
          open = { offset: at, length: stop - at, flags };
        }
        at = stop;
      }
      if (at === before)
        throw new HoldfastError('source-failed', `${this.label}: block status at offset ${at} leads nowhere`);
    }
    if (open) yield open;
  }

  /** Says good-bye to the server. What still waits is rejected. Never throws. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const idle = this.#pending.size === 0;
    this.#stop(new HoldfastError('source-failed', `${this.label}: the connection was closed`));
    if (idle) await this.#channel.finish(encodeRequest(COMMAND.disconnect, this.#nextCookie, 0, 0));
    else this.#channel.destroy();
  }

  /** Cuts the connection, whatever is under way. */
  giveUp(): void {
    this.#fail(new HoldfastError('aborted', `${this.label}: aborted`));
  }

  #open(): void {
    const { signal, timeoutMs = 60_000 } = this.#options;
    if (signal?.aborted) {
      this.#fail(this.#abortError());
      return;
    }
    this.#channel = new Channel({
      address: this.#options,
      intake: this.#session(),
      timeoutMs,
      onIdle: () => {
        if (!this.#info || this.#pending.size > 0) this.#fail(this.#timeoutError(timeoutMs));
      },
      onEnd: (error) => this.#fail(this.#endError(error)),
    });
    if (signal) {
      this.#onAbort = () => this.#fail(this.#abortError());
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  *#session(): Intake<void> {
    const { exportName, metaContexts = [] } = this.#options;
    const send = (bytes: Uint8Array) => this.#channel.send(bytes);
    this.#info = yield* negotiate({ exportName, metaContexts, label: this.label, send });
    this.#ready.pieceDone();
    yield* receiveReplies({
      label: this.label,
      structuredReplies: this.#info.structuredReplies,
      pending: this.#pending,
      settled: (cookie, error) => this.#settled(cookie, error),
    });
  }

  /** As wished, as far as the server takes it. */
  #pieceBytes(): number {
    const { minimum, maximum } = this.#info.blockSizes;
    const wished = Math.min(this.#pace().bytes, maximum);
    return Math.max(wished - (wished % minimum), minimum);
  }

  #enqueue(request: Request): void {
    if (this.#ended) request.job.pieceDone(this.#ended);
    else this.#waiting.push(request);
  }

  /** Keeps at most `depth` requests on the way. */
  #pump(): void {
    const messages: Uint8Array[] = [];
    const { depth } = this.#pace();
    while (this.#pending.size < depth && this.#waiting.length > 0) {
      const request = this.#waiting.shift()!;
      if (request.job.error) {
        request.job.pieceDone();
        continue;
      }
      const cookie = this.#nextCookie++;
      this.#pending.set(cookie, request);
      const [command, flags] = request.kind === 'read' ? [COMMAND.read, this.#readFlags] : [COMMAND.blockStatus, 0];
      messages.push(encodeRequest(command, cookie, request.offset, request.length, flags));
    }
    if (messages.length > 0) this.#channel.send(...messages);
  }

  /** In one piece where the server can: QEMU ends the connection when a read fails whose answer it gives in several, and never says why. */
  get #readFlags(): number {
    const isOffered = this.#info.structuredReplies && (this.#info.flags & TRANSMISSION.sendDoNotFragment) !== 0;
    return isOffered ? COMMAND_FLAG.doNotFragment : 0;
  }

  #settled(cookie: number, error?: HoldfastError): void {
    const request = this.#pending.get(cookie)!;
    this.#pending.delete(cookie);
    request.job.pieceDone(error);
    // By half a pipeline: one message for several requests, and one wake-up of the server.
    if (this.#pending.size <= this.#pace().depth >> 1) this.#pump();
  }

  async #status(contextId: number, offset: number, length: number): Promise<Uint32Array> {
    const request: StatusRequest = { kind: 'status', job: new Job(1), offset, length, contextId };
    this.#enqueue(request);
    this.#pump();
    await request.job.promise;
    return request.extents!;
  }

  /** For servers that serve whole blocks only: reads the blocks around the range. */
  async #readUnaligned(offset: number, target: Uint8Array, block: number): Promise<void> {
    const start = offset - (offset % block);
    const whole = new Uint8Array(Math.ceil((offset + target.length - start) / block) * block);
    await this.read(start, whole);
    target.set(whole.subarray(offset - start, offset - start + target.length));
  }

  /** After this nothing is sent, and nothing lands in anybody's memory. */
  #fail(error: HoldfastError): void {
    if (this.#ended) return;
    this.#channel?.destroy();
    this.#stop(error);
  }

  #stop(error: HoldfastError): void {
    this.#ended = error;
    if (this.#onAbort) this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const requests = [...this.#pending.values(), ...this.#waiting];
    this.#pending.clear();
    this.#waiting = [];
    for (const request of requests) request.job.pieceDone(error);
    this.#ready.pieceDone(error);
  }

  #abortError(): HoldfastError {
    return new HoldfastError('aborted', `${this.label}: aborted`, { cause: this.#options.signal?.reason });
  }

  #timeoutError(timeoutMs: number): HoldfastError {
    const advice = this.#info
      ? 'the NBD server or its storage hangs'
      : 'the NBD server hangs, or serves no further connection (qemu-nbd: -e NUMBER)';
    return new HoldfastError('timed-out', `${this.label}: nothing happened for ${timeoutMs} ms; ${advice}`);
  }

  #endError(error: unknown): HoldfastError {
    if (error instanceof HoldfastError) return error;
    const why = error === undefined ? 'the NBD server closed the connection' : (error as Error).message;
    const data = { systemCode: systemCode(error) };
    return new HoldfastError('source-failed', `${this.label}: ${why}; check that the NBD server runs`, {
      cause: error,
      data,
    });
  }
}
