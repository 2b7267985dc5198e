// A storage that is a directory: what all of them do alike. The forms say how images of each format lie there. No volume is there under its
// name before it is whole.
import { mkdir, readdir, rmdir, stat, statfs, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseGuestId, requireSnapshotName } from '../../schema/guest-names.ts';
import { syncDirectory } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { isThere } from '../../util/is-there.ts';
import { copyImage, createImage } from './copy-image.ts';
import type { ImageForm, NewImage } from './image-form.ts';
import { removeLeftovers } from './leftovers.ts';
import { describeVolume, namesOf } from './list-volumes.ts';
import { readQcow2Header } from './qcow2-header.ts';
import { imageOptions } from './qcow2-snapshots.ts';
import {
  type CloneRequest,
  CONTENT_TYPES,
  type CopyProgress,
  type ImageFormat,
  type LocatedImage,
  type SnapshotMode,
  type Storage,
  type StorageStatus,
  type Volume,
  type VolumeFilter,
  type VolumeRequest,
} from './storage.ts';
import { refuseAborted, runTool, storageFailure } from './storage-tool.ts';
import { type ImageName, nextDiskStem, parseVolumeName, wishedStem } from './volume-name.ts';
import { type PlacesParts, VolumePlaces } from './volume-places.ts';

const SECTOR_BYTES = 512;
/** Of names tried by an allocation that others race against. */
const MOST_NAMES = 1000;

export interface FileStorageParts extends PlacesParts {
  readonly type: 'dir' | 'btrfs';
  readonly content: readonly string[];
}

export class FileStorage implements Storage {
  readonly id: string;
  readonly type: 'dir' | 'btrfs';
  readonly content: readonly string[];
  readonly #places: VolumePlaces;

  constructor(parts: FileStorageParts) {
    this.id = parts.id;
    this.type = parts.type;
    this.content = parts.content;
    this.#places = new VolumePlaces(parts);
  }

  async status(): Promise<StorageStatus> {
    try {
      const { blocks, bfree, bavail, bsize } = await statfs(await this.#places.root());
      return { total: blocks * bsize, used: (blocks - bfree) * bsize, avail: bavail * bsize, active: true };
    } catch (error) {
      const reason = (error as Error).message;
      return { total: 0, used: 0, avail: 0, active: false, reason };
    }
  }

  async list(filter: VolumeFilter = {}, signal?: AbortSignal): Promise<Volume[]> {
    const root = await this.#places.root();
    const volumes: Volume[] = [];
    for (const content of CONTENT_TYPES) {
      if (!this.content.includes(content) || (filter.content ?? content) !== content) continue;
      for (const name of await namesOf(this.#places, root, content, filter.vmid)) {
        refuseAborted(signal, `the list of storage '${this.id}'`);
        if (filter.vmid !== undefined && name.vmid !== filter.vmid) continue;
        const volume = await describeVolume(this.#places, root, name);
        if (volume !== undefined) volumes.push(volume);
      }
    }
    return volumes.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async allocate(request: VolumeRequest, signal?: AbortSignal): Promise<Volume> {
    const sizeBytes = request.sizeBytes === 0 && request.mayBeEmpty ? 0 : requireSize(request.sizeBytes);
    return this.#create(request, signal, ({ path }) =>
      createImage({ path, format: request.format }, sizeBytes, signal),
    );
  }

  async clone(
    from: LocatedImage,
    request: CloneRequest,
    onProgress?: CopyProgress,
    signal?: AbortSignal,
  ): Promise<Volume> {
    const { format } = request;
    const sizeBytes = request.sizeBytes === undefined ? undefined : requireSize(request.sizeBytes);
    return this.#create(request, signal, async ({ path }) => {
      await copyImage(from, { path, format }, onProgress, signal);
      if (sizeBytes !== undefined && sizeBytes > (await sizeOf(path, format)))
        await runTool('qemu-img', ['resize', '-q', '-f', format, path, String(sizeBytes)], path, { signal });
    });
  }

  async free(name: string, signal?: AbortSignal): Promise<void> {
    const parsed = parseVolumeName(name);
    const what = this.#places.called(name);
    const { path } = await this.locate(name);
    if (parsed.content === 'images') await requireUnused(path, what, signal);
    refuseAborted(signal, what);
    await changing(what, async () => {
      if (parsed.content !== 'images') {
        await unlink(path);
        return syncDirectory(dirname(path));
      }
      const { directory, form } = await this.#places.imagePlace(parsed);
      await form.remove(directory, parsed.stem);
      await settleRemoval(directory);
    });
  }

  async locate(name: string, snapshot?: string): Promise<LocatedImage> {
    const volume = parseVolumeName(name);
    const root = await this.#places.root();
    if (snapshot === undefined) return { path: await this.#places.fileOf(root, volume), format: volume.format };
    const parsed = requireImage(name);
    const { format } = parsed;
    requireSnapshotName(snapshot);
    if (!(await this.snapshots(name)).includes(snapshot))
      throw new HoldfastError('not-found', `${this.#places.called(name)} has no snapshot '${snapshot}'`);
    const { directory, form } = await this.#places.imagePlace(parsed);
    const path = await this.#places.requireFile(root, name, form.fileOf(directory, parsed.stem, snapshot));
    return form.snapshotMode === 'image' ? { path, format, snapshot } : { path, format };
  }

  async resize(name: string, sizeBytes: number, signal?: AbortSignal): Promise<void> {
    requireImage(name);
    requireSize(sizeBytes);
    const what = this.#places.called(name);
    const { path, format } = await this.locate(name);
    const present = await sizeOf(path, format);
    if (sizeBytes < present)
      throw new HoldfastError(
        'bad-argument',
        `${what} has ${present} bytes and does not shrink to ${sizeBytes}: what is cut off would be lost`,
      );
    refuseAborted(signal, what);
    // Also when it has the size already, for qemu-img sees whether a guest uses it.
    await runTool('qemu-img', ['resize', '-q', '-f', format, path, String(sizeBytes)], what);
  }

  snapshotMode(name: string): SnapshotMode {
    return this.#places.forms[requireImage(name).format].snapshotMode;
  }

  async snapshots(name: string, signal?: AbortSignal): Promise<string[]> {
    return this.#onImage(name, (form, directory, stem) => form.snapshots(directory, stem, signal));
  }

  async snapshot(name: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    requireSnapshotName(snapshot);
    await this.#onImage(name, (form, directory, stem) => form.snapshot(directory, stem, snapshot, signal));
  }

  async deleteSnapshot(name: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    requireSnapshotName(snapshot);
    await this.#onImage(name, (form, directory, stem) => form.deleteSnapshot(directory, stem, snapshot, signal));
  }

  async rollback(name: string, snapshot: string, signal?: AbortSignal): Promise<void> {
    requireSnapshotName(snapshot);
    await requireUnused((await this.locate(name)).path, this.#places.called(name), signal);
    await this.#onImage(name, (form, directory, stem) => form.rollback(directory, stem, snapshot, signal));
  }

  /** Fills a new image and gives it its name, the next free one when none is wished. Nothing is left of what fails. */
  async #create(
    request: Omit<VolumeRequest, 'sizeBytes'>,
    signal: AbortSignal | undefined,
    fill: (image: NewImage) => Promise<void>,
  ): Promise<Volume> {
    const { format } = request;
    const vmid = parseGuestId(request.vmid);
    const wished = request.name === undefined ? undefined : wishedStem(request.name, vmid, format);
    if (!this.content.includes('images'))
      throw new HoldfastError('target-unfit', `storage '${this.id}' holds no disks: its content is ${this.content}`);
    const what = `a new disk of guest ${vmid} on storage '${this.id}'`;
    const root = await this.#places.root();
    refuseAborted(signal, what);
    const { directory, form } = await this.#places.imagePlace({ vmid, format });
    let image: NewImage | undefined;
    try {
      image = await this.#begin(root, directory, form);
      // Publishing would tell too, but after a copy that may take hours.
      if (wished !== undefined && (await isThere(form.fileOf(directory, wished)))) throw nameTaken(directory, wished);
      await fill(image);
      const stem = await publish(image, directory, vmid, wished);
      const volume = await describeVolume(this.#places, root, { content: 'images', vmid, stem, format });
      if (volume !== undefined) return volume;
      throw new HoldfastError('target-failed', `${what} was removed as soon as it was made`);
    } catch (error) {
      // On a disk that refuses this too, what stays is a leftover, and `error` has said more.
      await image?.discard().catch(() => undefined);
      await settleRemoval(directory).catch(() => undefined);
      throw storageFailure(what, error);
    }
  }

  async #begin(root: string, directory: string, form: ImageForm): Promise<NewImage> {
    for (let attempt = 1; ; attempt++) {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      await this.#places.requireInside(root, directory);
      try {
        await removeLeftovers(directory);
        return await form.begin(directory);
      } catch (error) {
        // The last volume of the guest was freed just now, and the directory with it.
        if (attempt === 3 || (await isThere(directory))) throw error;
      }
    }
  }

  async #onImage<Result>(
    name: string,
    work: (form: ImageForm, directory: string, stem: string) => Promise<Result>,
  ): Promise<Result> {
    const parsed = requireImage(name);
    await this.locate(name);
    const { directory, form } = await this.#places.imagePlace(parsed);
    return changing(this.#places.called(name), () => work(form, directory, parsed.stem));
  }
}

async function publish(image: NewImage, directory: string, vmid: number, wished: string | undefined): Promise<string> {
  if (wished !== undefined) {
    if (await image.publish(wished)) return wished;
    throw nameTaken(directory, wished);
  }
  for (let attempt = 0; attempt < MOST_NAMES; attempt++) {
    const stem = nextDiskStem(vmid, await readdir(directory));
    if (await image.publish(stem)) return stem;
  }
  throw new HoldfastError('target-failed', `no name is free in ${directory}, though ${MOST_NAMES} seemed to be`);
}

/**
 * Asks QEMU's locks as a writer would; only writing tells, for a guest lets others read its raw disk. They are on the file, whatever its
 * format, so that a damaged image does not matter. @throws `guest-running`.
 */
async function requireUnused(path: string, what: string, signal?: AbortSignal): Promise<void> {
  await runTool('qemu-io', ['--image-opts', '-c', 'quit', imageOptions(path, 'raw')], what, { signal });
}

async function changing<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw storageFailure(what, error);
  }
}

/** Makes durable what was removed from a guest's directory, and takes it away when it is empty. Others may do the same. */
async function settleRemoval(directory: string): Promise<void> {
  try {
    await syncDirectory(directory);
    await rmdir(directory);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(systemCode(error) ?? '')) throw error;
  }
}

function nameTaken(directory: string, stem: string): HoldfastError {
  return new HoldfastError('exists', `${join(directory, stem)} is there already; choose another name`);
}

async function sizeOf(path: string, format: ImageFormat): Promise<number> {
  if (format === 'raw') return (await stat(path)).size;
  const header = await readQcow2Header(path);
  if (header === undefined) throw new HoldfastError('target-unfit', `${path} is no qcow2 image any more`);
  return header.sizeBytes;
}

function requireImage(name: string): ImageName {
  const parsed = parseVolumeName(name);
  if (parsed.content === 'images') return parsed;
  throw new HoldfastError('bad-argument', `'${name}' is no disk of a guest`);
}

function requireSize(sizeBytes: number): number {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0) return sizeBytes;
  throw new HoldfastError(
    'bad-argument',
    `${sizeBytes} is no size of a disk: give bytes in multiples of ${SECTOR_BYTES}`,
  );
}
