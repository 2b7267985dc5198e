// One connection to the bulk listener: have, put and get of one session, one call after the other. Whatever the server answers is checked
// for its form here; what records say is checked by who decodes them.
import { ID_BYTES, MAX_OBJECT_BYTES } from '../../chunker/object.ts';
import { copyShared } from '../../util/copy-shared.ts';
import { HoldfastError } from '../../util/errors.ts';
import { answerError, MAX_ERROR_BYTES } from './answer-error.ts';
import type { Bandwidth } from './bandwidth.ts';
import type { BulkConnection, BulkRequest } from './bulk-connection.ts';

/** A line that moves no byte for so long is broken: the server closes it after 60 s. */
const SILENCE_MS = 90_000;
/** Bytes that are given to the socket at once. */
const SLICE_BYTES = 256 * 1024;
/** A bandwidth limit works in such steps. */
const LIMITED_SLICE_BYTES = 64 * 1024;
/** Of memory for an answer that was lent none. */
const FIRST_BYTES = 4096;
/** A whole record and what encryption, checksum and header add. */
export const MAX_RECORD_BYTES = MAX_OBJECT_BYTES + 64 * 1024;

/** What a session is called at the server. */
export interface SessionAccess {
  readonly session: string;
  readonly token: string;
}

export class BulkLine {
  readonly #connection: BulkConnection;
  readonly #up: Bandwidth;
  readonly #down: Bandwidth;

  /** The connection is closed with the line. */
  constructor(connection: BulkConnection, up: Bandwidth, down: Bandwidth) {
    this.#connection = connection;
    this.#up = up;
    this.#down = down;
  }

  /** Which of the ids the server knows: a bitmap, bit `i % 8` of byte `i / 8`. */
  async have(access: SessionAccess, ids: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const bytes = Math.ceil(ids.length / ID_BYTES / 8);
    const bitmap = new BoundedBytes(bytes, 'have');
    await this.#call(access, 'have', [ids], (part) => bitmap.add(part), signal);
    if (bitmap.length !== bytes)
      throw broken(`have of ${ids.length / ID_BYTES} ids was answered with ${bitmap.length} bytes instead of ${bytes}`);
    return bitmap.whole();
  }

  /** Hands over `records` records, frames one after the other. When this returns, all are taken over. */
  async put(access: SessionAccess, frames: readonly Uint8Array[], records: number, signal: AbortSignal): Promise<void> {
    const answer = new BoundedBytes(MAX_ERROR_BYTES, 'put');
    await this.#call(access, 'put', frames, (part) => answer.add(part), signal);
    const text = Buffer.from(answer.whole()).toString('utf8');
    let taken: unknown;
    try {
      taken = (JSON.parse(text) as { records?: unknown } | null)?.records;
    } catch {
      taken = undefined;
    }
    if (taken !== records)
      throw broken(`a put of ${records} records was answered with ${JSON.stringify(text.slice(0, 100))}`);
  }

  /**
   * The frames of these ids, in order: `u32 length · record`, length 0 for what cannot be had. They are in `into` when they fit there, else
   * in memory of their own.
   */
  async get(
    access: SessionAccess,
    ids: Uint8Array,
    { mostBytes, into }: { readonly mostBytes: number; readonly into?: Uint8Array | undefined },
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const frames = new BoundedBytes(mostBytes, 'get', into);
    await this.#call(access, 'get', [ids], (part) => frames.add(part), signal);
    const bytes = frames.whole();
    requireFrames(bytes, ids.length / ID_BYTES);
    return bytes;
  }

  close(): void {
    this.#connection.close();
  }

  async #call(
    { session, token }: SessionAccess,
    method: 'have' | 'put' | 'get',
    body: readonly Uint8Array[],
    take: (part: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const either = AbortSignal.any([signal, silence.signal]);
    try {
      const length = body.reduce((sum, part) => sum + part.length, 0);
      const request: BulkRequest = {
        path: `/v1/${session}/${method}`,
        authorization: `Bearer ${token}`,
        length,
        body: length <= LIMITED_SLICE_BYTES ? Buffer.concat(body) : this.#slices(body, timer, either),
      };
      const said = new BoundedBytes(MAX_ERROR_BYTES, method);
      const takePart = (part: Uint8Array, status: number): Promise<void> | undefined => {
        timer.refresh();
        if (status === 200) take(part);
        else said.add(part);
        return this.#down.take(part.length, either);
      };
      const status = await this.#connection.exchange(request, takePart, either);
      if (status !== 200) throw answerError(status, Buffer.from(said.whole()).toString('utf8'), method);
    } catch (error) {
      signal.throwIfAborted();
      if (silence.signal.aborted)
        throw Object.assign(new Error(`${method} moved no byte for ${SILENCE_MS / 1000} s`), { code: 'ETIMEDOUT' });
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async *#slices(body: readonly Uint8Array[], timer: NodeJS.Timeout, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const most = this.#up.isLimited ? LIMITED_SLICE_BYTES : SLICE_BYTES;
    for (const part of body) {
      for (let at = 0; at < part.length; at += most) {
        const slice = part.subarray(at, at + most);
        const pause = this.#up.take(slice.length, signal);
        if (pause !== undefined) await pause;
        timer.refresh();
        yield slice;
      }
    }
  }
}

/** Bytes of an answer, up to what may come. */
class BoundedBytes {
  readonly #most: number;
  readonly #what: string;
  #bytes: Uint8Array;
  length = 0;

  /** As long as they fit they lie in `into`, then in memory of their own. */
  constructor(most: number, what: string, into: Uint8Array = new Uint8Array(0)) {
    this.#most = most;
    this.#what = what;
    this.#bytes = into;
  }

  add(part: Uint8Array): void {
    const length = this.length + part.length;
    if (length > this.#most)
      throw broken(`${this.#what} was answered with more than the ${this.#most} bytes that can be`);
    if (length > this.#bytes.length) this.#grow(length);
    copyShared(this.#bytes, this.length, part);
    this.length = length;
  }

  /** All that came, in `into` when it fits there. */
  whole(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  #grow(length: number): void {
    const larger = new Uint8Array(Math.min(this.#most, Math.max(length, 2 * this.#bytes.length, FIRST_BYTES)));
    copyShared(larger, 0, this.whole());
    this.#bytes = larger;
  }
}

function requireFrames(bytes: Uint8Array, count: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let frames = 0;
  for (; frames < count && at + 4 <= bytes.length; frames++) {
    const length = view.getUint32(at, true);
    if (length > MAX_RECORD_BYTES) throw broken(`get was answered with a frame of ${length} bytes`);
    at += 4 + length;
  }
  if (frames !== count || at !== bytes.length)
    throw broken(`get of ${count} ids was answered with something else than ${count} frames`);
}

function broken(what: string): HoldfastError {
  return new HoldfastError('protocol-failed', `the server does not keep to the protocol: ${what}`);
}
