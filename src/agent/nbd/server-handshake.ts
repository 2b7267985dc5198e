// The server's side of the fixed newstyle handshake, as a generator: it yields the view to fill next, or something to wait for, and
// sends through `send`. No I/O of its own. Whatever a client may send is answered or ends the connection; nothing is kept of it.
// Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, "Fixed newstyle negotiation", "Option types".
import { HoldfastError } from '../../util/errors.ts';
import * as nbd from './protocol.ts';
import type { ServedDisk, ServedExports } from './served-disk.ts';
import * as wire from './server-wire.ts';

/** Yields views to be filled with the next bytes of the stream, and promises to be awaited before it is resumed. */
export type ServerIntake<T> = Generator<Uint8Array | Promise<void>, T, void>;

/** What was agreed on. */
export interface Agreed {
  readonly disk: ServedDisk;
  readonly structuredReplies: boolean;
  /** Whether block status of `base:allocation` was agreed on. */
  readonly allocation: boolean;
}

export interface ServerHandshake {
  readonly exports: ServedExports;
  send(...messages: Uint8Array[]): void;
  /** Settles when the client has taken what was sent, or is gone. */
  flushed(): Promise<void>;
  /** Told of a disk that is there and cannot be opened. */
  report(message: string): void;
}

/** Bytes of one request, read or block status; clients that ask for no block sizes assume the same. */
export const MAX_REQUEST_BYTES = 32 << 20;
/** The average chunk: what is read and checked in any case. */
const BLOCK_SIZES: nbd.BlockSizes = { minimum: 1, preferred: 65_536, maximum: MAX_REQUEST_BYTES };
/** Longest payload of an option that is looked at; what is longer up to the second bound is skipped, else the connection ends. */
const MAX_OPTION_BYTES = 65_536;
const MAX_SKIPPED_BYTES = 1 << 20;
/** Far more than any client needs. */
const MAX_OPTIONS = 256;
const ALLOCATION_ID = 1;

interface State {
  structuredReplies: boolean;
  /** The export for which block status was agreed on. */
  allocationOf: string | undefined;
  noZeroes: boolean;
}

interface Option {
  readonly option: number;
  readonly data: Buffer;
}

/** Undefined when the client says good-bye. @throws `source-failed` when it does not speak the protocol. */
export function* serveHandshake(handshake: ServerHandshake): ServerIntake<Agreed | undefined> {
  handshake.send(wire.encodeGreeting());
  const clientFlags = nbd.viewOf(yield* take(4)).getUint32(0);
  if (clientFlags & ~(nbd.HANDSHAKE_FIXED_NEWSTYLE | nbd.HANDSHAKE_NO_ZEROES)) throw breach('unknown handshake flags');
  const state: State = {
    structuredReplies: false,
    allocationOf: undefined,
    noZeroes: (clientFlags & nbd.HANDSHAKE_NO_ZEROES) !== 0,
  };
  for (let count = 0; count < MAX_OPTIONS; count++) {
    // A list may be long: there is one answer at a time in memory, whatever is asked for.
    yield handshake.flushed();
    const header = nbd.viewOf(yield* take(16));
    if (header.getBigUint64(0) !== nbd.OPTION_MAGIC) throw breach('an option without the magic');
    const [option, length] = [header.getUint32(8), header.getUint32(12)];
    if (length > MAX_OPTION_BYTES) {
      if (length > MAX_SKIPPED_BYTES || option === nbd.OPTION.exportName) throw breach(`an option of ${length} bytes`);
      yield* skip(length);
      handshake.send(wire.encodeOptionError(option, nbd.OPTION_ERROR_TOO_BIG, `at most ${MAX_OPTION_BYTES} bytes`));
      continue;
    }
    const data = Buffer.from(yield* take(length));
    if (option === nbd.OPTION.abort) {
      handshake.send(wire.encodeOptionReply(option, nbd.REPLY.ack));
      return undefined;
    }
    const agreed = yield* answer(handshake, state, { option, data });
    if (agreed !== undefined) return agreed;
  }
  throw breach(`more than ${MAX_OPTIONS} options`);
}

function* answer(handshake: ServerHandshake, state: State, asked: Option): ServerIntake<Agreed | undefined> {
  const { option, data } = asked;
  if (option === nbd.OPTION.exportName) return yield* enterByName(handshake, state, data.toString());
  if (option === nbd.OPTION.go || option === nbd.OPTION.info) return yield* inform(handshake, state, asked);
  if (option === nbd.OPTION.list) yield* list(handshake, asked);
  else if (option === nbd.OPTION.listMetaContext || option === nbd.OPTION.setMetaContext)
    yield* metaContexts(handshake, state, asked);
  else if (option === nbd.OPTION.structuredReply && data.length === 0) {
    state.structuredReplies = true;
    handshake.send(wire.encodeOptionReply(option, nbd.REPLY.ack));
  } else if (option === nbd.OPTION.structuredReply)
    refuse(handshake, option, nbd.OPTION_ERROR_INVALID, 'no data belongs here');
  else refuse(handshake, option, nbd.OPTION_ERROR_UNSUPPORTED, `option ${option} is not known here`);
  return undefined;
}

/** NBD_OPT_EXPORT_NAME: the old way in, which knows no errors but the end of the connection. */
function* enterByName(handshake: ServerHandshake, state: State, name: string): ServerIntake<Agreed> {
  const disk = yield* open(handshake, name);
  if (!('disk' in disk)) throw breach(`a request for the export ${JSON.stringify(name)}: ${disk.text}`);
  const zeroes = new Uint8Array(state.noZeroes ? 0 : 124);
  handshake.send(wire.encodeExport(disk.disk.sizeBytes, flagsOf(state, disk.disk)), zeroes);
  return agree(state, disk.disk, name);
}

/** NBD_OPT_GO and NBD_OPT_INFO. */
function* inform(handshake: ServerHandshake, state: State, { option, data }: Option): ServerIntake<Agreed | undefined> {
  const asked = parseInfo(data);
  if (asked === undefined) return refuse(handshake, option, nbd.OPTION_ERROR_INVALID, 'malformed');
  const opened = yield* open(handshake, asked.name);
  if (!('disk' in opened)) return refuse(handshake, option, opened.error, opened.text);
  const { disk } = opened;
  const infos = [wire.encodeInfo(nbd.INFO.export, wire.encodeExport(disk.sizeBytes, flagsOf(state, disk)))];
  if (asked.infos.has(nbd.INFO.name)) infos.push(wire.encodeInfo(nbd.INFO.name, Buffer.from(asked.name)));
  if (asked.infos.has(nbd.INFO.description)) infos.push(wire.encodeInfo(nbd.INFO.description, Buffer.from(disk.label)));
  if (asked.infos.has(nbd.INFO.blockSize))
    infos.push(wire.encodeInfo(nbd.INFO.blockSize, wire.encodeBlockSizes(BLOCK_SIZES)));
  const replies = infos.map((info) => wire.encodeOptionReply(option, nbd.REPLY.info, info));
  handshake.send(...replies, wire.encodeOptionReply(option, nbd.REPLY.ack));
  return option === nbd.OPTION.go ? agree(state, disk, asked.name) : undefined;
}

function agree(state: State, disk: ServedDisk, name: string): Agreed {
  return { disk, structuredReplies: state.structuredReplies, allocation: state.allocationOf === name };
}

/** Flags that promise what a client did not ask for are left out: DF needs structured replies. */
function flagsOf(state: State, disk: ServedDisk): number {
  const { hasFlags, readOnly, sendFlush, sendCache, sendDoNotFragment, multipleConnections } = nbd.TRANSMISSION;
  const always = hasFlags | readOnly | sendFlush | sendCache;
  return always | (state.structuredReplies ? sendDoNotFragment : 0) | (disk.isFixed ? multipleConnections : 0);
}

function* list(handshake: ServerHandshake, { option, data }: Option): ServerIntake<void> {
  if (data.length > 0) return refuse(handshake, option, nbd.OPTION_ERROR_INVALID, 'no data belongs here');
  const found = yield* wait(handshake.exports.list());
  if ('error' in found) return refuse(handshake, option, ...refusalOf(handshake, found.error));
  const names = found.value.map((name) =>
    wire.encodeOptionReply(option, nbd.REPLY.server, wire.encodeNumbered(Buffer.byteLength(name), name)),
  );
  handshake.send(...names, wire.encodeOptionReply(option, nbd.REPLY.ack));
}

/** NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
function* metaContexts(handshake: ServerHandshake, state: State, { option, data }: Option): ServerIntake<void> {
  const isSet = option === nbd.OPTION.setMetaContext;
  // Whatever was agreed on before is void, also when this fails.
  if (isSet) state.allocationOf = undefined;
  const asked = parseMetaContexts(data);
  if (asked === undefined) return refuse(handshake, option, nbd.OPTION_ERROR_INVALID, 'malformed');
  if (!state.structuredReplies)
    return refuse(handshake, option, nbd.OPTION_ERROR_INVALID, 'ask for structured replies first');
  const opened = yield* open(handshake, asked.name);
  if (!('disk' in opened)) return refuse(handshake, option, opened.error, opened.text);
  // A query that ends after the colon asks for all of a namespace; only a list may ask so, or for everything.
  const matches = asked.queries.includes(nbd.BASE_ALLOCATION);
  const wanted = isSet ? matches : matches || asked.queries.length === 0 || asked.queries.includes('base:');
  if (isSet && wanted) state.allocationOf = asked.name;
  const context = wire.encodeNumbered(isSet ? ALLOCATION_ID : 0, nbd.BASE_ALLOCATION);
  if (wanted) handshake.send(wire.encodeOptionReply(option, nbd.REPLY.metaContext, context));
  handshake.send(wire.encodeOptionReply(option, nbd.REPLY.ack));
}

type Opened = { disk: ServedDisk } | { error: number; text: string };

function* open(handshake: ServerHandshake, name: string): ServerIntake<Opened> {
  const opened = yield* wait(handshake.exports.open(name));
  if ('error' in opened) {
    const [error, text] = refusalOf(handshake, opened.error);
    return { error, text };
  }
  if (opened.value === undefined) return { error: nbd.OPTION_ERROR_UNKNOWN, text: 'there is no such disk' };
  return { disk: opened.value };
}

/** What a client is told of a failure that is not its own. */
function refusalOf(handshake: ServerHandshake, error: unknown): [number, string] {
  const message = error instanceof HoldfastError ? error.message : 'internal error';
  handshake.report(error instanceof HoldfastError ? message : `a bug: ${(error as Error)?.stack ?? String(error)}`);
  const isTooMuch = error instanceof HoldfastError && error.code === 'too-many';
  return [isTooMuch ? nbd.OPTION_ERROR_TOO_BIG : nbd.OPTION_ERROR_PLATFORM, message];
}

function refuse(handshake: ServerHandshake, option: number, error: number, text: string): undefined {
  handshake.send(wire.encodeOptionError(option, error, text));
}

/** Has a promise awaited by whoever runs the generator. */
function* wait<Value>(promise: Promise<Value>): ServerIntake<{ value: Value } | { error: unknown }> {
  let outcome: { value: Value } | { error: unknown } | undefined;
  yield promise.then(
    (value) => {
      outcome = { value };
    },
    (error: unknown) => {
      outcome = { error };
    },
  );
  return outcome as { value: Value } | { error: unknown };
}

/** Undefined when it is malformed. */
function parseInfo(data: Buffer): { name: string; infos: ReadonlySet<number> } | undefined {
  const name = readString(data, 0);
  if (name === undefined || name.end + 2 > data.length) return undefined;
  const count = data.readUInt16BE(name.end);
  if (name.end + 2 + count * 2 !== data.length) return undefined;
  const infos = Array.from({ length: count }, (_, place) => data.readUInt16BE(name.end + 2 + place * 2));
  return { name: name.text, infos: new Set(infos) };
}

/** Undefined when it is malformed. */
function parseMetaContexts(data: Buffer): { name: string; queries: readonly string[] } | undefined {
  const name = readString(data, 0);
  if (name === undefined || name.end + 4 > data.length) return undefined;
  const count = data.readUInt32BE(name.end);
  const queries: string[] = [];
  let at = name.end + 4;
  for (let place = 0; place < count; place++) {
    const query = readString(data, at);
    if (query === undefined) return undefined;
    queries.push(query.text);
    at = query.end;
  }
  return at === data.length ? { name: name.text, queries } : undefined;
}

function readString(data: Buffer, at: number): { text: string; end: number } | undefined {
  if (at + 4 > data.length) return undefined;
  const length = data.readUInt32BE(at);
  const end = at + 4 + length;
  if (length > nbd.MAX_STRING_BYTES || end > data.length) return undefined;
  return { text: data.toString('utf8', at + 4, end), end };
}

function* take(length: number): ServerIntake<Uint8Array> {
  const bytes = new Uint8Array(length);
  yield bytes;
  return bytes;
}

/** Passes over bytes without keeping them. */
export function* skip(length: number): ServerIntake<void> {
  const scratch = new Uint8Array(Math.min(length, 65_536));
  for (let left = length; left > 0; left -= scratch.length) yield scratch.subarray(0, Math.min(left, scratch.length));
}

export function breach(what: string): HoldfastError {
  return new HoldfastError('source-failed', `an NBD client sent ${what}; its connection was closed`);
}

/** The number by which block status of `base:allocation` is told. */
export const ALLOCATION_CONTEXT = ALLOCATION_ID;
