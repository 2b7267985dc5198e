// Writes VMA archives as the layout of the format has them, well or badly: what a test wants to break it breaks in a hook. Shares no code with
// the reader. Streams: holds one extent.
import { createHash, randomBytes } from 'node:crypto';

const CLUSTER = 65_536;
const BLOCK = 4096;

export interface WrittenDisk {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** The bytes from `offset`, at most `length` of them at the end of the disk; undefined: zeros. */
  read(offset: number, length: number): Buffer | undefined;
}

export interface Cluster {
  readonly disk: WrittenDisk;
  readonly cluster: number;
}

export interface Writing {
  readonly disks: readonly WrittenDisk[];
  readonly configs?: readonly { readonly name: string; readonly content: Buffer }[];
  /** Default: disk after disk, ascending. */
  readonly order?: Iterable<Cluster>;
  /** Default 58, as vzdump: of 59 slots one stays empty. */
  readonly clustersPerExtent?: number;
  readonly uuid?: Buffer;
  /** Unix seconds. */
  readonly time?: number;
  /** Before the MD5 is made, and after it. */
  readonly spoilHeader?: (header: Buffer) => void;
  readonly breakHeader?: (header: Buffer) => void;
  readonly spoilExtent?: (header: Buffer, place: number) => void;
  readonly breakExtent?: (header: Buffer, place: number) => void;
}

export function diskOf(id: number, name: string, content: Buffer): WrittenDisk {
  return { id, name, sizeBytes: content.length, read: (offset, length) => content.subarray(offset, offset + length) };
}

/** All clusters of disks, one disk after the other. */
export function* ascending(disks: readonly WrittenDisk[]): Generator<Cluster> {
  for (const disk of disks)
    for (let cluster = 0; cluster * CLUSTER < disk.sizeBytes; cluster++) yield { disk, cluster };
}

/** A whole archive in memory. */
export function vmaBytes(writing: Writing): Buffer {
  return Buffer.concat([...writeVma(writing)]);
}

export function* writeVma(writing: Writing): Generator<Buffer> {
  const uuid = writing.uuid ?? randomBytes(16);
  yield header(writing, uuid);
  const perExtent = writing.clustersPerExtent ?? 58;
  let clusters: Cluster[] = [];
  let place = 0;
  for (const cluster of writing.order ?? ascending(writing.disks)) {
    clusters.push(cluster);
    if (clusters.length < perExtent) continue;
    yield* extent(clusters, uuid, writing, place++);
    clusters = [];
  }
  if (clusters.length > 0) yield* extent(clusters, uuid, writing, place);
}

function header({ disks, configs = [], time = 0, spoilHeader, breakHeader }: Writing, uuid: Buffer): Buffer {
  // Byte 0 of the buffer is used by nothing: pointers begin at 1.
  const blobs: Buffer[] = [Buffer.alloc(1)];
  let used = 1;
  const add = (bytes: Buffer): number => {
    const pointer = used;
    const length = Buffer.alloc(2);
    length.writeUInt16LE(bytes.length);
    blobs.push(length, bytes);
    used += 2 + bytes.length;
    return pointer;
  };
  const text = (name: string): Buffer => Buffer.from(`${name}\0`, 'latin1');
  const head = Buffer.alloc(12_288);
  head.write('VMA\0', 'latin1');
  head.writeUInt32BE(1, 4);
  uuid.copy(head, 8);
  head.writeBigInt64BE(BigInt(time), 24);
  for (const [place, { name, content }] of configs.entries()) {
    head.writeUInt32BE(add(text(name)), 2044 + place * 4);
    head.writeUInt32BE(add(content), 3068 + place * 4);
  }
  for (const { id, name, sizeBytes } of disks) {
    head.writeUInt32BE(add(text(name)), 4096 + id * 32);
    head.writeBigUInt64BE(BigInt(sizeBytes), 4096 + id * 32 + 8);
  }
  const headerBytes = Math.ceil((12_288 + used) / 512) * 512;
  head.writeUInt32BE(12_288, 48);
  head.writeUInt32BE(used, 52);
  head.writeUInt32BE(headerBytes, 56);
  const bytes = Buffer.alloc(headerBytes);
  Buffer.concat([head, ...blobs]).copy(bytes);
  spoilHeader?.(bytes);
  sealVma(bytes, 32);
  breakHeader?.(bytes);
  return bytes;
}

function* extent(clusters: readonly Cluster[], uuid: Buffer, writing: Writing, place: number): Generator<Buffer> {
  const bytes = Buffer.alloc(512);
  bytes.write('VMAE', 'latin1');
  uuid.copy(bytes, 8);
  const blocks: Buffer[] = [];
  for (const [slot, { disk, cluster }] of clusters.entries()) {
    let mask = 0;
    for (let block = 0; block < 16; block++) {
      const offset = cluster * CLUSTER + block * BLOCK;
      const data = offset < disk.sizeBytes ? disk.read(offset, Math.min(BLOCK, disk.sizeBytes - offset)) : undefined;
      if (data === undefined || isZero(data)) continue;
      mask |= 1 << block;
      blocks.push(data.length === BLOCK ? data : Buffer.concat([data, Buffer.alloc(BLOCK - data.length)]));
    }
    const word = 40 + slot * 8;
    bytes.writeUInt16BE(mask, word);
    bytes.writeUInt8(disk.id, word + 3);
    bytes.writeUInt32BE(cluster, word + 4);
  }
  bytes.writeUInt16BE(blocks.length, 6);
  writing.spoilExtent?.(bytes, place);
  sealVma(bytes, 24);
  writing.breakExtent?.(bytes, place);
  yield bytes;
  yield* blocks;
}

/** Writes the MD5 of all bytes, with itself as zeros. */
export function sealVma(bytes: Buffer, at: number): void {
  bytes.fill(0, at, at + 16);
  createHash('md5').update(bytes).digest().copy(bytes, at);
}

const ZEROS = Buffer.alloc(BLOCK);

function isZero(data: Buffer): boolean {
  return ZEROS.compare(data, 0, data.length, 0, data.length) === 0;
}
