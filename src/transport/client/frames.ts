// Frames of records as they go over the wire: `u32 length · record`, one after the other.
import { ID_BYTES } from '../../chunker/object.ts';

export const FRAME_HEADER_BYTES = 4;

/** Each frame's record with where the frame begins and ends; the form was checked by who made them. */
export function* eachFrame(frames: Uint8Array): Generator<{ record: Uint8Array; from: number; to: number }> {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  for (let from = 0; from < frames.length; ) {
    const at = from + FRAME_HEADER_BYTES;
    const to = at + view.getUint32(from, true);
    yield { record: frames.subarray(at, to), from, to };
    from = to;
  }
}

/** An id as the key of a map. */
export function idKey(bytes: Uint8Array, at = 0): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, ID_BYTES).toString('latin1');
}

/** Ids from keys of a map, one after the other. */
export function idsOf(keys: readonly string[]): Uint8Array {
  const ids = Buffer.allocUnsafeSlow(keys.length * ID_BYTES);
  keys.forEach((key, place) => void ids.write(key, place * ID_BYTES, 'latin1'));
  return ids;
}

export function bitOf(bitmap: Uint8Array, place: number): boolean {
  return (((bitmap[place >> 3] as number) >> (place & 7)) & 1) === 1;
}

export function setBit(bitmap: Uint8Array, place: number): void {
  bitmap[place >> 3] = (bitmap[place >> 3] as number) | (1 << (place & 7));
}
