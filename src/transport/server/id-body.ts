// Bodies that are lists of ids, read as a whole: they are short.
import type { IncomingMessage } from 'node:http';
import { ID_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';

/** @throws `too-large`, `bad-argument` when it is not whole ids, `aborted` when the line breaks. */
export async function readIds(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new HoldfastError('too-large', `at most ${maxBytes / ID_BYTES} ids in one call`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('aborted', 'the client broke the call off', { cause: error });
  }
  if (bytes % ID_BYTES !== 0)
    throw new HoldfastError('bad-argument', `a body of ${bytes} bytes is not a list of ids of ${ID_BYTES} bytes`);
  return Buffer.concat(chunks);
}
