// Answers to the requests of one connection. Reads leave in parts as they are ready where the client knows structured replies, and whole
// otherwise, for a simple reply says first whether it failed. Whatever would write is answered EPERM.
// Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, "Request types", "Structured reply chunk message".
import { HoldfastError } from '../../util/errors.ts';
import type { ByteBudget } from './byte-budget.ts';
import * as nbd from './protocol.ts';
import type { DiskSession } from './served-disk.ts';
import { type Agreed, ALLOCATION_CONTEXT, MAX_REQUEST_BYTES } from './server-handshake.ts';
import * as wire from './server-wire.ts';

export interface Answerer extends Agreed {
  readonly session: DiskSession;
  /** Memory for answers that must be whole; shared by all connections. */
  readonly budget: ByteBudget;
  isClosed(): boolean;
  /** Settles when the bytes are no longer needed. */
  send(...messages: Uint8Array[]): Promise<void>;
  report(message: string): void;
}

const WRITING: ReadonlySet<number> = new Set([
  nbd.COMMAND.write,
  nbd.COMMAND.trim,
  nbd.COMMAND.writeZeroes,
  nbd.COMMAND.resize,
]);

/** Answers one request, with an error if need be. Rejects only when an answer that was begun cannot be ended. */
export async function answerRequest(answerer: Answerer, request: wire.ServerRequest): Promise<void> {
  const { read, blockStatus, cache, flush } = nbd.COMMAND;
  if (WRITING.has(request.command)) return await refuse(answerer, request, nbd.ERRNO.EPERM, 'this export is read-only');
  // Nothing is ever written, so that nothing is left to be flushed.
  if (request.command === flush) return await answerer.send(wire.encodeSimpleReply(request.cookie, 0));
  const bad = whyBad(answerer, request);
  if (bad !== undefined) return await refuse(answerer, request, nbd.ERRNO.EINVAL, bad);
  try {
    if (request.command === read) await answerRead(answerer, request);
    else if (request.command === blockStatus) await answerStatus(answerer, request);
    else if (request.command === cache) {
      answerer.session.prefetch(request.offset, request.length);
      await answerer.send(wire.encodeSimpleReply(request.cookie, 0));
    }
  } catch (error) {
    const message = error instanceof HoldfastError ? error.message : (error as Error)?.stack;
    answerer.report(message ?? String(error));
    await refuse(answerer, request, nbd.ERRNO.EIO, error instanceof HoldfastError ? error.message : 'internal error');
  }
}

/** Why a request cannot be meant; undefined when it can. */
function whyBad({ disk, structuredReplies, allocation }: Answerer, request: wire.ServerRequest): string | undefined {
  const { command, flags, offset, length } = request;
  const { read, blockStatus, cache } = nbd.COMMAND;
  const { doNotFragment, oneExtent } = nbd.COMMAND_FLAG;
  if (command !== read && command !== blockStatus && command !== cache) return `command ${command} is not known here`;
  const known = command === read && structuredReplies ? doNotFragment : command === blockStatus ? oneExtent : 0;
  if (flags & ~known) return `flags ${flags} do not belong to command ${command}`;
  if (offset + length > disk.sizeBytes) return 'beyond the end of the disk';
  if (command === read && length > MAX_REQUEST_BYTES) return `more than ${MAX_REQUEST_BYTES} bytes`;
  if (command === blockStatus && !allocation) return 'block status was not agreed on';
  if (command === blockStatus && length === 0) return 'no length';
  return undefined;
}

async function refuse(answerer: Answerer, request: wire.ServerRequest, errno: number, text: string): Promise<void> {
  const isStructured =
    answerer.structuredReplies && (request.command === nbd.COMMAND.read || request.command === nbd.COMMAND.blockStatus);
  if (isStructured) await answerer.send(wire.encodeErrorChunk(request.cookie, errno, text));
  else await answerer.send(wire.encodeSimpleReply(request.cookie, errno));
}

async function answerRead(answerer: Answerer, request: wire.ServerRequest): Promise<void> {
  const isWhole = !answerer.structuredReplies || (request.flags & nbd.COMMAND_FLAG.doNotFragment) !== 0;
  if (request.length === 0) {
    const none = answerer.structuredReplies
      ? wire.encodeNone(request.cookie)
      : wire.encodeSimpleReply(request.cookie, 0);
    await answerer.send(none);
  } else if (isWhole) await answerWhole(answerer, request);
  else await answerInParts(answerer, request);
}

/** Chunks as they are ready; the session bounds what is on the way. A failure ends them with an error chunk. */
async function answerInParts(answerer: Answerer, { cookie, offset, length }: wire.ServerRequest): Promise<void> {
  const end = offset + length;
  const sending: Promise<void>[] = [];
  try {
    for await (const part of answerer.session.read(offset, length)) {
      const isLast = part.offset + part.length === end;
      const head = part.views === undefined ? wire.encodeHole : wire.encodeDataHead;
      const messages = [head(cookie, part.offset, part.length, isLast), ...(part.views ?? [])];
      sending.push(answerer.send(...messages).finally(() => part.release()));
      if (answerer.isClosed()) return;
    }
  } finally {
    await Promise.all(sending);
  }
}

/** One reply with all the bytes, put together in memory first. */
async function answerWhole(answerer: Answerer, { cookie, offset, length }: wire.ServerRequest): Promise<void> {
  await answerer.budget.take(length);
  try {
    const whole = new Uint8Array(length);
    for await (const part of answerer.session.read(offset, length)) {
      try {
        let at = part.offset - offset;
        for (const view of part.views ?? []) {
          whole.set(view, at);
          at += view.length;
        }
      } finally {
        part.release();
      }
      if (answerer.isClosed()) return;
    }
    const { structuredReplies } = answerer;
    const head = structuredReplies
      ? wire.encodeDataHead(cookie, offset, length, true)
      : wire.encodeSimpleReply(cookie, 0);
    await answerer.send(head, whole);
  } finally {
    answerer.budget.give(length);
  }
}

async function answerStatus(answerer: Answerer, { cookie, flags, offset, length }: wire.ServerRequest): Promise<void> {
  const onlyFirst = (flags & nbd.COMMAND_FLAG.oneExtent) !== 0;
  const extents = await answerer.session.extents(offset, length, onlyFirst);
  await answerer.send(wire.encodeStatus(cookie, ALLOCATION_CONTEXT, extents));
}
