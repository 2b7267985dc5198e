// The fixed newstyle handshake as a generator: it yields the view to fill next, is resumed once that is full, and sends
// through `send`. No I/O of its own. Order: structured replies, meta contexts, GO with block sizes.
import { HoldfastError } from '../../util/errors.ts';
import * as nbd from './protocol.ts';

/** Yields views to be filled with the next bytes of the stream, in order; an empty view is filled already. */
export type Intake<T> = Generator<Uint8Array, T, void>;

export interface ExportInfo {
  sizeBytes: number;
  /** Transmission flags. */
  flags: number;
  structuredReplies: boolean;
  /** Name -> id of the meta contexts that the server granted. */
  contexts: ReadonlyMap<string, number>;
  blockSizes: nbd.BlockSizes;
}

export interface HandshakeRequest {
  exportName: string;
  metaContexts: readonly string[];
  /** Names the server in messages. */
  label: string;
  send(bytes: Uint8Array): void;
}

/** Servers that do not tell their block sizes must be asked for no more than 32 MiB. */
const DEFAULT_BLOCK_SIZES: nbd.BlockSizes = { minimum: 1, preferred: 4096, maximum: 32 << 20 };

/** Throws `not-found` for an unknown export, else `source-failed`. */
export function* negotiate(request: HandshakeRequest): Intake<ExportInfo> {
  yield* greet(request);
  const structuredReplies = yield* askStructuredReplies(request);
  const contexts = structuredReplies ? yield* askContexts(request) : new Map<string, number>();
  const info = yield* go(request);
  return { ...info, structuredReplies, contexts };
}

function notNbd(label: string, what: string): HoldfastError {
  return new HoldfastError('source-failed', `${label}: ${what}; check that this is the address of an NBD server`);
}

function* take(length: number): Intake<Uint8Array> {
  const bytes = new Uint8Array(length);
  yield bytes;
  return bytes;
}

function* greet({ label, send }: HandshakeRequest): Intake<void> {
  const hello = nbd.viewOf(yield* take(16));
  if (hello.getBigUint64(0) !== nbd.NBD_MAGIC) throw notNbd(label, 'the server does not speak NBD');
  if (hello.getBigUint64(8) !== nbd.OPTION_MAGIC) throw notNbd(label, 'the server speaks the old NBD handshake only');
  const flags = nbd.viewOf(yield* take(2)).getUint16(0);
  if (!(flags & nbd.HANDSHAKE_FIXED_NEWSTYLE)) throw notNbd(label, 'the server lacks the fixed newstyle handshake');
  const answer = new Uint8Array(4);
  nbd.viewOf(answer).setUint32(0, flags & (nbd.HANDSHAKE_FIXED_NEWSTYLE | nbd.HANDSHAKE_NO_ZEROES));
  send(answer);
}

interface Reply extends nbd.OptionReply {
  payload: Uint8Array;
}

function* nextReply(label: string, option: number): Intake<Reply> {
  const reply = nbd.decodeOptionReply(yield* take(20));
  if (!reply || reply.option !== option || reply.length > nbd.MAX_OPTION_REPLY_BYTES) {
    throw notNbd(label, `broken answer to NBD option ${option}`);
  }
  return { ...reply, payload: yield* take(reply.length) };
}

function* askStructuredReplies({ label, send }: HandshakeRequest): Intake<boolean> {
  send(nbd.encodeOption(nbd.OPTION.structuredReply, new Uint8Array(0)));
  const reply = yield* nextReply(label, nbd.OPTION.structuredReply);
  if (reply.isError && reply.type === nbd.OPTION_ERROR_TLS) throw refusal(label, reply);
  return !reply.isError;
}

/** A context that the server does not know is missing from the answer; one that knows no contexts answers with an error. */
function* askContexts({ label, send, exportName, metaContexts }: HandshakeRequest): Intake<Map<string, number>> {
  const contexts = new Map<string, number>();
  if (metaContexts.length === 0) return contexts;
  const option = nbd.OPTION.setMetaContext;
  send(nbd.encodeOption(option, nbd.encodeMetaContexts(exportName, metaContexts)));
  for (;;) {
    const { isError, type, payload } = yield* nextReply(label, option);
    if (isError || type === nbd.REPLY.ack) return contexts;
    if (type !== nbd.REPLY.metaContext || payload.length < 4) throw notNbd(label, 'broken NBD meta context');
    contexts.set(Buffer.from(payload.subarray(4)).toString(), nbd.viewOf(payload).getUint32(0));
  }
}

function* go({
  label,
  send,
  exportName,
}: HandshakeRequest): Intake<Pick<ExportInfo, 'sizeBytes' | 'flags' | 'blockSizes'>> {
  send(nbd.encodeOption(nbd.OPTION.go, nbd.encodeGo(exportName)));
  let size: { sizeBytes: number; flags: number } | undefined;
  let blockSizes = DEFAULT_BLOCK_SIZES;
  for (;;) {
    const reply = yield* nextReply(label, nbd.OPTION.go);
    if (reply.isError) throw refusal(label, reply, exportName);
    if (reply.type === nbd.REPLY.ack) break;
    const { payload } = reply;
    if (reply.type !== nbd.REPLY.info || payload.length < 2) throw notNbd(label, 'broken NBD export information');
    const view = nbd.viewOf(payload);
    const kind = view.getUint16(0);
    if (kind === nbd.INFO.export && payload.length === 12) {
      size = { sizeBytes: nbd.readU64(view, 2), flags: view.getUint16(10) };
    } else if (kind === nbd.INFO.blockSize && payload.length === 14) {
      blockSizes = { minimum: view.getUint32(2), preferred: view.getUint32(6), maximum: view.getUint32(10) };
    }
  }
  if (!size) throw notNbd(label, 'the server does not tell the size of the export');
  if (!Number.isSafeInteger(size.sizeBytes)) throw notNbd(label, 'the server tells a size above 8 PiB');
  const { minimum, maximum } = blockSizes;
  if (minimum < 1 || (minimum & (minimum - 1)) !== 0 || minimum > 65_536 || maximum < minimum) {
    throw notNbd(label, `the server tells impossible block sizes (${minimum} to ${maximum} bytes)`);
  }
  return { ...size, blockSizes };
}

function refusal(label: string, reply: Reply, exportName = ''): HoldfastError {
  const text = Buffer.from(reply.payload).toString();
  const why = nbd.OPTION_ERRORS[reply.type] ?? `error ${reply.type}`;
  if (reply.type === nbd.OPTION_ERROR_UNKNOWN) {
    const message = `${label} has no NBD export named "${exportName}"${text && ` (${text})`}; list them with: nbdinfo --list`;
    return new HoldfastError('not-found', message, { data: { exportName } });
  }
  const advice = reply.type === nbd.OPTION_ERROR_TLS ? '; TLS is not supported, use a unix socket or a tunnel' : '';
  return new HoldfastError(
    'source-failed',
    `${label} refuses NBD export "${exportName}": ${why}${text && `: ${text}`}${advice}`,
  );
}
