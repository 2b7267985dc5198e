// What the header of a qcow2 image says (QEMU's docs/interop/qcow2.txt): its size and the files it refers to. Read directly, for a list of
// a thousand images would start a thousand programs, and no lock of QEMU is in the way.
import { open } from 'node:fs/promises';

const MAGIC = 0x514649fb;
const HEADER_BYTES = 104;
const INCOMPATIBLE_DIRTY = 1;
const INCOMPATIBLE_DATA_FILE = 4;
/** QEMU's own limits: a name lies in the first cluster, and a cluster has 2 MiB at most. */
const MAX_BACKING_NAME_BYTES = 1023;
const MAX_BACKING_OFFSET = 2n << 20n;

export interface Qcow2Header {
  /** 2, or 3 of images made with `compat=1.1`. */
  readonly version: number;
  readonly sizeBytes: number;
  /** As it stands there: relative to the image, absolute, or a protocol's address. The empty text when it cannot be read. */
  readonly backingFile: string | undefined;
  readonly hasDataFile: boolean;
  /** Whether its reference counts are out of date: QEMU with `lazy_refcounts` ended in the middle, and makes them anew when it opens it. */
  readonly isDirty: boolean;
}

/** Undefined for what is no qcow2 image. Throws Node's errors. */
export async function readQcow2Header(path: string): Promise<Qcow2Header | undefined> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(HEADER_BYTES);
    const { bytesRead } = await file.read(head, 0, HEADER_BYTES, 0);
    const version = head.readUInt32BE(4);
    if (bytesRead < 72 || head.readUInt32BE(0) !== MAGIC || version < 2) return undefined;
    const hasFeature = (bit: number) => version >= 3 && (head.readUInt32BE(76) & bit) !== 0;
    const backingAt = head.readBigUInt64BE(8);
    return {
      version,
      sizeBytes: Number(head.readBigUInt64BE(24)),
      backingFile: backingAt === 0n ? undefined : await readName(backingAt, head.readUInt32BE(16)),
      hasDataFile: hasFeature(INCOMPATIBLE_DATA_FILE),
      isDirty: hasFeature(INCOMPATIBLE_DIRTY),
    };
  } finally {
    await file.close();
  }

  async function readName(offset: bigint, length: number): Promise<string> {
    if (offset > MAX_BACKING_OFFSET) return '';
    const name = Buffer.alloc(Math.min(length, MAX_BACKING_NAME_BYTES));
    const { bytesRead } = await file.read(name, 0, name.length, Number(offset));
    return name.toString('utf8', 0, bytesRead);
  }
}
