// The storages of a node, as its storage.cfg says at each look: nothing is kept, for other processes change that file and mount file systems.
import { hostname } from 'node:os';
import { formatVolumeId, parseVolumeId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { openBtrfsStorage } from './btrfs-storage.ts';
import { openDirectoryStorage } from './directory-storage.ts';
import type { LocatedImage, Storage } from './storage.ts';
import { StorageConfigStore, type StorageSection } from './storage-config.ts';
import { contentOf, readStorageEntry, type StorageEntry } from './storage-entry.ts';

/** A section of storage.cfg, and what it is good for here. */
export interface ListedStorage {
  readonly id: string;
  /** Any type that somebody wrote. */
  readonly type: string;
  readonly content: readonly string[];
  readonly section: StorageSection;
  /** Undefined when this node cannot use it. */
  readonly storage: Storage | undefined;
  /** Why it cannot. */
  readonly reason: string | undefined;
}

export interface ResolvedVolume {
  readonly storage: Storage;
  /** What the storage calls it. */
  readonly name: string;
}

export interface LocatedVolume extends ResolvedVolume, LocatedImage {
  /** `STORAGE:NAME`. */
  readonly id: string;
}

export class Storages {
  readonly config: StorageConfigStore;
  readonly #nodeName: string;

  /** `nodeName` is what a section's `nodes` may name. */
  constructor(nodeDirectory: string, options: { nodeName?: string } = {}) {
    this.config = new StorageConfigStore(nodeDirectory);
    this.#nodeName = options.nodeName ?? hostname();
  }

  /** In the order of the file. */
  async all(): Promise<ListedStorage[]> {
    const { config } = await this.config.read();
    return config.sections.map((section) => {
      const entry = readStorageEntry(section, this.#nodeName);
      const isUsable = typeof entry !== 'string';
      return {
        id: section.id,
        type: section.type,
        content: contentOf(section),
        section,
        storage: isUsable ? openStorage(entry) : undefined,
        reason: isUsable ? undefined : entry,
      };
    });
  }

  /** @throws `not-found`, `target-unfit` for one that this node cannot use. */
  async get(id: string): Promise<Storage> {
    const listed = (await this.all()).find((each) => each.id === id);
    if (listed === undefined) throw new HoldfastError('not-found', `storage '${id}' does not exist`);
    if (listed.storage !== undefined) return listed.storage;
    throw new HoldfastError('target-unfit', `storage '${id}' cannot be used: ${listed.reason}`);
  }

  /** The storage of a volume id, and its name there; whether it exists is not looked at. @throws `bad-name`, and what `get` throws. */
  async resolve(volumeId: string): Promise<ResolvedVolume> {
    const { storage, name } = parseVolumeId(volumeId);
    return { storage: await this.get(storage), name };
  }

  /** Where a volume, or a snapshot of it, is now. @throws what `resolve` and `Storage.locate` throw. */
  async volume(volumeId: string, snapshot?: string): Promise<LocatedVolume> {
    const { storage, name } = await this.resolve(volumeId);
    const located = await storage.locate(name, snapshot);
    return { id: formatVolumeId({ storage: storage.id, name }), storage, name, ...located };
  }
}

function openStorage(entry: StorageEntry): Storage {
  return entry.type === 'btrfs' ? openBtrfsStorage(entry) : openDirectoryStorage(entry);
}
