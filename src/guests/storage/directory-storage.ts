// Storages of type `dir`: every image is one file.
import { Qcow2File, RawFile } from './file-image.ts';
import { FileStorage } from './file-storage.ts';
import type { Storage } from './storage.ts';
import type { StorageEntry } from './storage-entry.ts';
import { activateRoot } from './storage-root.ts';

export function openDirectoryStorage(entry: StorageEntry): Storage {
  const { id, content } = entry;
  const forms = { raw: new RawFile(), qcow2: new Qcow2File() };
  return new FileStorage({ id, type: 'dir', content, forms, activate: () => activateRoot(entry) });
}
