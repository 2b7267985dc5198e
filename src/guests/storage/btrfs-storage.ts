// Storages of type `btrfs`: raw images are subvolumes, so that they have snapshots without qcow2; all else is as in a directory.
import { statfs } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';
import { Qcow2File } from './file-image.ts';
import { FileStorage } from './file-storage.ts';
import type { Storage } from './storage.ts';
import type { StorageEntry } from './storage-entry.ts';
import { activateRoot } from './storage-root.ts';
import { SubvolumeImage } from './subvolume-image.ts';

/** BTRFS_SUPER_MAGIC of linux/magic.h. */
const BTRFS_MAGIC = 0x9123683e;

export function openBtrfsStorage(entry: StorageEntry): Storage {
  const { id, content } = entry;
  const activate = async (): Promise<string> => {
    const root = await activateRoot(entry);
    if ((await statfs(root)).type === BTRFS_MAGIC) return root;
    throw new HoldfastError('target-unfit', `storage '${id}' is not active: ${root} is not on btrfs`);
  };
  const forms = { raw: new SubvolumeImage(), qcow2: new Qcow2File() };
  return new FileStorage({ id, type: 'btrfs', content, forms, activate });
}
