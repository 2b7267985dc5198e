// /storage and /nodes/{node}/storage: where volumes are kept.
import { type Static, Type } from 'typebox';
import { defineGuestMethod, onStorage, requireNode } from '../../method.ts';
import type { StorageEntry } from '../../services.ts';
import { flag, listOf, Node, StorageName } from '../parameters.ts';
import { findStorage, StorageRow, storageRowOf, storageSpace, visibleStorages } from './storage-row.ts';

const Entry = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]));
const ContentList = Type.String({ maxLength: 256, description: 'images, iso and so on, between commas: any of them.' });

export const STORAGE_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/storage',
    description: 'The storages that the caller may look at, as they are configured.',
    access: { auth: true },
    parameters: Type.Object({
      type: Type.Optional(
        Type.String({ pattern: '^[a-z]+$', maxLength: 32, description: 'Only storages of this type.' }),
      ),
    }),
    returns: Type.Array(Entry),
    handler: async (call, { type }) => {
      const digest = await call.services.storages.digest();
      const all = await visibleStorages(call);
      return all.filter((each) => type === undefined || each.type === type).map((each) => entryOf(each, digest));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/storage/{storage}',
    description: 'One storage, as it is configured.',
    access: onStorage('Datastore.Allocate'),
    parameters: Type.Object({ storage: StorageName }),
    returns: Entry,
    handler: async (call, { storage }) =>
      entryOf(await findStorage(call, storage), await call.services.storages.digest()),
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/storage',
    description: 'The storages that the caller may look at, with their space.',
    access: { auth: true },
    parameters: Type.Object({
      node: Node,
      content: Type.Optional(ContentList),
      storage: Type.Optional(StorageName),
      enabled: Type.Boolean({ default: false, description: 'Only those that are.' }),
      format: Type.Boolean({ default: false, description: 'Taken and ignored.' }),
      target: Type.Optional(Node),
    }),
    returns: Type.Array(StorageRow),
    handler: async (call, { node, content, storage, enabled }) => {
      requireNode(call, node);
      const kinds = listOf(content);
      const wanted = (await visibleStorages(call)).filter(
        (each) =>
          (storage === undefined || each.storage === storage) &&
          (!enabled || each.isEnabled) &&
          (kinds.length === 0 || kinds.some((kind) => each.content.includes(kind))),
      );
      return await Promise.all(wanted.map(async (each) => storageRowOf(each, await storageSpace(call, each.storage))));
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/storage/{storage}/status',
    description: 'The space of a storage.',
    access: onStorage('Datastore.Audit', 'Datastore.AllocateSpace'),
    parameters: Type.Object({ node: Node, storage: StorageName }),
    returns: StorageRow,
    handler: async (call, { node, storage }) => {
      requireNode(call, node);
      const entry = await findStorage(call, storage);
      return storageRowOf(entry, await call.services.storages.status(storage));
    },
  }),
];

function entryOf(
  { storage, type, content, isEnabled, isShared, options }: StorageEntry,
  digest: string,
): Static<typeof Entry> {
  return {
    ...options,
    storage,
    type,
    content: content.join(','),
    shared: flag(isShared),
    ...(isEnabled ? {} : { disable: 1 }),
    digest,
  };
}
