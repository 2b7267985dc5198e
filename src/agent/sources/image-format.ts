// What kind of image a file holds, by its first bytes, and whether those bytes may be believed.
// A guest writes every byte of its raw disk, a qcow2 header with a backing file /etc/shadow included. So an image whose
// format was only detected is opened when it refers to no other file, or when its name says the same as its bytes.
import { closeSync, openSync, readSync } from 'node:fs';
import { extname } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';

export interface DetectedFormat {
  /** QEMU's block driver; `raw` when no magic matches. */
  driver: string;
  /** How the image refers to other files, in words; undefined when it does not. */
  refersTo: string | undefined;
}

const QCOW_MAGIC = 0x514649fb;
const QCOW2_INCOMPATIBLE_DATA_FILE = 4;
const VDI_MAGIC = 0x7f10dabe;
const SECTOR = 512;
/** Where QEMU's vmdk driver looks for the parent whatever the header says, and how much of it is read. */
const VMDK_DESCRIPTOR_OFFSET = 512;
const VMDK_DESCRIPTOR_BYTES = 20 * SECTOR;

const EXTENSIONS: Readonly<Record<string, readonly string[]>> = {
  qcow: ['.qcow'],
  qcow2: ['.qcow2', '.qcow'],
  vmdk: ['.vmdk'],
  vdi: ['.vdi'],
  vhdx: ['.vhdx'],
};

/** `readAt` returns at most `length` bytes at `offset`, fewer at the end. */
export function detectFormat(readAt: (offset: number, length: number) => Buffer): DetectedFormat {
  const head = Buffer.alloc(SECTOR);
  readAt(0, SECTOR).copy(head);
  const magic = head.toString('latin1', 0, 4);
  if (head.readUInt32BE(0) === QCOW_MAGIC) return detectQcow(head);
  if (magic === 'KDMV') return { driver: 'vmdk', refersTo: sparseVmdkReference(head, readAt) };
  if (magic === 'COWD') return { driver: 'vmdk', refersTo: undefined };
  if (head.toString('latin1', 0, 21) === '# Disk DescriptorFile') return { driver: 'vmdk', refersTo: 'extent files' };
  if (head.readUInt32BE(64) === VDI_MAGIC) return { driver: 'vdi', refersTo: undefined };
  if (head.toString('latin1', 0, 8) === 'vhdxfile') return { driver: 'vhdx', refersTo: undefined };
  return { driver: 'raw', refersTo: undefined };
}

function detectQcow(head: Buffer): DetectedFormat {
  const version = head.readUInt32BE(4);
  const driver = version === 1 ? 'qcow' : 'qcow2';
  if (head.readBigUInt64BE(8) !== 0n) return { driver, refersTo: 'a backing file' };
  const hasDataFile = version >= 3 && (head.readUInt32BE(76) & QCOW2_INCOMPATIBLE_DATA_FILE) !== 0;
  return { driver, refersTo: hasDataFile ? 'an external data file' : undefined };
}

/** Header (all little-endian): capacity at 12, the descriptor's sector at 28. */
function sparseVmdkReference(head: Buffer, readAt: (offset: number, length: number) => Buffer): string | undefined {
  if (head.readBigUInt64LE(12) === 0n) return 'extent files';
  const sector = head.readBigUInt64LE(28);
  if (sector > 1n << 40n) return 'a descriptor outside of it';
  for (const offset of [VMDK_DESCRIPTOR_OFFSET, Number(sector) * SECTOR]) {
    const text = readAt(offset, VMDK_DESCRIPTOR_BYTES).toString('latin1');
    if (text.includes('parentFileNameHint')) return 'a parent image';
  }
  return undefined;
}

/** What a file that nobody vouches for claims to be. `refersTo` is undefined when the claim may be believed. */
export function readClaim(path: string): DetectedFormat {
  const detected = readFormat(path);
  const isConfirmed = EXTENSIONS[detected.driver]?.includes(extname(path).toLowerCase());
  return isConfirmed ? { ...detected, refersTo: undefined } : detected;
}

/**
 * The driver to open a regular file with. Throws `source-failed` for an image that refers to other files when neither its
 * name nor the user confirms the format.
 */
export function chooseDriver(path: string): string {
  const { driver, refersTo } = readClaim(path);
  if (refersTo === undefined) return driver;
  const message =
    `${path} starts like a ${driver} image that refers to ${refersTo}, but its name does not end in .${driver}. ` +
    'A guest can write such a header on its raw disk to read files of the host, so it was not opened. ' +
    `Say what it is: raw:${path} or ${driver}:${path}`;
  throw new HoldfastError('source-failed', message, { data: { path, driver, refersTo } });
}

/** By magic alone; also of a block device. Throws Node's errors. */
export function readFormat(path: string): DetectedFormat {
  const fd = openSync(path, 'r');
  try {
    return detectFormat((offset, length) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    });
  } finally {
    closeSync(fd);
  }
}
