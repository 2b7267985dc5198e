// Raw images on btrfs: each a subvolume STEM with the file disk.raw in it, each snapshot a read-only subvolume STEM@SNAPSHOT, as Proxmox lays
// them out. A rollback shares the snapshot's extents and is one rename, so that the disk is never missing.
import { randomUUID } from 'node:crypto';
import { chmod, constants, copyFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, syncFile } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { type ImageForm, type NewImage, PARTIAL_PREFIX } from './image-form.ts';
import type { SnapshotMode } from './storage.ts';
import { refuseAborted, runTool } from './storage-tool.ts';

const DISK = 'disk.raw';

export class SubvolumeImage implements ImageForm {
  readonly snapshotMode: SnapshotMode = 'storage';

  stemOf(entry: string): string | undefined {
    return /^[A-Za-z0-9_-]+$/.test(entry) ? entry : undefined;
  }

  fileOf(directory: string, stem: string, snapshot?: string): string {
    return join(subvolume(directory, stem, snapshot), DISK);
  }

  async begin(directory: string): Promise<NewImage> {
    const partial = join(directory, `${PARTIAL_PREFIX}${randomUUID()}`);
    await runTool('btrfs', ['subvolume', 'create', partial], partial);
    const publish = async (stem: string): Promise<boolean> => {
      await syncFile(join(partial, DISK));
      try {
        // A directory replaces only an empty one, and no published subvolume is empty.
        await rename(partial, subvolume(directory, stem));
      } catch (error) {
        if (systemCode(error) === 'ENOTEMPTY' || systemCode(error) === 'EEXIST') return false;
        throw error;
      }
      await syncDirectory(directory);
      return true;
    };
    return { path: join(partial, DISK), publish, discard: () => rm(partial, { recursive: true, force: true }) };
  }

  /** Snapshots go first: what is cut off in between is still a disk, which can be removed again. */
  async remove(directory: string, stem: string): Promise<void> {
    for (const snapshot of await this.snapshots(directory, stem))
      await deleteSubvolume(subvolume(directory, stem, snapshot));
    await deleteSubvolume(subvolume(directory, stem));
  }

  async snapshots(directory: string, stem: string): Promise<string[]> {
    const prefix = `${stem}@`;
    const entries = await readdir(directory);
    return entries.flatMap((entry) => (entry.startsWith(prefix) ? [entry.slice(prefix.length)] : [])).sort();
  }

  async snapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    const [source, target] = [subvolume(directory, stem), subvolume(directory, stem, snapshot)];
    // Into a directory that is there btrfs would put it.
    if ((await this.snapshots(directory, stem)).includes(snapshot))
      throw new HoldfastError('exists', `${source} has a snapshot '${snapshot}' already`);
    refuseAborted(signal, source);
    await runTool('btrfs', ['subvolume', 'snapshot', '-r', source, target], source);
    await syncDirectory(directory);
  }

  async deleteSnapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    await this.#requireSnapshot(directory, stem, snapshot);
    refuseAborted(signal, subvolume(directory, stem));
    await deleteSubvolume(subvolume(directory, stem, snapshot));
  }

  async rollback(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    await this.#requireSnapshot(directory, stem, snapshot);
    const disk = this.fileOf(directory, stem);
    refuseAborted(signal, disk);
    const partial = join(subvolume(directory, stem), `${PARTIAL_PREFIX}${DISK}`);
    try {
      await rm(partial, { force: true });
      await copyFile(this.fileOf(directory, stem, snapshot), partial, constants.COPYFILE_FICLONE_FORCE);
      await chmod(partial, (await stat(disk)).mode & 0o777);
      await syncFile(partial);
      await rename(partial, disk);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
    await syncDirectory(subvolume(directory, stem));
  }

  async #requireSnapshot(directory: string, stem: string, snapshot: string): Promise<void> {
    if (!(await this.snapshots(directory, stem)).includes(snapshot))
      throw new HoldfastError('not-found', `${subvolume(directory, stem)} has no snapshot '${snapshot}'`);
  }
}

function subvolume(directory: string, stem: string, snapshot?: string): string {
  return join(directory, snapshot === undefined ? stem : `${stem}@${snapshot}`);
}

/** Durable when it returns; the space comes back later. */
async function deleteSubvolume(path: string): Promise<void> {
  await runTool('btrfs', ['subvolume', 'delete', '--commit-after', path], path);
}
