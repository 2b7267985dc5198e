// Sends an answer that is bytes. What goes wrong in the middle cannot be told any more: the connection is cut, so that nobody takes the part for the whole.
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Format } from '../dialect/answer.ts';
import { type ByteAnswer, dispositionOf } from './byte-answer.ts';

/** `onCut` hears why it ended in the middle, unless the caller went away. */
export async function sendBytes(
  reply: FastifyReply,
  format: Format,
  { stream, head }: ByteAnswer,
  onCut: (error: Error) => void = () => {},
): Promise<void> {
  stream.once('error', (error) => {
    if (!reply.raw.destroyed) onCut(error);
  });
  if (reply.raw.destroyed) {
    stream.destroy();
    return;
  }
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
