// The volumes that a restore makes. Each is a line `unusedN` of the guest's configuration from the moment it is there, so that a killed restore leaves nothing
// that the guest's configuration does not name; the configuration that takes over names it as a drive.
import { isUnusedKey } from '../../guests/config/drive.ts';
import { type VmConfig, withSettings } from '../../guests/config/vm-config.ts';
import { lockGuest } from '../../guests/guest-lock.ts';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import type { LocatedImage, Storage, VolumeRequest } from '../../guests/storage/storage.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';

const MAX_UNUSED = 256;
const SECTOR_BYTES = 512;

export interface NewVolume extends LocatedImage {
  /** `STORAGE:NAME`. */
  readonly id: string;
}

export class RestoreVolumes {
  readonly #node: GuestNode;
  readonly #id: GuestId;
  /** Their ids. */
  readonly #made: string[] = [];

  constructor(node: GuestNode, id: GuestId) {
    this.#node = node;
    this.#id = id;
  }

  /** Makes an empty volume and notes it in the configuration, which exists. Where that fails `freeAll` frees it too. */
  async make(storage: Storage, request: Omit<VolumeRequest, 'vmid'>, signal: AbortSignal): Promise<NewVolume> {
    const sizeBytes = Math.ceil(request.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
    const volume = await storage.allocate({ ...request, sizeBytes, mayBeEmpty: true, vmid: this.#id }, signal);
    this.#made.push(volume.id);
    await changeConfig(this.#node, this.#id, (config) => withUnused(config, [volume.id]));
    return { ...(await storage.locate(volume.name)), id: volume.id };
  }

  /** Frees all that were made; what cannot be freed is told, and stays in the configuration as far as there is one. */
  async freeAll(report: Report): Promise<void> {
    await freeVolumes(this.#node, this.#made.splice(0), report);
  }
}

/** Returns those that could not be freed, which are told; one that is gone is none of them, unless its whole storage is. */
export async function freeVolumes({ storages }: GuestNode, ids: readonly string[], report: Report): Promise<string[]> {
  const left: string[] = [];
  for (const id of ids) {
    try {
      const { storage, name } = await storages.resolve(id);
      await storage.free(name).catch((error: unknown) => {
        if (!(error instanceof HoldfastError) || error.code !== 'not-found') throw error;
      });
    } catch (error) {
      report.warn(`${id} is left: ${(error as Error).message}`);
      left.push(id);
    }
  }
  return left;
}

/** A guest's configuration, changed under its lock. */
export async function changeConfig(
  node: GuestNode,
  id: GuestId,
  change: (config: VmConfig) => VmConfig,
): Promise<VmConfig> {
  const lock = await lockGuest(node.directory, id);
  try {
    const { config, digest } = await node.configs.read(id);
    const changed = change(config);
    await node.configs.write(id, changed, { digest });
    return changed;
  } finally {
    lock.release();
  }
}

/** With these volumes as `unusedN`. @throws `too-large` when there are 256. */
export function withUnused(config: VmConfig, volumes: readonly string[]): VmConfig {
  const set: Record<string, string> = {};
  let next = 0;
  for (const volume of volumes) {
    while (config.values.has(`unused${next}`) || `unused${next}` in set) next++;
    if (next >= MAX_UNUSED)
      throw new HoldfastError('too-large', `the guest has ${MAX_UNUSED} unused disks; remove some`);
    set[`unused${next}`] = volume;
  }
  return withSettings(config, set);
}

/** Without the lines that call these volumes unused. */
export function withoutUnused(config: VmConfig, volumes: readonly string[]): VmConfig {
  const keys = [...config.values].filter(
    ([key, value]) => isUnusedKey(key) && volumes.includes(value.split(',')[0] as string),
  );
  return withSettings(
    config,
    {},
    keys.map(([key]) => key),
  );
}
