// A disk in an image format, read through a QEMU process that is ours and ends with the source.
// QEMU is told every format: probing would let a guest choose how its raw disk, here or as a backing file, is read.
import { resolve } from 'node:path';
import { refuseProbedBackingFiles } from './backing-chain.ts';
import { requireDisk } from './file-size.ts';
import { statDisk } from './file-source.ts';
import { EXPORT_NAME, type ImageServer, startImageServer } from './image-server.ts';
import { openNbdSource } from './nbd-source.ts';
import type { DiskSource, Range, SourceLocator } from './source.ts';

export interface QemuImage {
  path: string;
  /** QEMU's block driver. */
  driver: string;
}

export interface QemuSourceOptions {
  signal?: AbortSignal | undefined;
  /** Where programs are looked for; default $PATH. */
  searchPath?: string;
}

/** Throws `not-found`, `bad-argument`, `tool-missing`, `source-failed` with QEMU's own words, `timed-out` or `aborted`. */
export async function openQemuSource(image: QemuImage, options: QemuSourceOptions = {}): Promise<DiskSource> {
  const { driver } = image;
  const path = resolve(image.path);
  const stat = statDisk(path);
  requireDisk(stat, image.path);
  await refuseProbedBackingFiles(path, driver, options.signal);
  const server = await startImageServer({ path, driver, isBlockDevice: stat.isBlockDevice(), ...options });
  try {
    const { socketPath } = server;
    const inner = await openNbdSource({ socketPath }, EXPORT_NAME, { label: image.path, signal: options.signal });
    return new QemuSource(image.path, inner, server);
  } catch (error) {
    await server.close();
    throw error;
  }
}

export class QemuSource implements DiskSource {
  readonly sizeBytes: number;
  readonly label: string;
  readonly locator: SourceLocator;
  readonly server: ImageServer;
  readonly #inner: DiskSource;

  constructor(label: string, inner: DiskSource, server: ImageServer) {
    this.label = label;
    this.sizeBytes = inner.sizeBytes;
    this.locator = inner.locator;
    this.server = server;
    this.#inner = inner;
  }

  zeroRanges(signal: AbortSignal, within?: readonly Range[]): AsyncIterable<Range> {
    return this.#inner.zeroRanges(signal, within);
  }

  checkUnchanged(): Promise<void> {
    return this.#inner.checkUnchanged();
  }

  async close(): Promise<void> {
    await this.#inner.close();
    await this.server.close();
  }
}
