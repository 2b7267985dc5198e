// Images that are one file each, STEM.raw or STEM.qcow2. A raw one has no snapshots; those of a qcow2 image lie in it.

import { randomUUID } from 'node:crypto';
import { link, mkdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, syncFile } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { type ImageForm, type NewImage, PARTIAL_PREFIX } from './image-form.ts';
import { createQcow2Snapshot, deleteQcow2Snapshot, listQcow2Snapshots, rollbackQcow2 } from './qcow2-snapshots.ts';
import type { ImageFormat, SnapshotMode } from './storage.ts';

/** What every image that is a file does alike. */
class FileImage {
  readonly #format: ImageFormat;

  constructor(format: ImageFormat) {
    this.#format = format;
  }

  stemOf(entry: string): string | undefined {
    const ending = `.${this.#format}`;
    return entry.endsWith(ending) ? entry.slice(0, -ending.length) : undefined;
  }

  fileOf(directory: string, stem: string): string {
    return join(directory, `${stem}.${this.#format}`);
  }

  async begin(directory: string): Promise<NewImage> {
    // A directory, so that nobody takes the guest's away as empty before there is a file.
    const partial = join(directory, `${PARTIAL_PREFIX}${randomUUID()}`);
    await mkdir(partial, { mode: 0o750 });
    const path = join(partial, `disk.${this.#format}`);
    const discard = () => rm(partial, { recursive: true, force: true });
    const publish = async (stem: string): Promise<boolean> => {
      await syncFile(path);
      try {
        // Unlike a rename it replaces nothing.
        await link(path, this.fileOf(directory, stem));
      } catch (error) {
        if (systemCode(error) === 'EEXIST') return false;
        throw error;
      }
      await discard();
      await syncDirectory(directory);
      return true;
    };
    return { path, publish, discard };
  }

  async remove(directory: string, stem: string): Promise<void> {
    await unlink(this.fileOf(directory, stem));
  }
}

export class RawFile extends FileImage implements ImageForm {
  readonly snapshotMode: SnapshotMode = 'none';

  constructor() {
    super('raw');
  }

  async snapshots(): Promise<string[]> {
    return [];
  }

  async snapshot(directory: string, stem: string): Promise<void> {
    throw new HoldfastError(
      'target-unfit',
      `${this.fileOf(directory, stem)} is a raw image on a directory, which has no snapshots; use qcow2, or a storage on btrfs`,
    );
  }

  async deleteSnapshot(directory: string, stem: string, snapshot: string): Promise<void> {
    throw new HoldfastError('not-found', `${this.fileOf(directory, stem)} has no snapshot '${snapshot}'`);
  }

  async rollback(directory: string, stem: string, snapshot: string): Promise<void> {
    await this.deleteSnapshot(directory, stem, snapshot);
  }
}

export class Qcow2File extends FileImage implements ImageForm {
  readonly snapshotMode: SnapshotMode = 'image';

  constructor() {
    super('qcow2');
  }

  snapshots(directory: string, stem: string, signal?: AbortSignal): Promise<string[]> {
    return listQcow2Snapshots(this.fileOf(directory, stem), signal);
  }

  snapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    return createQcow2Snapshot(this.fileOf(directory, stem), snapshot, signal);
  }

  deleteSnapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    return deleteQcow2Snapshot(this.fileOf(directory, stem), snapshot, signal);
  }

  rollback(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    return rollbackQcow2(this.fileOf(directory, stem), snapshot, signal);
  }
}
