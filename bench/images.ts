// The images all questions run on: made once from a seed, kept under .cache/bench/. Sizes shrink with `scale`, for trying the bench.
// The bytes depend on the files installed on this machine, so every result carries the digest of the base image.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { BLOCK_BYTES, changedBlocks, dataBlocks, writeDataBlocks } from './images/blocks.ts';
import { cached, copySparse, requireRoom } from './images/cache.ts';
import { type Extent, rewriteExtents, scatterExtents } from './images/change-map.ts';
import { type Ext4Facts, makeExt4Image } from './images/ext4-image.ts';
import { SYSTEM_ROOTS } from './images/file-tree.ts';
import { rewriteAsSecondVersion } from './images/second-version.ts';
import { makeSparseImage } from './images/sparse-image.ts';
import { missingTools } from './tools.ts';

// Raise the version whenever a generator changes what it writes.
export const IMAGES_VERSION = 1;
export const SEED = 'holdfast bench';
const GIB = 2 ** 30;
const MIB = 2 ** 20;

export interface Image {
  path: string;
  sizeBytes: number;
}
export interface BaseImage extends Image, Ext4Facts {
  dataBytes: number;
  digest: string;
}
export interface SecondImage extends Image {
  changedShare: number;
  changedBytes: number;
}
export interface MappedImage extends Image {
  extents: Extent[];
  mapBytes: number;
}
export interface HugeImage extends Image {
  runs: Extent[];
  dataBytes: number;
}

export interface Images {
  /** 4 GiB ext4 of real files. */
  base(): BaseImage;
  /** Its blocks that are not zero, in one file: what the C floor reads. */
  baseData(): Image;
  /** 2 to 3 % of the blocks rewritten. */
  second(): SecondImage;
  /** 1 % rewritten in 64 KiB extents that are known. */
  mapped(): MappedImage;
  /** The base image at the start of a 64 GiB sparse file, */
  wide(): Image;
  /** and with the same extents rewritten. */
  wideMapped(): MappedImage;
  /** 1 TiB sparse with a little data. */
  huge(): HugeImage;
}

/** What the generators need to know; tests give small roots of their own. */
export interface ImageOptions {
  cacheDirectory: string;
  scale: number;
  roots?: readonly string[];
}

/** Nothing is made before a question asks for it. */
export function openImages({ cacheDirectory, scale, roots = SYSTEM_ROOTS }: ImageOptions): Images {
  const directory = join(cacheDirectory, `images-v${IMAGES_VERSION}-scale-${scale}`);
  // Whole 16 MiB pages, and at least one of them.
  const scaled = (bytes: number): number => Math.max(16 * MIB, Math.round((bytes * scale) / (16 * MIB)) * 16 * MIB);
  const baseBytes = scaled(4 * GIB);
  const wideBytes = baseBytes * 16;
  const make = <Facts>(name: string, build: (path: string) => Facts): Facts & { path: string } =>
    cached(directory, name, build);

  const images: Images = {
    base: () =>
      make('base.img', (path) => {
        requireRoom(cacheDirectory, 30 * GIB * scale);
        const facts = makeExt4Image(path, baseBytes, roots, SEED);
        const dataBytes = BLOCK_BYTES * dataBlocks(path, baseBytes).reduce((sum, used) => sum + used, 0);
        return { sizeBytes: baseBytes, ...facts, dataBytes, digest: digestOf(path) };
      }),
    baseData: () => make('base.data', (path) => ({ sizeBytes: writeDataBlocks(images.base().path, path) })),
    second: () =>
      make('second.img', (path) => {
        const base = images.base();
        copySparse(base.path, path);
        rewriteAsSecondVersion(path, baseBytes, SEED);
        const changed = changedBlocks(base.path, path).length;
        return {
          sizeBytes: baseBytes,
          changedShare: (changed * BLOCK_BYTES) / baseBytes,
          changedBytes: changed * BLOCK_BYTES,
        };
      }),
    mapped: () =>
      make('mapped.img', (path) => {
        const base = images.base();
        const extents = scatterExtents(base.path, baseBytes, SEED);
        copySparse(base.path, path);
        rewriteExtents(path, extents, SEED);
        return { sizeBytes: baseBytes, extents, mapBytes: totalLength(extents) };
      }),
    wide: () =>
      make('wide.img', (path) => {
        copySparse(images.base().path, path, wideBytes);
        return { sizeBytes: wideBytes };
      }),
    wideMapped: () =>
      make('wide-mapped.img', (path) => {
        const { extents, mapBytes, path: source } = images.mapped();
        copySparse(source, path, wideBytes);
        return { sizeBytes: wideBytes, extents, mapBytes };
      }),
    huge: () =>
      make('huge.img', (path) => {
        const sizeBytes = scaled(1024 * GIB);
        const runs = makeSparseImage(path, sizeBytes, 384 * MIB * scale, SEED);
        return { sizeBytes, runs, dataBytes: totalLength(runs) };
      }),
  };
  return images;
}

const totalLength = (extents: readonly Extent[]): number => extents.reduce((sum, extent) => sum + extent.length, 0);

function digestOf(path: string): string {
  if (missingTools('b3sum') !== undefined) return 'unknown: b3sum is not installed';
  return execFileSync('b3sum', ['--no-names', path], { encoding: 'utf8' }).trim();
}
