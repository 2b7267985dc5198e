// Small disk images in versions, the same for the same seed: random, text-like, repeated and zero stretches, changed in places.
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers } from '../power-cut/crash-points.ts';

const STRETCH_BYTES = 64 * 1024;
const WORDS = 'backup snapshot volume guest storage chunk index node verify prune '.split(' ');

export interface Image {
  readonly path: string;
  /** Names what changed since the version before, once that one's snapshot is known. Absent for the first. */
  readonly changed: readonly { offset: number; length: number }[];
}

/** A disk of `sizeBytes` and its later versions, as files in `folder`. Each version changes about `share` of the disk. */
export function writeVersions(
  folder: string,
  name: string,
  options: { sizeBytes: number; versions: number; seed: number; share?: number },
): Image[] {
  const random = randomNumbers(options.seed);
  const disk = Buffer.alloc(options.sizeBytes);
  for (let at = 0; at < disk.length; at += STRETCH_BYTES) fill(disk.subarray(at, at + STRETCH_BYTES), random);
  const images: Image[] = [];
  for (let version = 1; version <= options.versions; version++) {
    const changed = version === 1 ? [] : change(disk, options.share ?? 0.05, random);
    const path = join(folder, `${name}-v${version}.img`);
    writeSparse(path, disk);
    images.push({ path, changed });
  }
  return images;
}

/** A change map as a file; `base` is the snapshot of the version before. */
export function writeChangeMap(path: string, base: string, archive: string, image: Image): string {
  writeFileSync(path, JSON.stringify({ base, disks: { [archive]: image.changed } }));
  return path;
}

function fill(stretch: Buffer, random: () => number): void {
  const kind = random();
  if (kind < 0.35) return void stretch.fill(0);
  if (kind < 0.8) {
    for (let at = 0; at + 4 <= stretch.length; at += 4) stretch.writeInt32LE((random() * 2 ** 32) | 0, at);
  } else if (kind < 0.9) {
    for (let at = 0; at < stretch.length; ) at += stretch.write(`${WORDS[Math.floor(random() * 10)]} `, at);
  } else {
    stretch.fill(1 + Math.floor(random() * 5));
  }
}

/** Overwrites ranges of any alignment, one in four of them with zeros. */
function change(disk: Buffer, share: number, random: () => number): { offset: number; length: number }[] {
  const changed: { offset: number; length: number }[] = [];
  for (let left = disk.length * share; left > 0; ) {
    const length = 1 + Math.floor(random() * 2 * STRETCH_BYTES);
    const offset = Math.floor(random() * (disk.length - length));
    const range = disk.subarray(offset, offset + length);
    if (random() < 0.25) range.fill(0);
    else for (let at = 0; at < length; at++) range[at] = random() * 256;
    changed.push({ offset, length });
    left -= length;
  }
  return changed;
}

function writeSparse(path: string, disk: Buffer): void {
  const zeros = Buffer.alloc(STRETCH_BYTES);
  const fd = openSync(path, 'w');
  try {
    ftruncateSync(fd, disk.length);
    for (let at = 0; at < disk.length; at += STRETCH_BYTES) {
      const stretch = disk.subarray(at, at + STRETCH_BYTES);
      if (!stretch.equals(zeros.subarray(0, stretch.length))) writeSync(fd, stretch, 0, stretch.length, at);
    }
  } finally {
    closeSync(fd);
  }
}

/** Whether two files hold the same bytes. */
export function sameBytes(one: string, other: string): boolean {
  return readFileSync(one).equals(readFileSync(other));
}
