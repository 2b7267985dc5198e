// The calls `have` and `get`, in slices between which the other connections of the thread get their turn.
import { setImmediate } from 'node:timers/promises';
import { ID_BYTES } from '../../chunker/object.ts';
import { BYTES_TYPE } from './answers.ts';
import { IDS_IN_A_ROW, READ_BYTES } from './bulk-limits.ts';
import type { RecordReader, RecordSink } from './bulk-objects.ts';
import type { CallAnswer } from './call-answer.ts';

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
export async function sendRecords(reader: RecordReader, ids: Buffer, answer: CallAnswer): Promise<void> {
  const count = ids.length / ID_BYTES;
  for (let first = 0; first < count; ) {
    const { bytes, next } = reader.read(ids, first, READ_BYTES);
    if (!answer.isBegun) answer.begin(200, BYTES_TYPE, undefined);
    // Until the bytes are on their way: their memory is bounded by one such write for each call.
    await answer.write(bytes);
    await setImmediate();
    first = next;
  }
  if (!answer.isBegun) answer.begin(200, BYTES_TYPE, undefined);
  answer.end();
}
