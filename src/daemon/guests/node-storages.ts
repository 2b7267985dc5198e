// The storages of a node as the guest dialect asks for them.
import type { StorageEntry, StorageService, StoredVolume } from '../../api/guest/services.ts';
import type { GuestNode } from '../../guests/guest-node.ts';
import type { Volume } from '../../guests/storage/storage.ts';
import { isSet } from '../../guests/storage/storage-config.ts';
import type { ListedStorage } from '../../guests/storage/storages.ts';
import { formatVolumeId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';

/** Properties that must not be told. */
const SECRETS = ['password', 'encryption-key', 'master-pubkey', 'keyring'];

export function nodeStorages({ storages }: GuestNode): StorageService {
  return {
    list: async () => (await storages.all()).map(entry),
    digest: async () => (await storages.config.read()).digest,
    status: async (id) => {
      const listed = (await storages.all()).find((each) => each.id === id);
      if (listed === undefined) throw new HoldfastError('not-found', `storage '${id}' does not exist`);
      if (listed.storage === undefined) return { isActive: false, totalBytes: 0, usedBytes: 0, availableBytes: 0 };
      const { active, total, used, avail } = await listed.storage.status();
      return { isActive: active, totalBytes: total, usedBytes: used, availableBytes: avail };
    },
    volumes: async (id, filter) => (await (await storages.get(id)).list(filter)).map(stored),
    volume: async (volid) => {
      const { storage, name } = await storages.resolve(volid);
      const found = (await storage.list()).find((each) => each.name === name);
      if (found === undefined) throw new HoldfastError('not-found', `volume '${volid}' does not exist`);
      return { ...stored(found), path: (await storage.locate(name)).path };
    },
    allocate: async (id, { vmid, name, sizeBytes, format = 'raw' }) => {
      if (format !== 'raw' && format !== 'qcow2')
        throw new HoldfastError('bad-argument', `format '${format}' is not one of raw and qcow2`);
      return (await (await storages.get(id)).allocate({ vmid, sizeBytes, format, name })).id;
    },
    remove: async (volid, work) => {
      const { storage, name } = await storages.resolve(volid);
      await storage.free(name, work.signal);
      work.log(`removed ${formatVolumeId({ storage: storage.id, name })}`);
    },
  };
}

function entry({ id, type, content, section, reason }: ListedStorage): StorageEntry {
  const { properties } = section;
  const options = [...properties].filter(([key]) => key !== 'content' && !SECRETS.includes(key));
  return {
    storage: id,
    type,
    content,
    isEnabled: reason === undefined && !isSet(properties.get('disable')),
    isShared: isSet(properties.get('shared')),
    options: Object.fromEntries(options),
  };
}

function stored(volume: Volume): StoredVolume {
  const { id, content, format, sizeBytes, usedBytes, ctime, vmid, parent } = volume;
  return {
    volid: id,
    content,
    format,
    sizeBytes,
    usedBytes,
    created: ctime,
    ...(vmid !== undefined && { vmid }),
    ...(parent !== undefined && { parent }),
  };
}
