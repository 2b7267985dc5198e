// Whether what stands between two records of a pack is what may stand there: pads and checkpoints, whole and in their places.
import { decodeCheckpoint, FRAME_HEADER_BYTES, FrameCodec, FrameType, readFrame } from '../packs/pack-format.ts';

/** File offsets, and the salt of the pack. */
export interface Gap {
  readonly start: number;
  readonly end: number;
  readonly salt: Buffer;
}

/** `bytes` are those of the gap; undefined when they cannot be read. What is inside a pad is never looked at. */
export function gapHolds(gap: Gap, bytes: Buffer | undefined): boolean {
  if (bytes === undefined) return false;
  const codec = new FrameCodec(gap.salt);
  let at = 0;
  while (at < bytes.length) {
    const frame = readFrame(bytes.subarray(at));
    if (frame === undefined || (frame.type !== FrameType.pad && frame.type !== FrameType.checkpoint)) return false;
    const end = at + FRAME_HEADER_BYTES + frame.bodyLength;
    if (end > bytes.length) return false;
    const whole = bytes.subarray(at, end);
    if (!codec.check(whole, gap.start + at, frame)) return false;
    if (frame.type === FrameType.checkpoint && decodeCheckpoint(whole, gap.salt) === undefined) return false;
    at = end;
  }
  return true;
}
