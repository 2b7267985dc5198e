// The calls `have` and `get`, in slices between which the other connections of the thread get their turn.
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { ID_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import { IDS_IN_A_ROW, READ_BYTES } from './bulk-limits.ts';
import type { RecordReader, RecordSink } from './bulk-objects.ts';

/** Bit `i % 8` of byte `i / 8` for each id. */
export async function knownIds(objects: Pick<RecordSink, 'markKnown'>, ids: Buffer): Promise<Buffer> {
  const count = ids.length / ID_BYTES;
  const bits = Buffer.alloc(Math.ceil(count / 8));
  for (let first = 0; first < count; first += IDS_IN_A_ROW) {
    if (first > 0) await setImmediate();
    objects.markKnown(ids, first, Math.min(count, first + IDS_IN_A_ROW), bits);
  }
  return bits;
}

/** Streams the records; nothing is read ahead of what the client takes. @throws `aborted` when the line breaks. */
export async function sendRecords(reader: RecordReader, ids: Buffer, response: ServerResponse): Promise<void> {
  const count = ids.length / ID_BYTES;
  for (let first = 0; first < count; ) {
    const { bytes, next } = reader.read(ids, first, READ_BYTES);
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/octet-stream' });
    await written(response, bytes);
    await setImmediate();
    first = next;
  }
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/octet-stream' });
  response.end();
}

/** Until the bytes are on their way: their memory is bounded by one such write for each call. */
function written(response: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const close = (): void => reject(new HoldfastError('aborted', 'the client broke the call off'));
    if (response.closed || response.destroyed) {
      close();
      return;
    }
    response.once('close', close);
    response.write(bytes, (error) => {
      response.off('close', close);
      if (error === null || error === undefined) resolve();
      else close();
    });
  });
}
