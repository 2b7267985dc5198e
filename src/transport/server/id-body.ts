// Bodies that are lists of ids, read as a whole: they are short.
import { ID_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { RequestBody } from './request-body.ts';

/** @throws `too-large`, `bad-argument` when it is not whole ids, `aborted` when the line breaks. */
export async function readIds(body: RequestBody, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    body.read({
      part: (part) => {
        bytes += part.length;
        if (bytes > maxBytes) {
          body.pause();
          reject(new HoldfastError('too-large', `at most ${maxBytes / ID_BYTES} ids in one call`));
        } else parts.push(Buffer.from(part));
      },
      end: resolve,
      lost: () => reject(new HoldfastError('aborted', 'the client broke the call off')),
    });
  });
  if (bytes % ID_BYTES !== 0)
    throw new HoldfastError('bad-argument', `a body of ${bytes} bytes is not a list of ids of ${ID_BYTES} bytes`);
  return Buffer.concat(parts);
}
