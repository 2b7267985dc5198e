// A storage that is a directory: what all of them do alike. The forms say how images of each format lie there. No path leaves the
// directory, by a name or by a symbolic link, and no volume is there under its name before it is whole.
import { lstat, mkdir, readdir, realpath, rmdir, stat, statfs, unlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { formatVolumeId, parseGuestId, requireSnapshotName } from '../../schema/guest-names.ts';
import { syncDirectory } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { copyImage, createImage } from './copy-image.ts';
import type { ImageForm, NewImage } from './image-form.ts';
import { removeLeftovers } from './leftovers.ts';
import { readQcow2Header } from './qcow2-header.ts';
import { imageOptions } from './qcow2-snapshots.ts';
import {
  type CloneRequest,
  CONTENT_TYPES,
  type ContentType,
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
import {
  CONTENT_DIRECTORIES,
  findVolumeName,
  formatVolumeName,
  type ImageName,
  nextDiskStem,
  parseVolumeName,
  type VolumeName,
  wishedStem,
} from './volume-name.ts';

const SECTOR_BYTES = 512;
/** Of names tried by an allocation that others race against. */
const MOST_NAMES = 1000;

export interface FileStorageParts {
  readonly id: string;
  readonly type: 'dir' | 'btrfs';
  readonly content: readonly string[];
  readonly forms: Readonly<Record<ImageFormat, ImageForm>>;
  /** Makes the directory ready and resolves its path. @throws `target-unfit` with the reason why it is not active. */
  readonly activate: () => Promise<string>;
}

export class FileStorage implements Storage {
  readonly id: string;
  readonly type: 'dir' | 'btrfs';
  readonly content: readonly string[];
  readonly #parts: FileStorageParts;

  constructor(parts: FileStorageParts) {
    this.id = parts.id;
    this.type = parts.type;
    this.content = parts.content;
    this.#parts = parts;
  }

  async status(): Promise<StorageStatus> {
    try {
      const { blocks, bfree, bavail, bsize } = await statfs(await this.#parts.activate());
      return { total: blocks * bsize, used: (blocks - bfree) * bsize, avail: bavail * bsize, active: true };
    } catch (error) {
      const reason = (error as Error).message;
      return { total: 0, used: 0, avail: 0, active: false, reason };
    }
  }

  async list(filter: VolumeFilter = {}, signal?: AbortSignal): Promise<Volume[]> {
    const root = await this.#parts.activate();
    const volumes: Volume[] = [];
    for (const content of CONTENT_TYPES) {
      if (!this.content.includes(content) || (filter.content ?? content) !== content) continue;
      const names = content === 'images' ? await this.#imagesIn(root, filter.vmid) : await this.#filesIn(root, content);
      for (const name of names) {
        refuseAborted(signal, `the list of storage '${this.id}'`);
        if (filter.vmid !== undefined && name.vmid !== filter.vmid) continue;
        const volume = await this.#describe(root, name);
        if (volume !== undefined) volumes.push(volume);
      }
    }
    return volumes.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async allocate(request: VolumeRequest, signal?: AbortSignal): Promise<Volume> {
    const sizeBytes = requireSize(request.sizeBytes);
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
      if (sizeBytes !== undefined && sizeBytes > (await this.#sizeOf(path, format)))
        await runTool('qemu-img', ['resize', '-q', '-f', format, path, String(sizeBytes)], path, { signal });
    });
  }

  async free(name: string, signal?: AbortSignal): Promise<void> {
    const parsed = parseVolumeName(name);
    const what = this.#called(name);
    const { path } = await this.locate(name);
    if (parsed.content === 'images') await requireUnused(path, what, signal);
    refuseAborted(signal, what);
    await changing(what, async () => {
      if (parsed.content !== 'images') {
        await unlink(path);
        return syncDirectory(dirname(path));
      }
      const { directory, form } = await this.#placeOf(parsed);
      await form.remove(directory, parsed.stem);
      await settleRemoval(directory);
    });
  }

  async locate(name: string, snapshot?: string): Promise<LocatedImage> {
    const volume = parseVolumeName(name);
    const root = await this.#parts.activate();
    if (snapshot === undefined)
      return { path: await this.#within(root, name, this.#pathOf(root, volume)), format: volume.format };
    const parsed = requireImage(name);
    const { format } = parsed;
    requireSnapshotName(snapshot);
    if (!(await this.snapshots(name)).includes(snapshot))
      throw new HoldfastError('not-found', `${this.#called(name)} has no snapshot '${snapshot}'`);
    const { directory, form } = await this.#placeOf(parsed);
    const path = await this.#within(root, name, form.fileOf(directory, parsed.stem, snapshot));
    return form.snapshotMode === 'image' ? { path, format, snapshot } : { path, format };
  }

  async resize(name: string, sizeBytes: number, signal?: AbortSignal): Promise<void> {
    requireImage(name);
    requireSize(sizeBytes);
    const what = this.#called(name);
    const { path, format } = await this.locate(name);
    const present = await this.#sizeOf(path, format);
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
    return this.#parts.forms[requireImage(name).format].snapshotMode;
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
    await requireUnused((await this.locate(name)).path, this.#called(name), signal);
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
    const root = await this.#parts.activate();
    refuseAborted(signal, what);
    const form = this.#parts.forms[format];
    const directory = join(root, CONTENT_DIRECTORIES.images, String(vmid));
    let image: NewImage | undefined;
    try {
      image = await this.#begin(root, directory, form);
      // Publishing would tell too, but after a copy that may take hours.
      if (wished !== undefined && (await isThere(form.fileOf(directory, wished)))) throw nameTaken(directory, wished);
      await fill(image);
      const stem = await publish(image, directory, vmid, wished);
      const volume = await this.#describe(root, { content: 'images', vmid, stem, format });
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
      await this.#requireInside(root, directory, directory);
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
    const { directory, form } = await this.#placeOf(parsed);
    return changing(this.#called(name), () => work(form, directory, parsed.stem));
  }

  async #placeOf({ vmid, format }: ImageName): Promise<{ directory: string; form: ImageForm }> {
    const directory = join(await this.#parts.activate(), CONTENT_DIRECTORIES.images, String(vmid));
    return { directory, form: this.#parts.forms[format] };
  }

  #pathOf(root: string, name: VolumeName): string {
    const directory = join(root, CONTENT_DIRECTORIES[name.content]);
    if (name.content !== 'images') return join(directory, name.file);
    return this.#parts.forms[name.format].fileOf(join(directory, String(name.vmid)), name.stem);
  }

  /** The path, when it is a regular file and really lies below `root`. @throws `not-found`, `target-unfit`. */
  async #within(root: string, name: string, path: string): Promise<string> {
    const what = this.#called(name);
    try {
      if (!(await lstat(path)).isFile())
        throw new HoldfastError('target-unfit', `${what} is no regular file: look at ${path}`);
      await this.#requireInside(root, dirname(path), path);
    } catch (error) {
      throw storageFailure(what, error);
    }
    return path;
  }

  async #requireInside(root: string, directory: string, path: string): Promise<void> {
    const way = relative(root, await realpath(directory));
    if (way === '..' || way.startsWith('../'))
      throw new HoldfastError('target-unfit', `${path} is reached by a symbolic link out of storage '${this.id}'`);
  }

  async #imagesIn(root: string, vmid: number | undefined): Promise<VolumeName[]> {
    const images = join(root, CONTENT_DIRECTORIES.images);
    const guests =
      vmid === undefined ? (await entriesOf(images)).filter((entry) => /^\d+$/.test(entry)) : [String(vmid)];
    const names: VolumeName[] = [];
    for (const guest of guests) {
      const entries = await entriesOf(join(images, guest));
      for (const [format, form] of Object.entries(this.#parts.forms)) {
        const stems = entries.flatMap((entry) => form.stemOf(entry) ?? []);
        names.push(...stems.flatMap((stem) => findVolumeName(`${guest}/${stem}.${format}`) ?? []));
      }
    }
    return names;
  }

  async #filesIn(root: string, content: ContentType): Promise<VolumeName[]> {
    const entries = await entriesOf(join(root, CONTENT_DIRECTORIES[content]));
    return entries.flatMap((entry) => findVolumeName(`${content}/${entry}`) ?? []);
  }

  /** Undefined for what is no regular file, or gone meanwhile. */
  async #describe(root: string, name: VolumeName): Promise<Volume | undefined> {
    const path = this.#pathOf(root, name);
    const formatted = formatVolumeName(name);
    try {
      await this.#within(root, formatted, path);
      const { size, blocks, ctimeMs } = await lstat(path);
      const header = name.format === 'qcow2' ? await readQcow2Header(path) : undefined;
      const parent = this.#volumeAt(root, dirname(path), header?.backingFile);
      return {
        id: formatVolumeId({ storage: this.id, name: formatted }),
        name: formatted,
        format: name.format,
        sizeBytes: header?.sizeBytes ?? size,
        usedBytes: blocks * SECTOR_BYTES,
        vmid: name.vmid,
        content: name.content,
        ctime: Math.floor(ctimeMs / 1000),
        ...(parent === undefined ? {} : { parent }),
      };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      if (error instanceof HoldfastError && (error.code === 'not-found' || error.code === 'target-unfit'))
        return undefined;
      throw error;
    }
  }

  /** The id of the image of this storage that a backing file's name means. */
  #volumeAt(root: string, directory: string, backingFile: string | undefined): string | undefined {
    if (backingFile === undefined) return undefined;
    const name = findVolumeName(relative(join(root, CONTENT_DIRECTORIES.images), resolve(directory, backingFile)));
    if (name?.content !== 'images') return undefined;
    return formatVolumeId({ storage: this.id, name: formatVolumeName(name) });
  }

  async #sizeOf(path: string, format: ImageFormat): Promise<number> {
    if (format === 'raw') return (await stat(path)).size;
    const header = await readQcow2Header(path);
    if (header === undefined) throw new HoldfastError('target-unfit', `${path} is no qcow2 image any more`);
    return header.sizeBytes;
  }

  #called(name: string): string {
    return `volume '${this.id}:${name}'`;
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

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** No names for a directory that nobody has made yet. */
async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
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
