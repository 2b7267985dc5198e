// Sends an answer that is bytes. What goes wrong in the middle cannot be told any more: the connection is cut, so that nobody takes the part for the whole.
import { finished, Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Format } from '../dialect/dialect.ts';
import { type ByteAnswer, dispositionOf } from './byte-answer.ts';

/** What a caller has for the last bytes, which wait in this process when nothing more is made: some 2 MiB, at 9 KB a second. */
const LAST_BYTES_MS = 240_000;

export interface Sending {
  /** Hears why it ended in the middle, unless the caller went away. */
  readonly onCut?: ((error: Error) => void) | undefined;
  readonly lastBytesMs?: number;
}

/** Returns when the bytes are out, or will never be. */
export async function sendBytes(
  reply: FastifyReply,
  format: Format,
  { stream, head, onSent }: ByteAnswer,
  { onCut = () => {}, lastBytesMs = LAST_BYTES_MS }: Sending = {},
): Promise<void> {
  stream.once('error', (error) => {
    if (!reply.raw.destroyed) onCut(error);
  });
  if (reply.raw.destroyed) {
    stream.destroy();
    onSent();
    return;
  }
  let last: NodeJS.Timeout | undefined;
  let isOver = false;
  stream.once('end', () => {
    if (isOver) return;
    last = setTimeout(() => {
      onCut(new Error('the caller of a download did not take the end of it; the connection was closed'));
      reply.raw.destroy();
    }, lastBytesMs);
  });
  finished(reply.raw, () => {
    isOver = true;
    clearTimeout(last);
    // Also when nobody had begun to read it.
    stream.destroy();
    onSent();
  });
  reply.code(head.status).type(head.type).header('x-content-type-options', 'nosniff');
  if (head.lengthBytes !== undefined) reply.header('content-length', head.lengthBytes);
  if (head.fileName !== undefined) reply.header('content-disposition', dispositionOf(head.fileName));
  for (const [name, value] of Object.entries(head.headers)) reply.header(name, value);
  await reply.send(head.isRows ? Readable.from(inEnvelope(stream, format), { objectMode: false }) : stream);
}

async function* inEnvelope(rows: Readable, format: Format): AsyncGenerator<Buffer> {
  yield Buffer.from(format === 'extjs' ? '{"success":true,"status":200,"data":[' : '{"data":[');
  for await (const bytes of rows) yield bytes as Buffer;
  yield Buffer.from(']}');
}
