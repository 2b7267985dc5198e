// Volumes that an operation makes for a guest. What was made goes again when the operation fails: nobody else knows of it yet.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { DRIVE_BYTES } from '../cloud-init/write-drive.ts';
import { type Drive, parseNewVolume } from '../config/drive.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { variablesTemplate } from '../qemu/firmware.ts';
import { TPM_STATE_BYTES } from '../qemu/tpm.ts';
import { readQcow2Header } from '../storage/qcow2-header.ts';
import type { ImageFormat, LocatedImage, Storage, Volume } from '../storage/storage.ts';
import type { LocatedVolume } from '../storage/storages.ts';
import { parseVolumeName } from '../storage/volume-name.ts';
import { cloudInitStem } from './owned-volumes.ts';

const PROGRESS_STEP_PERCENT = 10;

export class NewVolumes {
  readonly #node: GuestNode;
  readonly #id: GuestId;
  readonly #report: Report;
  readonly #signal: AbortSignal | undefined;
  readonly #made: { storage: Storage; name: string }[] = [];

  constructor(node: GuestNode, id: GuestId, report: Report, signal?: AbortSignal) {
    this.#node = node;
    this.#id = id;
    this.#report = report;
    this.#signal = signal;
  }

  /**
   * The drive with its volume made, when it asks for a new one; else as it is, with its size looked up.
   * @throws `not-found`, `bad-argument` (another guest's disk, an import without a new volume), `disk-full`, `target-unfit`, ...
   */
  async provide(drive: Drive): Promise<Drive> {
    const asked = parseNewVolume(drive.file);
    if (asked === undefined) return await this.#existing(drive);
    const storage = await this.#node.storages.get(asked.storage);
    if (asked.kind === 'cloudinit') {
      const name = cloudInitStem(this.#id);
      const request = { vmid: this.#id, sizeBytes: DRIVE_BYTES, format: this.#formatOn(storage, drive.format), name };
      const volume = this.#keep(storage, await storage.allocate(request, this.#signal));
      return { ...described(drive, volume), media: 'cdrom' };
    }
    const format = this.#formatOn(storage, drive.bus === 'tpmstate' ? 'raw' : drive.format);
    if (drive.importFrom !== undefined) {
      const from = await this.#importSource(drive);
      return described(
        drive,
        await this.copy(from, storage, format, `${drive.key}: import of ${drive.importFrom}`, asked.sizeBytes),
      );
    }
    if (drive.bus === 'efidisk') {
      const path = await variablesTemplate(drive);
      return described(
        drive,
        await this.copy({ path, format: 'raw' }, storage, format, `${drive.key}: variables of the firmware`),
      );
    }
    const sizeBytes = drive.bus === 'tpmstate' ? TPM_STATE_BYTES : asked.sizeBytes;
    if (sizeBytes === 0)
      throw new HoldfastError(
        'bad-argument',
        `${drive.key}: a disk of 0 bytes; write ${asked.storage}:SIZE with the size in GiB`,
      );
    const request = { vmid: this.#id, sizeBytes: roundUp(sizeBytes), format };
    return described(drive, this.#keep(storage, await storage.allocate(request, this.#signal)));
  }

  /** A full copy of an image, at least `sizeBytes` large. */
  async copy(from: LocatedImage, storage: Storage, format: ImageFormat, what: string, sizeBytes = 0): Promise<Volume> {
    let told = 0;
    const onProgress = (done: number, total: number): void => {
      const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
      if (percent < told + PROGRESS_STEP_PERCENT && percent < 100) return;
      if (percent > told) this.#report.log(`${what}: ${percent} %`);
      told = percent;
    };
    const request = { vmid: this.#id, format, ...(sizeBytes > 0 && { sizeBytes: roundUp(sizeBytes) }) };
    return this.#keep(storage, await storage.clone(from, request, onProgress, this.#signal));
  }

  /** Frees all that was made. What cannot be freed is told: it names no guest that would show it. */
  async discard(): Promise<void> {
    for (const { storage, name } of this.#made.splice(0))
      await storage
        .free(name)
        .catch((error: Error) => this.#report.warn(`${storage.id}:${name} is left behind: ${error.message}`));
  }

  async #existing(drive: Drive): Promise<Drive> {
    if (drive.importFrom !== undefined)
      throw new HoldfastError(
        'bad-argument',
        `${drive.key}: import-from needs a new volume: write STORAGE:0,import-from=...`,
      );
    if (drive.file === 'none' || drive.file === 'cdrom' || drive.file.startsWith('/')) return drive;
    const { storage, name, id } = await this.#node.storages.volume(drive.file);
    const { content, vmid: owner } = parseVolumeName(name);
    // What else lies there the host or other guests trust, such as hook scripts; a guest writes to its disks.
    if (content !== 'images' && content !== 'iso')
      throw new HoldfastError('bad-argument', `${drive.key}: volume '${id}' is neither a disk nor an ISO image`);
    if (owner !== undefined && owner !== this.#id)
      throw new HoldfastError(
        'bad-argument',
        `${drive.key}: volume '${id}' is a disk of guest ${owner}; a disk belongs to one guest`,
      );
    if (drive.media === 'cdrom') return drive;
    const volume = (await storage.list({ vmid: this.#id, content: 'images' }, this.#signal)).find(
      (each) => each.name === name,
    );
    return volume === undefined ? drive : { ...drive, size: volume.sizeBytes };
  }

  /** By default one that has snapshots: qcow2 in a directory, raw on btrfs. */
  #formatOn(storage: Storage, asked: string | undefined): ImageFormat {
    if (asked === undefined) return defaultFormat(storage);
    if (asked === 'raw' || asked === 'qcow2') return asked;
    throw new HoldfastError(
      'bad-argument',
      `format ${asked} is not one that storage '${storage.id}' makes; use raw or qcow2`,
    );
  }

  async #importSource({ importFrom = '', key }: Drive): Promise<LocatedImage> {
    if (!importFrom.startsWith('/')) return await this.#node.storages.volume(importFrom);
    if (importFrom.endsWith('.raw')) return { path: importFrom, format: 'raw' };
    // Its owner names the file and says so that it is his; a qcow2 image that names other files is refused when it is copied.
    const header = await readQcow2Header(importFrom).catch((error: Error) => {
      throw new HoldfastError('not-found', `${key}: ${importFrom} cannot be read: ${error.message}`, { cause: error });
    });
    return { path: importFrom, format: header === undefined ? 'raw' : 'qcow2' };
  }

  #keep(storage: Storage, volume: Volume): Volume {
    this.#made.push({ storage, name: volume.name });
    return volume;
  }
}

/** Of a copy of a drive's volume: as it was where it stays on its storage, unless somebody wishes another. The TPM's program knows raw files only. */
export function formatOfCopy(
  drive: Pick<Drive, 'bus'>,
  from: LocatedVolume,
  storage: Pick<Storage, 'id' | 'type'>,
  wished: ImageFormat | undefined,
): ImageFormat {
  if (drive.bus === 'tpmstate') return 'raw';
  return wished ?? (from.storage.id === storage.id ? from.format : defaultFormat(storage));
}

/** What a storage makes when nobody says: images that have snapshots. */
export function defaultFormat(storage: Pick<Storage, 'type'>): ImageFormat {
  return storage.type === 'btrfs' ? 'raw' : 'qcow2';
}

/** The volume's name says its format. */
function described(drive: Drive, volume: Volume): Drive {
  return { ...drive, file: volume.id, size: volume.sizeBytes, format: undefined, importFrom: undefined };
}

function roundUp(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 1024) * 1024;
}
